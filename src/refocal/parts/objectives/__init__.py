"""Objectives: what training minimises. `(net, batch) -> {name: loss}`; a critic lives in its objective's file."""

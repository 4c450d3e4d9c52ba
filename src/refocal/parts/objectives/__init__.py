"""Objectives: what learning minimises. `(net, batch) -> {name: loss}`; a critic lives in its objective's file."""

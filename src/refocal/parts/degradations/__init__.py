"""Degradations: what goes wrong. Frozen parameters, `(example, rng) -> example`; numpy and scipy only."""

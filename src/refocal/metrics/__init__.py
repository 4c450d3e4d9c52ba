"""Metrics: how good. Plain functions `(got, truth) -> float` on images in contrast units."""

"""Segmenters: what restoration is for. `Frames` of sections to the cells in them, numpy at the border."""

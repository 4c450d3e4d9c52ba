"""A stream beside stopped frames of the same places."""

SUFFIX = ".burst.tif"
"""End of the names of recorded bursts: page 0 is the stopped frame, the others are the frames of the stream."""

"""The reach of nets that mix the whole field: instance norm and strip pooling make every pixel depend on all others.

Such a net is another function on another crop, so the size that it is run on belongs to the model. It sees windows of
exactly `window` squared pixels on a grid that starts at the image's origin; neighbours overlap by twice the halo, where
one fades linearly into the next. A pixel thus depends on its windows only, and there is no line where they meet.
"""

from refocal.core.values import Reach


def windowed(window: int, multiple: int) -> Reach:
    """Return the reach of a net that is run on windows of `window` px, whose size must divide by `multiple`.

    Raises
    ------
    ValueError
        If the window is too small for the net or not a multiple.
    """
    if window < 4 * multiple or window % multiple:
        raise ValueError(f"window must be a multiple of {multiple} px and at least {4 * multiple}, got {window}")
    return Reach(halo=window // 8, multiple=multiple, window=window)

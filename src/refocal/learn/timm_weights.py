"""ImageNet weights of encoders, from timm (the extra `timm`), which downloads them on its own terms."""

import importlib

from torch import Tensor

from refocal.core.errors import BadModelError, MissingExtraError


def timm_tensors(name: str, channels: int, prefix: str = "encoder.") -> dict[str, Tensor]:
    """Return the weights of a timm model for images of `channels`, named as those of a net's encoder.

    Raises
    ------
    MissingExtraError
        If timm cannot be imported.
    BadModelError
        If timm has no weights of that name, or cannot get them.
    """
    try:
        timm = importlib.import_module("timm")
    except (ImportError, RuntimeError) as error:  # a torchvision of another build than torch raises the latter
        reason = str(error).splitlines()[0]
        raise MissingExtraError(
            f"timm cannot be used ({reason}); it comes with: pip install 'refocal[timm]'"
        ) from error
    try:
        state = timm.create_model(name, pretrained=True, in_chans=channels).state_dict()
    except Exception as error:  # its errors, and those of the download, share no base class
        reason = " ".join(str(error).split())[:200]
        raise BadModelError(f"timm gives no weights named {name!r}: {reason}; or give start=PATH of a model") from error
    return {prefix + key: tensor for key, tensor in state.items()}

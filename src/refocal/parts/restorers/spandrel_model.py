"""Networks of others (NAFNet, SwinIR, Restormer ...) from their published weight files, through spandrel.

spandrel recognises the network by its weights. Only numbers are read: safetensors, or a torch file that is refused if
it holds anything but tensors. Such networks learned photographs, and spandrel clips what they answer to [0, 1]; what
they do to electron micrographs must be measured.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from refocal.core.errors import BadModelError, MissingExtraError
from refocal.core.values import Frames, Reach, Restored
from refocal.models import runtimes
from refocal.parts.restorers import _classical

__all__ = ["SpandrelModel"]


class SpandrelModel:
    """Restore with a third-party network; the target image goes through it as a whole.

    Parameters
    ----------
    path
        File of weights: .safetensors, or .pth/.pt/.ckpt with nothing but tensors in it.
    device
        Any torch device.

    Raises
    ------
    MissingExtraError
        If spandrel cannot be imported; it comes with the extra `spandrel`.
    BadModelError
        If the file cannot be read, holds no network that spandrel knows, or one that changes the size of images.
    """

    def __init__(self, path: str, device: str = "cpu") -> None:
        loader, runtime = _loader(), runtimes.runtime("torch")
        try:
            found: Any = loader.load_from_state_dict(_tensors(Path(path)))
        except BadModelError:
            raise
        except Exception as error:  # its errors share no base class
            raise BadModelError(f"spandrel knows no network with the weights in {path}: {_line(error)}") from error
        if found.scale != 1 or found.input_channels != found.output_channels:
            raise BadModelError(f"{path} holds a network that changes the shape of images; give one that restores")
        self._restore = runtime.on_grey(found, int(found.input_channels), device)
        # What it needs around a pixel is not declared anywhere: the image is the unit.
        self.reach = Reach()

    def __call__(self, batch: Sequence[Frames], /) -> list[Restored]:
        """Restore the target image of each of the frames."""
        return _classical.each(batch, self._restore)


def _loader() -> Any:
    try:
        import spandrel
    except (ImportError, RuntimeError) as error:  # a torchvision of another build than torch raises the latter
        message = f"spandrel cannot be used ({_line(error)}); it comes with: pip install 'refocal[spandrel]'"
        raise MissingExtraError(message) from error
    return spandrel.ModelLoader()


def _tensors(path: Path) -> dict[str, Any]:
    try:
        loaded = runtimes.runtime("torch").tensors(path)
    except Exception as error:  # the libraries have no one error for a file that they cannot read
        raise BadModelError(f"cannot read weights from {path}: {_line(error)}") from error
    if not isinstance(loaded, dict):
        raise BadModelError(f"{path} holds no named tensors")
    inner = next((loaded[key] for key in ("params_ema", "params", "state_dict") if key in loaded), loaded)
    return dict(inner)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]

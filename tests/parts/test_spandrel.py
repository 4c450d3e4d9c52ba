"""Networks of others: loaded without running what a file says, refused in one line."""

import importlib
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from refocal.core import registry
from refocal.core.errors import BadModelError, MissingExtraError
from refocal.core.values import Contrast, Frames
from refocal.parts.restorers import spandrel_model


@pytest.fixture(scope="module")
def nafnet():
    try:
        return importlib.import_module("spandrel.architectures.NAFNet").NAFNet
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"spandrel cannot be imported: {str(error).splitlines()[0]}")


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_network_is_known_by_its_weights(nafnet, tmp_path: Path, suffix: str) -> None:
    torch.manual_seed(0)
    net = nafnet(img_channel=3, width=8, middle_blk_num=1, enc_blk_nums=[1, 1], dec_blk_nums=[1, 1]).eval()
    path = tmp_path / f"net{suffix}"
    if suffix == ".pth":
        torch.save({"params": net.state_dict()}, path)
    else:
        safetensors.torch.save_file(net.state_dict(), path)
    image = np.random.default_rng(0).integers(0, 255, (1, 33, 47), np.uint8)
    contrast = Contrast(0, 255)
    (restored,) = registry.make("restorers", "spandrel_model", path=str(path))([Frames(image, contrast=contrast)])
    seen = torch.from_numpy(image.astype(np.float32) / 255)[None].expand(-1, 3, -1, -1)
    with torch.no_grad():
        expected = net(seen)[0].clamp(0, 1).mean(0).numpy()
    assert restored.counts.shape == (33, 47)
    assert np.abs(restored.counts - np.clip(expected * 255, 0, 255)).max() <= 1


class Loader:
    def load_from_state_dict(self, state: dict) -> None:
        raise ValueError(f"unknown\narchitecture of {len(state)} tensors")


def test_unknown_and_unreadable_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spandrel_model, "_loader", Loader)
    torch.save({"a": torch.zeros(2)}, tmp_path / "odd.pth")
    torch.save({"a": print}, tmp_path / "code.pth")
    (tmp_path / "noise.safetensors").write_bytes(b"x" * 50)
    for name in ("odd.pth", "code.pth", "noise.safetensors", "none.pth"):
        with pytest.raises(BadModelError) as refused:
            registry.make("restorers", "spandrel_model", path=str(tmp_path / name))
        assert "\n" not in str(refused.value)


def test_without_spandrel_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "spandrel", None)
    with pytest.raises(MissingExtraError, match=r"refocal\[spandrel\]"):
        registry.make("restorers", "spandrel_model", path="x.pth")

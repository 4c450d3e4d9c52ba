"""Encoders of DeblurGAN-v2: the layers of timm, held to timm where it can be imported."""

import importlib
import sys

import pytest
import torch

from refocal.core import registry
from refocal.core.errors import MissingExtraError
from refocal.learn.timm_weights import timm_tensors
from refocal.parts.nets._inception_resnet_v2 import InceptionResNetV2
from refocal.parts.nets._mobilenet_v2 import MobileNetV2

REGISTERED = {"inception_resnet_v2": 60_929_291, "mobilenet_v2": 3_312_707}
TIMM = {"inception_resnet_v2": "inception_resnet_v2", "mobilenet_v2": "mobilenetv2_100"}


@pytest.fixture(scope="module")
def timm():
    try:
        return importlib.import_module("timm")
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"timm cannot be imported: {str(error).splitlines()[0]}")


@pytest.mark.parametrize(("kind", "own"), [("inception_resnet_v2", InceptionResNetV2), ("mobilenet_v2", MobileNetV2)])
class TestAgainstTimm:
    def test_maps_equal_those_of_timm_with_its_weights(self, timm, kind, own) -> None:
        torch.manual_seed(0)
        theirs = timm.create_model(TIMM[kind], features_only=False, num_classes=0).eval()
        ours = own(3).eval()
        missing, _ = ours.load_state_dict(theirs.state_dict(), strict=False)
        assert missing == []
        image, seen = torch.rand(1, 3, 128, 160), []
        last = theirs.mixed_7a if kind == "inception_resnet_v2" else theirs.blocks[5][1]
        last.register_forward_hook(lambda _, __, output: seen.append(output))
        with torch.no_grad():
            theirs(image)
            assert torch.allclose(ours(image)[-1], seen[0], atol=1e-5)

    def test_registered_parameters_are_those_of_the_paper(self, timm, kind, own) -> None:
        with torch.device("meta"):
            net = registry.make("nets", "deblurgan_v2", channels=3, backbone=kind)
            full = timm.create_model(TIMM[kind])
        # The published MobileNetV2 has no classifier.
        extra = full.get_classifier() if kind == "mobilenet_v2" else torch.nn.Identity()
        count = [sum(p.numel() for p in module.parameters()) for module in (net, net.encoder, full, extra)]
        assert count[0] - count[1] + count[2] - count[3] == REGISTERED[kind]


def test_without_timm_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(MissingExtraError, match=r"refocal\[timm\]"):
        timm_tensors("inception_resnet_v2", 1)


def test_maps_have_the_sizes_of_the_design() -> None:
    # Not on the meta device: what that imports takes longer than the net.
    with torch.no_grad():
        maps = InceptionResNetV2(1)(torch.zeros(1, 1, 256, 256))
    assert [m.shape[2] for m in maps] == [127, 62, 29, 14, 6]
    assert tuple(m.shape[1] for m in maps) == InceptionResNetV2.widths


@pytest.mark.parametrize("backbone", REGISTERED)
def test_every_backbone_keeps_the_size_and_starts_as_the_identity(backbone: str) -> None:
    net = registry.make("nets", "deblurgan_v2", backbone=backbone).eval()
    image = torch.rand(1, 1, 128, 160)
    with torch.no_grad():
        assert torch.equal(net(image), image)

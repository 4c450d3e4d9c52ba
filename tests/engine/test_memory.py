"""Arrays as sources and sinks of the loop."""

import numpy as np
import pytest

import refocal
from refocal import ArraySink, ArraySource, Contrast, Frames, Grade, Restored
from refocal.core.blocks import Block, Box, plan
from refocal.core.errors import UsageError
from refocal.core.values import Reach


class Double:
    reach = Reach()

    def __call__(self, batch, /):
        return [Restored(2 * f.image, contrast=f.contrast) for f in batch]


def below_two(frames):
    return Grade("restore" if frames.image.max() < 2 else "keep", "")


def test_results_are_kept_by_key():
    tiles = {"a": np.ones((4, 5), np.uint8), "b": np.full((3, 3), 7, np.uint16)}
    sink = ArraySink()
    summary = refocal.run(ArraySource(tiles, pixel_nm=4.0), Double(), sink, gate=below_two)
    assert (summary.counts["restored"], summary.counts["kept"]) == (1, 1)
    assert {key: counts.tolist() for key, counts in sink.counts.items()} == {
        "a": (2 * tiles["a"]).tolist(),
        "b": tiles["b"].tolist(),
    }
    assert sink.restored["a"].contrast == Contrast(0, 255)
    assert set(sink.restored) == {"a"}
    assert {key: grade.verdict for key, grade in sink.grades.items()} == {"b": "keep"}


def test_what_a_sink_has_is_not_done_again():
    source, sink = ArraySource({"a": np.ones((4, 5), np.uint8)}), ArraySink()
    assert refocal.run(source, Double(), sink).counts["restored"] == 1
    assert refocal.run(source, Double(), sink).counts["skipped"] == 1
    assert refocal.run(source, Double(), ArraySink(known={"a"})).counts["skipped"] == 1


def test_a_row_of_images_is_numbered_and_read_as_it_is_given():
    stack = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    source = ArraySource(stack, contrast=Contrast(0, 24), pixel_nm=5.0)
    assert [block.key for block in source] == ["0", "1"]
    assert len(source) == 2
    frames = [source.read(block) for block in source]
    assert [f.image.tolist() for f in frames] == stack.tolist()
    assert {(f.contrast, f.pixel_nm) for f in frames} == {(Contrast(0, 24), 5.0)}
    burst = Frames(stack, target=1, contrast=Contrast(0, 30))
    (block,) = source = ArraySource({"burst": burst})
    assert source.read(block) is burst
    assert block.write == Box((0, 0), (3, 4))


def test_blocks_of_an_image_come_with_their_halo_and_leave_without():
    image = np.random.default_rng(0).integers(0, 100, (9, 11), np.uint8)
    blocks = list(plan(image.shape, (4, 4), (2, 2)))
    source = ArraySource.cut(image, blocks)
    assert all((source.read(b).image == image[b.read.slices]).all() for b in source)
    whole, sink = np.zeros_like(image), ArraySink()
    refocal.run(source, Double(), ArraySink(whole, keep=False))
    refocal.run(source, Double(), sink)
    assert (whole == 2 * image).all()
    assert all((sink.counts[b.key] == whole[b.write.slices]).all() for b in blocks)


def test_masks_are_cut_with_their_image():
    image, valid = np.arange(12, dtype=np.uint8).reshape(3, 4), np.arange(12).reshape(1, 3, 4) % 2 == 0
    block = Block("a", Box((1, 1), (2, 3)), Box((1, 1), (2, 3)))
    frames = ArraySource.cut(Frames(image[None], valid=valid), [block]).read(block)
    assert (frames.image == image[1:2, 1:3]).all()
    assert (frames.valid == valid[:, 1:2, 1:3]).all()


def test_a_part_of_a_volume_is_pasted_where_it_belongs():
    part, out = Box((2, 10, 0), (4, 13, 4)), np.zeros((2, 3, 4), np.uint8)
    block = Block("s", Box((3, 10, 1), (4, 13, 4)), Box((3, 9, 0), (4, 13, 4)))
    read = np.arange(16, dtype=np.uint8).reshape(4, 4)
    sink = ArraySink(out, box=part, keep=False)
    sink.write(block, Restored(read))
    assert (out[1, :, 1:] == read[1:, 1:]).all()
    assert out.sum() == read[1:, 1:].sum()
    assert not sink.counts
    assert not sink.restored


@pytest.mark.parametrize("images", [np.zeros((4, 5), np.uint8), {"a": np.zeros((3, 4, 5), np.uint8)}, [np.zeros(4)]])
def test_what_is_no_image_is_refused(images):
    with pytest.raises(UsageError, match=r"expected \(y, x\)"):
        ArraySource(images)


def test_floats_need_a_contrast():
    with pytest.raises(ValueError, match="need a contrast"):
        ArraySource([np.zeros((4, 5))])

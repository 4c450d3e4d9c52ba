"""An MRC file that is cut off, or whose extended header is not there, is unreadable; its neighbours are restored."""

import mrcfile
import numpy as np
import pytest

HOW = ("--gate", "always", "--restorer", "identity", "--no-report")


@pytest.mark.parametrize("case", ["extended", "half a section", "whole sections"])
def test_sections_are_neither_shifted_nor_left_out(case, inside, tmp_path):
    counts = np.random.default_rng(0).integers(0, 999, (6, 96, 128), np.int16)
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("bad", "good"):
        with mrcfile.new(folder / f"{name}.mrc") as file:
            file.set_data(counts)
    data = bytearray((folder / "bad.mrc").read_bytes())
    if case == "extended":
        data[92:96] = (20 * 128 * 2).to_bytes(4, "little")
    keep = {"extended": 6.0, "half a section": 2.5, "whole sections": 2.0}[case]
    (folder / "bad.mrc").write_bytes(data[: 1024 + int(keep * 96 * 128 * 2)])
    said = inside("restore", folder, "-o", tmp_path / "out", *HOW, code=1)
    assert "bad.mrc" in said.out + said.err
    assert not (tmp_path / "out" / "bad.mrc").exists()
    np.testing.assert_array_equal(mrcfile.read(tmp_path / "out" / "good.mrc"), counts)
    assert "bad.mrc" in (tmp_path / "out" / "retake.csv").read_text()

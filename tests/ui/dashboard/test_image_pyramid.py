"""Pictures for a viewer: memory is bounded, whatever is shown."""

import threading

import numpy as np

from drawn import stripes
from refocal.core.values import Contrast
from refocal.ui.dashboard.image_pyramid import Gallery


def test_memory_of_pictures_is_bounded(tmp_path):
    small = Gallery(most_bytes=1 << 20)
    paths = [stripes(tmp_path / f"{i}.png", i) for i in range(12)]
    large = stripes(tmp_path / "large.tif", 1000, (900, 1000), np.uint16)
    threads = [threading.Thread(target=small.about, args=(path,)) for path in paths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert small.about(large).levels == 2
    assert sum(kept.nbytes for kept in small._kept.values()) <= 1 << 20
    grey = Contrast(0, 2000)
    assert small.square(large, 0, 1, 0, 0, grey) == Gallery().square(large, 0, 1, 0, 0, grey)

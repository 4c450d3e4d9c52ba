"""What the package of a lab has as its tests: one class a part."""

import refocal.testing


class TestNarrow(refocal.testing.NetContract):
    kind = "narrow"


class TestDeadRows(refocal.testing.DegradationContract):
    kind = "dead_rows"


class TestCubed(refocal.testing.ObjectiveContract):
    kind = "cubed"


class TestMae(refocal.testing.MetricContract):
    kind = "mae"


class TestPgm(refocal.testing.FormatContract):
    kind = "pgm"


class TestBricks(refocal.testing.VolumeFormatContract):
    kind = "bricks"


class TestSessions(refocal.testing.LayoutContract):
    kind = "sessions"


class TestMedian(refocal.testing.RestorerContract):
    kind = "median"


class TestBrightness(refocal.testing.GateContract):
    kind = "brightness"


class TestIslands(refocal.testing.SegmenterContract):
    kind = "islands"

"""The limits beyond which something becomes an alert."""

from dataclasses import dataclass

from refocal.core.errors import BadOptionError


@dataclass(frozen=True, slots=True)
class Rules:
    """Thresholds of every alert. Alerts that are on go off at about half of what switched them on.

    The tests are repeated for each of 61 or 91 beams after each mFoV, for months: that is what 5 standard errors are
    for. Three would name a healthy beam every few minutes.
    """

    fields: int = 32
    """Latest mFoVs that a beam is judged by."""
    least_fields: int = 6
    """A beam is never judged by fewer tiles than this."""
    beam_effect: float = 0.7
    """Median blur of a beam above that of its mFoVs, in robust standard deviations of single tiles."""
    beam_px: float = 0.25
    """The same in pixels; smaller differences do not matter."""
    beam_errors: float = 5.0
    """Standard errors of the median by which a beam must exceed what healthy beams differ by, `healthy_px`."""
    healthy_px: float = 0.1
    """Blur by which healthy beams differ."""
    astigmatism: float = 0.08
    """Length of a beam's median anisotropy vector against the other beams of its mFoVs."""
    astigmatism_errors: float = 5.5
    """Standard errors by which it must exceed `healthy_anisotropy`."""
    healthy_anisotropy: float = 0.03
    """Anisotropy by which healthy beams differ."""
    dead_share: float = 0.8
    """Share of blank tiles of one beam, where the other beams have tissue."""
    faults: int = 3
    """Scan faults of one beam in its latest mFoVs, or of all tiles in the latest `tiles`."""
    tiles: int = 1000
    """Latest tiles that the retake rate is computed from."""
    retake_share: float = 0.02
    """Share of retakes at which automated imaging stops about once a day."""
    sections: int = 20
    """Latest sections that a trend is computed from; at least 8."""
    trend_px: float = 0.3
    """Rise of the median blur over those sections, pixels."""
    trend_errors: float = 4.0
    """Significance of the rise (Mann-Kendall), standard deviations."""
    bad_share: float = 0.1
    """A section is bad when more than this share of its tiles must be retaken."""
    bad_sections: int = 3
    """This many bad sections in a row are an alert."""
    blank_share: float = 0.5
    """A section is blank when more than this share of its tiles hold nothing, and 0.3 more than usual."""
    silence_seconds: float = 600.0
    """Nothing new for this long is an alert."""
    lag_seconds: float = 300.0
    """Grading that lags this far behind the microscope is an alert."""
    full_seconds: float = 3600.0
    """A disk that will be full this soon is an alert; in a sixth of that, or below `full_bytes`, a critical one."""
    full_bytes: float = 2e9
    """Free space below which a disk counts as full."""

    def __post_init__(self) -> None:
        """Refuse limits that do not allow a judgement."""
        if self.least_fields < 3 or self.fields < self.least_fields:
            raise BadOptionError(f"fields >= least_fields >= 3 is needed, got {self.fields} and {self.least_fields}")
        if self.sections < 8 or self.tiles < 50 or self.bad_sections < 1 or self.faults < 1:
            raise BadOptionError(
                "sections >= 8, tiles >= 50, bad_sections >= 1 and faults >= 1 are needed, got "
                f"{self.sections}, {self.tiles}, {self.bad_sections} and {self.faults}"
            )

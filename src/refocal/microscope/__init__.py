"""What runs alongside a microscope: calibration, monitoring, hand-off, and a simulated microscope to practise with."""

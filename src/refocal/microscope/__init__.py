"""What stands beside a running microscope: calibration, monitoring, hand-off, and a microscope to practise with."""

"""Models for other programs: ONNX, 8-bit integers, BioImage.IO."""

"""Trained models as files: headers, weights, calibrations, and those that ship."""

"""Formats: files. Open, create, pixel size, metadata; the only place that knows file libraries."""

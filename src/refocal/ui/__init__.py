"""What people see: the command line, the dashboard, the report and the napari plug-in."""

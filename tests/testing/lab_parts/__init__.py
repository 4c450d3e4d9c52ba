"""A package of a lab: one part of each family, and the microscope that writes what the layout reads."""

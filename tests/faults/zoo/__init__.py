"""Hostile handlers, one a file, each named after what it does; see tests/faults/README.md."""

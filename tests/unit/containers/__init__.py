"""The parts of the `container` handler; real engines are in `tests/real`."""

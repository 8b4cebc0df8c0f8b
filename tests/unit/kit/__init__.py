"""The kit for tests of handlers."""

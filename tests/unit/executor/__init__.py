"""Unit tests of worker.executor."""

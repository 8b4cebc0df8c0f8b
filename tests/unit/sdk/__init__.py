"""Unit tests of worker.sdk."""

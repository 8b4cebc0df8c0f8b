"""Unit tests of how GPUs are handed out."""

"""Unit tests of what the dashboard draws."""

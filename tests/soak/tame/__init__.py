"""Handlers as they should be, for the soak; the zoo has the others."""

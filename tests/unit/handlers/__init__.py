"""The built-in handlers and their sample models."""

"""Pages of the documentation that are made from the code: docs/reference, docs/settings.md."""

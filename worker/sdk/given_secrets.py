"""The secrets that a run was given, by name."""

from __future__ import annotations

__all__ = ["GivenSecrets"]


class GivenSecrets(dict[str, str]):
    """A dict whose missing keys say what to do, and which shows no value by mistake."""

    def __missing__(self, name: str) -> str:
        """Raise KeyError."""
        raise KeyError(f"{name} is no secret of this handler; name it: @handler(secrets=({name!r},))")

    def __repr__(self) -> str:
        """Show the names alone."""
        return f"GivenSecrets({', '.join(sorted(self))})"

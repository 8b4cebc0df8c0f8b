"""The redactor of a process whose own secrets may change while it lives."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from worker.redaction.redactor import Redactor

__all__ = ["OwnSecrets"]

SECRETS_MAX = 20  # tokens that are renewed every hour are looked for a day longer


class OwnSecrets:
    """Give a redactor that knows the secrets of now, and those of before."""

    def __init__(self, secrets: Callable[[], Iterable[str]]) -> None:
        """Take what returns the secrets of now; a token's file is read anew there."""
        self._current = secrets
        self._seen: deque[str] = deque(maxlen=SECRETS_MAX)
        self._redactor = Redactor()

    def __call__(self) -> Redactor:
        """Return the same redactor as before where nothing changed."""
        new = [secret for secret in self._current() if secret not in self._seen]
        if new:
            self._seen.extend(new)
            self._redactor = Redactor(self._seen)
        return self._redactor

    @property
    def known(self) -> Redactor:
        """The same without a look at what is new: cheap enough for each line of a log."""
        return self._redactor

"""Go through a JSON value and take secrets out of its texts."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from worker.redaction.spans import REDACTED

if TYPE_CHECKING:
    from worker.redaction.redactor import Redactor

__all__ = ["Cleaning"]

BUSY_S: Final = 10.0  # of CPU time for one value; only values that are made to be slow take it


class Cleaning:
    """One pass over one value. What is left when its time is over is taken out whole."""

    def __init__(self, redactor: Redactor, busy_s: float = BUSY_S) -> None:
        self._redactor = redactor
        self._end_s = time.thread_time() + busy_s

    def clean(self, value: Any) -> Any:
        """Return the value without secrets."""
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, dict):
            return self._object(value)
        if isinstance(value, list | tuple):
            return [self.clean(part) for part in value]
        return value

    def _object(self, value: dict[str, Any]) -> dict[str, Any]:
        """Return an object with clean keys; those that would become the same are numbered."""
        cleaned: dict[str, Any] = {}
        for key, part in value.items():
            name = clean_key = self._text(str(key))
            while name in cleaned:
                name = f"{clean_key} ({len(cleaned)})"
            cleaned[name] = self.clean(part)
        return cleaned

    def _text(self, text: str) -> str:
        return self._redactor.whole_value(text) if time.thread_time() < self._end_s else REDACTED

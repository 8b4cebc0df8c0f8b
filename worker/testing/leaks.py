"""Where a run shows a secret: in anything that it tells, before an agent takes it out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from worker.redaction import Redactor
from worker.redaction.spans import Span
from worker.testing.child import ChildRun

__all__ = ["Glass", "leaks_in"]

MAX_FILE_BYTES: Final = 16 * 1024 * 1024  # of an artifact that is searched
MIN_CHARS: Final = 6  # shorter ones stand anywhere by chance
SHOWN_CHARS: Final = 80


class Glass(Redactor):
    """Takes nothing out, and remembers what the handler declared secret."""

    def __init__(self) -> None:
        """Know of nothing yet."""
        super().__init__()
        self.told: set[str] = set()

    def with_secrets(self, more: Iterable[str]) -> Redactor:
        """Remember secrets; stay as it is."""
        self.told.update(more)
        return self

    def text(self, text: str) -> str:
        """Return the text as it is."""
        return text

    def value(self, value: Any) -> Any:
        """Return the value as it is."""
        return value

    def spans(self, data: bytes, start: int = 0) -> list[Span]:
        """Find nothing."""
        return []

    def cut_spans(self, data: bytes) -> list[Span]:
        """Find nothing."""
        return []


def leaks_in(run: ChildRun, secrets: Iterable[str]) -> list[str]:
    """Return where a run shows one of the secrets, one line each; the secret itself is not in it."""
    known = [secret for secret in secrets if len(secret) >= MIN_CHARS]
    if not known:
        return []
    knows, knows_nothing = Redactor(known), Redactor()
    other_forms = [form.encode() for secret in known for form in (secret[::-1], secret.encode().hex())]
    found = []
    for place, data in told_by(run):
        is_plain = knows.spans(data) != knows_nothing.spans(data)
        if is_plain or any(form in data.lower() for form in map(bytes.lower, other_forms)):
            shown = (
                knows.text(data[:4096].decode("utf-8", "replace")).strip()
                if is_plain
                else "reversed or in hex"
            )
            found.append(f"{place}: {shown[:SHOWN_CHARS]}")
    return found


def told_by(run: ChildRun) -> Iterator[tuple[str, bytes]]:
    """Yield everything that people could see of a run, with the place where it stands."""
    for number, (stream, line) in enumerate(run.lines, 1):
        yield f"line {number} ({stream})", line.encode()
    for ratio, message in run.progress:
        yield f"progress at {ratio:.0%}", (message or "").encode()
    yield "result", msgspec.json.encode(run.value)
    yield "error", run.text.encode()
    yield "checkpoint", msgspec.json.encode(run.checkpoint)
    for name, path in run.artifacts.items():
        with path.open("rb") as file:
            yield f"artifact {name}", file.read(MAX_FILE_BYTES)

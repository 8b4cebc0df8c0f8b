"""Structured logs on stderr: readable on a terminal, JSON lines otherwise, without secrets.

Events are dotted facts in the past, values are fields. Lines of libraries that use `logging` come
out in the same form.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from collections.abc import Callable, Collection, MutableMapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, Literal, TextIO

import structlog
import structlog.tracebacks

from worker.redaction import REDACTED, Redactor

__all__ = ["configure", "short_text"]

VALUE_CHARS_MAX: Final = 8 * 1024  # one value of one line; the rest is cut, and it says so
FRAMES_MAX: Final = 20  # of a traceback
PLAIN_MAX: Final = 500  # texts that are known to hold no secret; then it begins anew
PLAIN_CHARS: Final = 40  # of each: events, words, ids
KEYS_KEPT: Final = 500  # names of fields, of which there are some hundred
PLAIN: Final = frozenset({type(None), bool, int, float})  # types of values without a text
OFFSET_CHARS: Final = len("+00:00")

SECRET_KEYS: Final = re.compile(
    r"(?i)(^|[_-])(token|secret|password|passwd|api_?key|authorization|cookie)$|^bearer"
)

EventDict = MutableMapping[str, Any]
Format = Literal["auto", "text", "json"]


def configure(
    level: str = "info",
    form: Format = "auto",
    *,
    secrets: Collection[str] = (),
    redactor: Callable[[], Redactor] | None = None,
    stream: TextIO | None = None,
    color: bool | None = None,
) -> None:
    """Set up the logs of this process; called once, by the command line.

    Args:
        level: the least that is logged: debug, info, warning, error.
        form: text, json, or auto (text where the stream is a terminal).
        secrets: texts that never come out, such as the token.
        redactor: gives what knows them, in their place, where they change; asked for each line.
        stream: where to; stderr by default.
        color: colours in text; by default on a terminal without NO_COLOR.
    """
    stream = sys.stderr if stream is None else stream
    is_text = stream.isatty() if form == "auto" else form == "text"
    if color is None:
        color = stream.isatty() and not os.environ.get("NO_COLOR")
    number = logging.getLevelNamesMapping()[level.upper()]
    before: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.StackInfoRenderer(),
    ]
    clean = CleanEvents(redactor or fixed(secrets))
    writer = structlog.WriteLogger(stream)  # one for all: structlog's factory makes one for each line
    after = [*rendered_exceptions(is_text), clean, stamped, renderer(is_text, color)]
    structlog.configure(
        processors=[*before, *after],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=lambda *_: writer,
        cache_logger_on_first_use=False,  # a cached one would outlive its stream
    )
    adopt_logging([*before, *after], stream, max(number, logging.WARNING))


def rendered_exceptions(is_text: bool) -> list[Any]:
    """Return what turns an exception into text or values, before secrets are taken out of it.

    Without local variables: secrets may be in them, and they are long.
    """
    if is_text:
        return [structlog.processors.format_exc_info]
    shape = structlog.tracebacks.ExceptionDictTransformer(show_locals=False, max_frames=FRAMES_MAX)
    return [structlog.processors.ExceptionRenderer(shape)]


def renderer(is_text: bool, color: bool) -> Any:
    """Return what writes the line."""
    if not is_text:
        return JsonLines()
    from structlog.dev import ConsoleRenderer, plain_traceback  # noqa: PLC0415 - imports rich

    return ConsoleRenderer(
        colors=color, timestamp_key="at", exception_formatter=plain_traceback, pad_event_to=24
    )


def stamped(logger: Any, method: str, event: EventDict) -> EventDict:
    """Add when it happened; structlog's own takes five times as long."""
    event["at"] = datetime.now(UTC).isoformat("T", "microseconds")[:-OFFSET_CHARS] + "Z"
    return event


class JsonLines:
    """Write events as JSON by one encoder; structlog's own makes one for each line."""

    def __init__(self) -> None:
        """Make it; what is no value of JSON is told as text."""
        encoder = json.JSONEncoder(ensure_ascii=False, default=str, check_circular=False)
        self._encode = encoder.encode  # what holds itself does not get past the cleaner

    def __call__(self, logger: Any, method: str, event: EventDict) -> str:
        """Return the line."""
        return self._encode(event)


def fixed(secrets: Collection[str]) -> Callable[[], Redactor]:
    """Return what gives a redactor for secrets that do not change."""
    redactor = Redactor(secrets)
    return lambda: redactor


class CleanEvents:
    """Take secrets out of every value, and cut values that are too long."""

    def __init__(self, redactor: Callable[[], Redactor]) -> None:
        """Take what gives what knows the secrets."""
        self._redactor = redactor
        self._cleaner = Cleaner(Redactor())

    def __call__(self, logger: Any, method: str, event: EventDict) -> EventDict:
        """Return the event with each value cleaned."""
        known, cleaner = self._redactor(), self._cleaner
        if cleaner.known is not known:
            cleaner = self._cleaner = Cleaner(known)
        for key, value in event.items():
            if value is not None and is_secret(key):
                event[key] = REDACTED
            elif type(value) is str:
                if value not in cleaner.plain:
                    event[key] = cleaner.text(value)
            elif type(value) not in PLAIN:
                event[key] = cleaner.value(value)
        return event


class Cleaner:
    """Clean values by one redactor. Any thread may use it."""

    def __init__(self, known: Redactor) -> None:
        """Take what knows the secrets; what was seen with another one is looked at again."""
        self.known = known
        self.plain: set[str] = set()  # short texts without a secret, of which lines are full

    def value(self, value: Any) -> Any:
        """Return a value without secrets, and cut."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {
                key: REDACTED if part is not None and is_secret(str(key)) else self.value(part)
                for key, part in value.items()
            }
        if isinstance(value, list | tuple):
            return [self.value(part) for part in value]
        if value is None or isinstance(value, bool | int | float):
            return value
        return short_text(self.known.text(str(value)))

    def text(self, text: str) -> str:
        """Return a text without secrets, and cut."""
        if text in self.plain:
            return text
        shown = self.known.text(text)
        if len(text) > PLAIN_CHARS or shown != text:
            return short_text(shown)
        if len(self.plain) >= PLAIN_MAX:
            self.plain.clear()
        self.plain.add(text)
        return shown


@lru_cache(KEYS_KEPT)
def is_secret(key: str) -> bool:
    """Tell whether a field's name says that its value is a secret."""
    return SECRET_KEYS.search(key) is not None


def short_text(value: str) -> str:
    """Return a text cut to the bound of a value."""
    if len(value) > VALUE_CHARS_MAX:
        return f"{value[:VALUE_CHARS_MAX]}… ({len(value) - VALUE_CHARS_MAX} more characters)"
    return value


def adopt_logging(processors: list[Any], stream: TextIO, level: int) -> None:
    """Let lines of libraries come out in the same form; theirs count from warnings on."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *processors]
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.captureWarnings(True)

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
import time
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

SECRET_KEYS: Final = re.compile(
    r"(?i)(^|[_-])(token|secret|password|passwd|api_?key|authorization|cookie)$|^bearer"
)

EventDict = MutableMapping[str, Any]
Processor = Callable[[Any, str, EventDict], Any]  # of structlog: logger, method, event
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
    writer = structlog.WriteLogger(stream)  # one for all: structlog's factory makes one for each line
    clean = CleanEvents(redactor or fixed(secrets))
    lines = Lines(rendered_exception(is_text), clean, renderer(is_text, color))
    structlog.configure(
        processors=[lines],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=lambda *_: writer,
        cache_logger_on_first_use=False,  # a cached one would outlive its stream
    )
    adopt_logging(lines, stream, max(number, logging.WARNING))


class Lines:
    """Make the line of an event by one processor; what few lines need is done only for those."""

    def __init__(self, exception: Processor, clean: CleanEvents, render: Processor) -> None:
        """Take what renders an exception, takes secrets out, and writes what is left as text."""
        self._stack = structlog.processors.StackInfoRenderer()
        self._exception = exception
        self._clean = clean
        self._render = render
        self._stamp = Stamp()

    def __call__(self, logger: Any, method: str, event: EventDict) -> Any:
        """Return the line."""
        event = structlog.contextvars.merge_contextvars(logger, method, event)
        structlog.processors.add_log_level(logger, method, event)
        if "stack_info" in event:
            event = self._stack(logger, method, event)
        if "exc_info" in event:
            event = self._exception(logger, method, event)
        event = self._clean(event)
        event["at"] = self._stamp()
        return self._render(logger, method, event)


def rendered_exception(is_text: bool) -> Processor:
    """Return what turns an exception into text or values, before secrets are taken out of it.

    Without local variables: secrets may be in them, and they are long.
    """
    if is_text:
        return structlog.processors.format_exc_info
    shape = structlog.tracebacks.ExceptionDictTransformer(show_locals=False, max_frames=FRAMES_MAX)
    return structlog.processors.ExceptionRenderer(shape)


def renderer(is_text: bool, color: bool) -> Processor:
    """Return what writes the line."""
    if not is_text:
        return JsonLines()
    from structlog.dev import ConsoleRenderer, plain_traceback  # noqa: PLC0415 - imports rich

    return ConsoleRenderer(
        colors=color, timestamp_key="at", exception_formatter=plain_traceback, pad_event_to=24
    )


class Stamp:
    """The time of a line, UTC with microseconds; the part of it that lasts a second is written once."""

    def __init__(self, now_ns: Callable[[], int] = time.time_ns) -> None:
        """`now_ns` gives the nanoseconds since 1970. Any thread may ask."""
        self._now_ns = now_ns
        self._last = (-1, "")

    def __call__(self) -> str:
        """Return the time now."""
        second, below_us = divmod(self._now_ns() // 1000, 1_000_000)
        known, text = self._last
        if second != known:
            text = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
            self._last = (second, text)
        return f"{text}.{below_us:06d}Z"


class JsonLines:
    """Write events as JSON by one encoder; structlog's own makes one for each line."""

    def __init__(self) -> None:
        """Make it; what is no value of JSON is told as text."""
        encoder = json.JSONEncoder(ensure_ascii=False, default=str, check_circular=False)
        self._encode = quick(encoder)  # what holds itself does not get past the cleaner

    def __call__(self, logger: Any, method: str, event: EventDict) -> str:
        """Return the line."""
        return self._encode(event)


def quick(encoder: json.JSONEncoder) -> Callable[[Any], str]:
    """Return `encoder.encode` without the encoder in C that it makes for each value; the texts are the same.

    Its default is used, not its other settings: they are those of `JsonLines`.
    """
    make = getattr(json.encoder, "c_make_encoder", None)  # of 3.11 to 3.14; there may be none
    if make is None:
        return encoder.encode
    texts = json.encoder.encode_basestring
    encode = make(None, encoder.default, texts, None, ": ", ", ", False, False, True)
    return lambda value: "".join(encode(value, 0))


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

    def __call__(self, event: EventDict) -> EventDict:
        """Return the event with each value cleaned."""
        known, cleaner = self._redactor(), self._cleaner
        if cleaner.known is not known:
            cleaner = self._cleaner = Cleaner(known)
        plain, new = cleaner.plain, []
        for key, value in event.items():
            if value is not None and is_secret(key):
                event[key] = REDACTED
            elif type(value) is str:
                if value not in plain:
                    new.append(key)
            elif type(value) not in PLAIN:
                event[key] = cleaner.value(value)
        if new:
            cleaner.texts(event, new)
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
                self.text(key) if isinstance(key, str) else key: (
                    REDACTED if part is not None and is_secret(str(key)) else self.value(part)
                )
                for key, part in value.items()
            }
        if isinstance(value, list | tuple):
            return [self.value(part) for part in value]
        if value is None or isinstance(value, bool | int | float):
            return value
        return short_text(self.known.text(str(value)))

    def texts(self, event: EventDict, keys: list[str]) -> None:
        """Clean those texts of an event; most are a few ids, which are looked at together."""
        texts = [event[key] for key in keys]
        if max(map(len, texts)) <= PLAIN_CHARS and self.known.are_plain_words(texts):
            self._remember(texts)
            return
        for key in keys:
            event[key] = self.text(event[key])

    def text(self, text: str) -> str:
        """Return a text without secrets, and cut."""
        if text in self.plain:
            return text
        shown = self.known.text(text)
        if len(text) > PLAIN_CHARS or shown != text:
            return short_text(shown)
        self._remember([text])
        return shown

    def _remember(self, texts: list[str]) -> None:
        if len(self.plain) + len(texts) > PLAIN_MAX:
            self.plain.clear()
        self.plain.update(texts)


@lru_cache(KEYS_KEPT)
def is_secret(key: str) -> bool:
    """Tell whether a field's name says that its value is a secret."""
    return SECRET_KEYS.search(key) is not None


def short_text(value: str) -> str:
    """Return a text cut to the bound of a value."""
    if len(value) > VALUE_CHARS_MAX:
        return f"{value[:VALUE_CHARS_MAX]}… ({len(value) - VALUE_CHARS_MAX} more characters)"
    return value


def adopt_logging(lines: Lines, stream: TextIO, level: int) -> None:
    """Let lines of libraries come out in the same form; theirs count from warnings on."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, lines]
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.captureWarnings(True)

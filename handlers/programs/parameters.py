"""What values the parameters of a template take: one small type a kind, and a reason for each refusal."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from msgspec import Struct, field

__all__ = [
    "Boolean",
    "Choice",
    "File",
    "Input",
    "Integer",
    "Number",
    "Parameter",
    "Text",
    "Value",
    "pattern_of",
    "shown",
]

MAX_NAME_BYTES: Final = 200
MAX_PATTERN_CHARS: Final = 500
SHOWN_CHARS: Final = 60
SCHEMES: Final = ("http", "https", "s3", "gs", "az")
TRUTHS: Final = {"true": True, "false": False}

Value = str | int | float | bool


class Parameter(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"):
    """What all kinds have.

    Attributes:
        summary: what it is, for people.
        optional: it may be left out; then the groups of arguments that name it are left out too.
    """

    summary: str = ""
    optional: bool = False
    default: Any = None

    def check(self, value: object) -> Value:
        """Return a value as this kind has it; raise ValueError with what it must be."""
        raise NotImplementedError

    def meaning(self) -> str:
        """Say what values it takes."""
        raise NotImplementedError

    def problem(self) -> str | None:
        """Say what is wrong with the definition itself."""
        return None


class Integer(Parameter, frozen=True, kw_only=True, tag="integer"):
    """A whole number; below 0 only where `minimum` is, since -1 may look like an option."""

    minimum: int = 0
    maximum: int | None = None

    def check(self, value: object) -> int:
        """Take a number, or text that is one."""
        if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,30}", value):
            value = int(value)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not within(value, self):
            raise ValueError(f"must be {self.meaning()}, not {shown(value)}")
        return value

    def meaning(self) -> str:
        """Say its range."""
        return f"a whole number{range_of(self)}"


class Number(Parameter, frozen=True, kw_only=True, tag="number"):
    """A number; below 0 only where `minimum` is."""

    minimum: float = 0.0
    maximum: float | None = None

    def check(self, value: object) -> int | float:
        """Take a number, or text that is one; neither infinite nor without a value."""
        if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,30}(\.[0-9]{1,30})?", value):
            value = float(value)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not within(value, self):
            raise ValueError(f"must be {self.meaning()}, not {shown(value)}")
        assert isinstance(value, int | float)
        return value + 0  # -0.0, which is in a range from 0 and looks like an option, becomes 0.0

    def meaning(self) -> str:
        """Say its range."""
        return f"a number{range_of(self)}"


class Text(Parameter, frozen=True, kw_only=True, tag="text"):
    """One line of text; one that begins with ``-`` only where `dash` says so."""

    pattern: str | None = None
    max_length: int = 1000
    dash: bool = False

    def check(self, value: object) -> str:
        """Take text that the whole pattern fits."""
        if not isinstance(value, str) or not value.isprintable() or not 0 < len(value) <= self.max_length:
            raise ValueError(f"must be {self.meaning()}, not {shown(value)}")
        if value.startswith("-") and not self.dash:
            raise ValueError(f"must not begin with '-', as an option does: {shown(value)}")
        if self.pattern is not None and not re.fullmatch(self.pattern, value):
            raise ValueError(f"must be {self.meaning()}, not {shown(value)}")
        return value

    def meaning(self) -> str:
        """Say its bounds."""
        fitting = f" that fits {self.pattern}" if self.pattern else ""
        return f"one line of text of 1 to {self.max_length} printable characters{fitting}"

    def problem(self) -> str | None:
        """Look at the pattern."""
        return pattern_problem(self.pattern)


class Choice(Parameter, frozen=True, kw_only=True, tag="choice"):
    """One of a few words or numbers."""

    values: list[str | int | float] = field(default_factory=list)

    def check(self, value: object) -> Value:
        """Take one of them, numbers also as text."""
        for one in self.values:
            if not isinstance(value, bool) and (value == one or value == str(one)):
                return one
        raise ValueError(f"must be {self.meaning()}, not {shown(value)}")

    def meaning(self) -> str:
        """Name them."""
        return "one of " + ", ".join(map(str, self.values))

    def problem(self) -> str | None:
        """A choice without values is none."""
        return None if self.values else "values: name at least one"


class Boolean(Parameter, frozen=True, kw_only=True, tag="boolean"):
    """True or false, which stand for the arguments `on` and `off`."""

    on: list[str] = field(default_factory=list)
    off: list[str] = field(default_factory=list)

    def check(self, value: object) -> bool:
        """Take a truth value, or its name."""
        truth = TRUTHS.get(value) if isinstance(value, str) else value
        if not isinstance(truth, bool):
            raise ValueError(f"must be true or false, not {shown(value)}")
        return truth

    def meaning(self) -> str:
        """Name both."""
        return "true or false"

    def problem(self) -> str | None:
        """A truth value that changes nothing is a slip."""
        return None if self.on or self.off else "on: name the arguments that stand for true, off: for false"


class Input(Parameter, frozen=True, kw_only=True, tag="input"):
    """A file to read: a path on the worker or a URL; the program gets the path of a local file.

    Attributes:
        sources: what it may come from: folders (``/srv/media``), schemes (``https``), beginnings of URLs
            that end with a slash (``https://media.example.com/``); empty: anything that the worker reads.
        max_bytes: of a download.
    """

    sources: list[str] = field(default_factory=list)
    max_bytes: int = 16 * 1024**3

    def check(self, value: object) -> str:
        """Take a path or URL that may be read; links are followed first."""
        if not isinstance(value, str) or not value.isprintable() or not value:
            raise ValueError(f"must be {self.meaning()}, not {shown(value)}")
        source = local_path(value)
        if self.sources and not self.allows(source):
            raise ValueError(f"may only come from {', '.join(self.sources)}, not {shown(value)}")
        return source

    def allows(self, source: str) -> bool:
        """Tell whether it comes from one of the sources."""
        if "://" not in source:
            return any(
                Path(source).is_relative_to(Path(one).resolve()) for one in self.sources if one[0] == "/"
            )
        scheme, _, rest = source.partition("://")
        climbs = ".." in unquote(rest).replace("\\", "/").split("/")
        return scheme in self.sources or any(
            source.startswith(one) and not climbs for one in self.sources if "://" in one
        )

    def meaning(self) -> str:
        """Say what it may be."""
        return "a path or URL" + (f" from {', '.join(self.sources)}" if self.sources else "")

    def problem(self) -> str | None:
        """Look at each source."""
        for one in self.sources:
            if not one.startswith("/") and one not in SCHEMES and not ("://" in one and one.endswith("/")):
                return (
                    f"sources: {shown(one)} must be an absolute folder, one of {', '.join(SCHEMES)}, or the "
                    "beginning of a URL up to a slash"
                )
        return None if self.max_bytes > 0 else "max_bytes: must be 1 or more"


class File(Parameter, frozen=True, kw_only=True, tag="file"):
    """A plain file name in the run's folder; the program gets its absolute path."""

    pattern: str | None = None

    def check(self, value: object) -> str:
        """Take a name that is no path."""
        if not isinstance(value, str) or not is_plain_name(value):
            raise ValueError(f"must be {self.meaning()}, not {shown(value)}")
        if self.pattern is not None and not re.fullmatch(self.pattern, value):
            raise ValueError(f"must be {self.meaning()}, not {shown(value)}")
        return value

    def meaning(self) -> str:
        """Say its bounds."""
        fitting = f" that fits {self.pattern}" if self.pattern else ""
        return f"a plain file name of at most {MAX_NAME_BYTES} bytes{fitting}"

    def problem(self) -> str | None:
        """Look at the pattern."""
        return pattern_problem(self.pattern)


def local_path(value: str) -> str:
    """Return a local path with its links followed: what is checked is what is used; URLs as they are."""
    scheme, found, _ = value.partition("://")
    if found and scheme.lower() != "file":
        return f"{scheme.lower()}{value[len(scheme) :]}"
    return str(Path(url2pathname(urlsplit(value).path) if found else value).resolve())


def within(value: Any, limits: Integer | Number) -> bool:
    """Tell whether a number is in its range; "not a number" is in none."""
    return bool(limits.minimum <= value <= (limits.maximum if limits.maximum is not None else float(10**24)))


def range_of(limits: Integer | Number) -> str:
    """Say a range."""
    low = f" from {limits.minimum:.15g}"
    return low if limits.maximum is None else f"{low} to {limits.maximum:.15g}"


def is_plain_name(name: str) -> bool:
    """Tell whether a text names a file of a folder, and nothing else; hidden files and options are none."""
    return (
        name.isprintable()
        and name not in ("", "inputs", "stdout", "stderr")  # downloads lie there; the others are reserved
        and not name.startswith((".", "-"))
        and not set(name) & set("/\\")
        and len(name.encode("utf-8", "replace")) <= MAX_NAME_BYTES
    )


def pattern_problem(pattern: str | None) -> str | None:
    """Say why a pattern cannot be used."""
    try:
        pattern_of(pattern or "")
    except ValueError as exc:
        return f"pattern: {exc}"
    return None


def pattern_of(text: str) -> re.Pattern[str]:
    """Compile a pattern; raise ValueError where it is too long or none."""
    if len(text) > MAX_PATTERN_CHARS:
        raise ValueError(f"has more than {MAX_PATTERN_CHARS} characters")
    try:
        return re.compile(text)
    except (re.error, RecursionError, OverflowError) as exc:
        raise ValueError(f"{shown(text)} is no regular expression: {exc}") from exc


def shown(value: object) -> str:
    """Return a value for a message: short."""
    text = repr(value)
    return text if len(text) <= SHOWN_CHARS else text[: SHOWN_CHARS - 1] + "…"

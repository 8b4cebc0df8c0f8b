"""Turn docstrings, as this project writes them, into markdown."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Final, NamedTuple

__all__ = ["Section", "items_of", "markdown", "sections_of"]

HEADINGS: Final = ("Args", "Attributes", "Returns", "Yields", "Raises")
LISTS: Final = ("Args", "Attributes", "Raises")
TITLE: Final = re.compile(rf"^({'|'.join(HEADINGS)}):(?: (.*))?$")
ITEM: Final = re.compile(r"^(\*{0,2}\w[\w., ]*): (.*)$")
SHOWN: Final = {"Args": "Arguments"}


class Section(NamedTuple):
    """A part of a docstring; the running text has no title."""

    title: str
    lines: list[str]


def sections_of(doc: str) -> Iterator[Section]:
    """Yield the parts of a docstring in order: running text, and its sections without their indentation."""
    current = Section("", [])
    for line in inspect.cleandoc(doc).splitlines():
        if match := TITLE.match(line):
            yield current
            current = Section(match[1], [match[2]] if match[2] else [])
        elif current.title and line and not line.startswith(" "):
            yield current
            current = Section("", [line])
        else:
            current.lines.append(line[4:] if current.title else line)
    yield current


def items_of(section: Section) -> dict[str, str]:
    """Return what a section of names says of each; lines that are indented further go on."""
    found: dict[str, str] = {}
    name = ""
    for line in section.lines:
        if match := ITEM.match(line):
            name = match[1]
            found[name] = match[2]
        elif name and line.strip():
            found[name] += f" {line.strip()}"
    return found


def markdown(doc: str) -> str:
    """Return a docstring as markdown."""
    parts = []
    for section in sections_of(doc):
        if section.title in LISTS:
            items = [f"- {names(name)}: {inline(text)}" for name, text in items_of(section).items()]
            parts.append(f"**{SHOWN.get(section.title, section.title)}**\n\n" + "\n".join(items))
        elif section.title:
            parts.append(
                f"**{section.title}** " + inline(" ".join(line.strip() for line in section.lines).strip())
            )
        else:
            parts.append(running(section.lines))
    return "\n\n".join(part for part in parts if part.strip())


def running(lines: list[str]) -> str:
    """Return running text; what is indented behind ``::`` is code."""
    text = inline("\n".join(lines).strip())
    return re.sub(r"\n*::\n\n((?:    .*\n?|\n)+)", as_code, text + "\n").strip().lstrip("\n")


def as_code(match: re.Match[str]) -> str:
    """Return an indented block as a fenced one."""
    return f"\n\n```text\n{inspect.cleandoc(match[1].rstrip())}\n```\n"


def names(name: str) -> str:
    """Return the names of an item as code: several stand together where they mean the same."""
    return ", ".join(f"`{one.strip()}`" for one in name.split(","))


def inline(text: str) -> str:
    """Return text whose code is markdown's."""
    return text.replace("``", "`")

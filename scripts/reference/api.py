"""The reference of what authors of handlers import: the SDK, the kit for tests, the fixtures."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, Final

import millhand_pytest
import worker
import worker.testing
from scripts.reference.docstrings import items_of, markdown, sections_of
from scripts.reference.signatures import signature

__all__ = ["kit_page", "sdk_page"]

SDK: Final = (
    "handler",
    "Context",
    "SetupContext",
    "Secret",
    "Fail",
    "Retry",
    "RetryPolicy",
    "OutOfMemory",
    "Unavailable",
    "Cancelled",
)
KIT: Final = (
    "check_handler", "HandlerReport", "Check", "Verdict", "ChildRunner", "ChildRun",
    "call_handler", "Called", "make_context", "ToldContext", "Told", "FakeClock",
)  # fmt: skip
FIXTURES: Final = ("run_handler", "run_handler_in_child", "handler_clock", "handler_context")
# Made by millhand, or enumerations: nobody calls these.
GIVEN: Final = frozenset(
    {"Context", "ToldContext", "Called", "ChildRun", "HandlerReport", "Check", "Verdict", "Told"}
)
# What is neither a class nor a function has no docstring of its own.
SAID: Final = {
    "Secret": "The type of a parameter that must not be shown: a `str` to the handler and to type "
    "checkers. See [Secrets](../handlers.md#secrets).",
}

SDK_HEAD: Final = """\
# SDK

What a handler imports from `worker`; [handlers of your own](../handlers.md#a-handler-of-your-own) use it.
"""
KIT_HEAD: Final = """\
# Kit for tests

What tests import from `worker.testing`, and the [fixtures](#fixtures) that pytest finds by itself.
[Testing handlers](../testing-handlers.md) shows them in use.
"""


class Undocumented(Exception):  # noqa: N818 - what is wrong
    """Something public says nothing of itself."""


def sdk_page() -> str:
    """Return the page of the SDK."""
    return SDK_HEAD + "".join(entries(worker, SDK))


def kit_page() -> str:
    """Return the page of the kit, with the fixtures."""
    fixtures = "".join(f"\n### `{name}`\n\n{fixture(name)}\n" for name in checked(millhand_pytest, FIXTURES))
    return KIT_HEAD + "".join(entries(worker.testing, KIT)) + "\n## Fixtures\n" + fixtures


def checked(module: ModuleType, order: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names in their order on the page; each public one has a place there."""
    if set(order) != set(module.__all__):
        raise Undocumented(f"{module.__name__}: {sorted(set(order) ^ set(module.__all__))} on one side only")
    return order


def entries(module: ModuleType, order: tuple[str, ...]) -> Iterator[str]:
    """Yield the part of each public name."""
    for name in checked(module, order):
        value = getattr(module, name)
        yield f"\n## `{name}`\n\n"
        if name in SAID:
            yield f"{SAID[name]}\n"
        elif inspect.isclass(value):
            yield from class_part(name, value)
        else:
            yield f"{code(signature(name, value))}\n{markdown(doc_of(value, name))}\n"


def class_part(name: str, cls: type) -> Iterator[str]:
    """Yield how a class is made, what it says of itself, and its public methods and properties."""
    if name not in GIVEN and "__init__" in vars(cls):
        yield f"{code(signature(name, cls.__init__, is_method=True))}\n"  # type: ignore[misc]
    doc = doc_of(cls, name)
    said = {
        one.strip()
        for part in sections_of(doc)
        if part.title == "Attributes"
        for key in items_of(part)
        for one in key.split(",")
    }
    if silent := sorted(set(fields_of(cls)) - said):
        raise Undocumented(f"{name}: its docstring does not say what {', '.join(silent)} are (Attributes:)")
    yield f"{markdown(doc)}\n"
    for member, value in vars(cls).items():
        if not member.startswith("_"):
            yield from member_part(name, member, value)


def member_part(owner: str, member: str, value: object) -> Iterator[str]:
    """Yield the part of one method or property."""
    where = f"{owner}.{member}"
    if isinstance(value, property):
        result = inspect.signature(value.fget).return_annotation if value.fget else ""
        yield f"\n### `{where}`\n\n{code(f'{member}: {result}')}\n{markdown(doc_of(value, where))}\n"
    elif inspect.isfunction(value):
        name = value.__name__
        if name != member:
            yield f"\n### `{where}`\n\nThe same as `{name}`.\n"
        else:
            yield f"\n### `{where}`\n\n{code(signature(member, value, is_method=True))}\n"
            yield f"{markdown(doc_of(value, where))}\n"


def fields_of(cls: type) -> tuple[str, ...]:
    """Return the public fields of a dataclass or a Struct."""
    found: tuple[str, ...] = (
        *getattr(cls, "__struct_fields__", ()),
        *getattr(cls, "__dataclass_fields__", ()),
    )
    return tuple(name for name in found if not name.startswith("_"))


def fixture(name: str) -> str:
    """Return the part of a fixture: what it gives, and how that is called."""
    function = inspect.unwrap(getattr(millhand_pytest, name))
    result = function.__annotations__["return"].removeprefix("Iterator[").removesuffix("]")
    given = getattr(millhand_pytest, result, None)
    head = f"{name}: {result}" if given is None else signature(name, given.__call__, is_method=True)
    return f"{code(head)}\n{markdown(doc_of(function, name))}"


def code(text: str) -> str:
    """Return a block of Python."""
    return f"```text\n{text}\n```\n"


def doc_of(value: Callable[..., Any] | object, name: str) -> str:
    """Return a docstring.

    Raises:
        Undocumented: there is none.
    """
    if not value.__doc__:
        raise Undocumented(f"{name} has no docstring")
    return value.__doc__

"""The decorator that makes a function a handler, and what it says about the function."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Literal, TypeVar

    # Not Callable[Concatenate[Context, P], R]: that refuses `def echo(ctx: Context, **values: Any)`.
    F = TypeVar("F", bound=Callable[..., Any])
    Isolation = Literal["warm", "fresh"]

__all__ = ["HandlerSpec", "handler", "spec_of"]

MARK = "__millhand__"  # the attribute of a decorated function that holds its spec
MAX_TYPE_CHARS = 128
RESULT_BOUND_BYTES = 8 * 1024 * 1024  # half a frame of the channel; larger results are artifacts


class HandlerSpec:
    """What a handler is: its task type, its function and its options. Frozen."""

    __slots__ = ("doc", "function", "isolation", "max_result_bytes", "no_progress_s", "timeout_s", "type")

    def __init__(
        self,
        type: str,  # noqa: A002 - the word of the wire
        function: Callable[..., Any],
        *,
        doc: str = "",
        timeout_s: float | None = None,
        no_progress_s: float | None = None,
        isolation: Isolation = "warm",
        max_result_bytes: int = 256 * 1024,
    ) -> None:
        """Set every value once; `handler` describes them."""
        values = (type, function, doc, timeout_s, no_progress_s, isolation, max_result_bytes)
        names = ("type", "function", "doc", "timeout_s", "no_progress_s", "isolation", "max_result_bytes")
        for name, value in zip(names, values, strict=True):
            object.__setattr__(self, name, value)

    if TYPE_CHECKING:
        type: str
        function: Callable[..., Any]
        doc: str
        timeout_s: float | None
        no_progress_s: float | None
        isolation: Isolation
        max_result_bytes: int

    def __setattr__(self, name: str, value: object) -> None:
        """Refuse: a spec is frozen."""
        raise AttributeError(f"a HandlerSpec is frozen; {name!r} cannot be set")

    def __repr__(self) -> str:
        """Show the type and the function."""
        return f"HandlerSpec({self.type!r}, {self.function.__module__}.{self.function.__qualname__})"

    def options(self) -> dict[str, Any]:
        """Return the options by name, JSON-able."""
        names = ("timeout_s", "no_progress_s", "isolation", "max_result_bytes")
        return {name: getattr(self, name) for name in names}


def handler(
    type: str | None = None,  # noqa: A002 - the word of the wire
    *,
    timeout_s: float | None = None,
    no_progress_s: float | None = None,
    isolation: Isolation = "warm",
    max_result_bytes: int = 256 * 1024,
) -> Callable[[F], F]:
    """Make a function the handler of a task type; it stays callable as it is.

    The first parameter is the `Context`; the others are the task's parameters, checked against
    their annotations before the function is called. It returns a dict (or another JSON-able value,
    which stands as ``value``), and may be sync (it runs on its process's main thread) or async.

    Args:
        type: the task type; by default the function's name, ``_`` written as ``-``.
        timeout_s: end the run as ``timeout`` after this many seconds.
        no_progress_s: end the run as ``no_progress`` when `ctx.progress` was silent for so long.
        isolation: "warm" keeps the process for the next task of the type, "fresh" never does.
        max_result_bytes: how large the result may be as JSON; large ones belong into artifacts.

    Raises:
        TypeError: the decorator is used without parentheses, or on something that is no function.
        ValueError: an option is out of its range.
    """
    if callable(type):
        raise TypeError("write @handler() or @handler('type'), with parentheses")
    check_options(type, timeout_s, no_progress_s, isolation, max_result_bytes)

    def decorate(function: F) -> F:
        if not hasattr(function, "__name__"):
            raise TypeError(f"@handler decorates a function, not {function!r}")
        spec = HandlerSpec(
            type or function.__name__.replace("_", "-"),
            function,
            doc=clean_doc(function.__doc__),
            timeout_s=timeout_s,
            no_progress_s=no_progress_s,
            isolation=isolation,
            max_result_bytes=max_result_bytes,
        )
        setattr(function, MARK, spec)
        return function

    return decorate


def spec_of(function: object) -> HandlerSpec | None:
    """Return what `handler` attached to a function; None where it is not decorated."""
    spec = getattr(function, MARK, None)
    return spec if isinstance(spec, HandlerSpec) else None


def check_options(
    type: str | None,  # noqa: A002 - the word of the wire
    timeout_s: float | None,
    no_progress_s: float | None,
    isolation: str,
    max_result_bytes: int,
) -> None:
    """Raise ValueError that names the option that is out of its range."""
    if type is not None and (not type.strip() or not type.isprintable() or len(type) > MAX_TYPE_CHARS):
        raise ValueError(f"a task type is 1 to {MAX_TYPE_CHARS} printable characters, not {type!r}")
    for name, seconds in (("timeout_s", timeout_s), ("no_progress_s", no_progress_s)):
        if seconds is not None and not 0 < seconds < float("inf"):
            raise ValueError(f"{name} must be a number of seconds above 0, not {seconds!r}")
    if isolation not in ("warm", "fresh"):
        raise ValueError(f"isolation is 'warm' or 'fresh', not {isolation!r}")
    if not 1 <= max_result_bytes <= RESULT_BOUND_BYTES:
        raise ValueError(f"max_result_bytes is 1 to {RESULT_BOUND_BYTES}, not {max_result_bytes!r}")


def clean_doc(doc: str | None) -> str:
    """Return a docstring without its indentation; `inspect.cleandoc` would cost an import of 7 ms."""
    if not doc:
        return ""
    first, *rest = doc.expandtabs().splitlines()
    margin = min((len(line) - len(line.lstrip()) for line in rest if line.strip()), default=0)
    return "\n".join([first.strip(), *(line[margin:].rstrip() for line in rest)]).strip()

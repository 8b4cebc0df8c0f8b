"""The decorator that makes a function a handler, and what it says about the function."""

from __future__ import annotations

from worker.sdk.given_secrets import GivenSecrets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Literal, TypeVar

    from worker.sdk.retry_policy import RetryPolicy

    # Not Callable[Concatenate[Context, P], R]: that refuses `def echo(ctx: Context, **values: Any)`.
    F = TypeVar("F", bound=Callable[..., Any])
    Isolation = Literal["warm", "fresh"]
    Setup = Callable[[], Any] | Callable[["SetupContext"], Any]

__all__ = ["HandlerSpec", "SetupContext", "handler", "spec_of"]

MARK = "__millhand__"  # the attribute of a decorated function that holds its spec
MAX_TYPE_CHARS = 128
RESULT_BOUND_BYTES = 8 * 1024 * 1024  # half a frame of the channel; larger results are artifacts


OPTIONS = ("timeout_s", "no_progress_s", "memory_bytes", "isolation", "max_result_bytes")


class SetupContext:
    """What a `setup` function is given if it takes an argument.

    Attributes:
        type: the task type whose runs the process serves.
        gpus: UUIDs of the GPUs that they may use.
        secrets: by name, as they were when the process began; a run's `ctx.secrets` are those of now.
    """

    def __init__(
        self,
        type: str,  # noqa: A002 - the word of the wire
        gpus: tuple[str, ...] = (),
        secrets: Mapping[str, str] | None = None,
    ) -> None:
        """Built by the child process, and by authors' unit tests."""
        self.type = type
        self.gpus = gpus
        self.secrets = GivenSecrets(secrets or {})


class HandlerSpec:
    """What a handler is: its task type, its function and its options. Frozen."""

    __slots__ = (
        "concurrency", "doc", "function", "gpus", "retry", "secrets", "setup", "teardown", "type", *OPTIONS,
    )  # fmt: skip

    def __init__(
        self,
        type: str,  # noqa: A002 - the word of the wire
        function: Callable[..., Any],
        *,
        doc: str = "",
        timeout_s: float | None = None,
        no_progress_s: float | None = None,
        memory_bytes: int | None = None,
        isolation: Isolation = "warm",
        max_result_bytes: int = 256 * 1024,
        gpus: int | None = None,
        concurrency: int | None = None,
        retry: RetryPolicy | None = None,
        setup: Setup | None = None,
        teardown: Callable[[Any], Any] | None = None,
        secrets: tuple[str, ...] = (),
    ) -> None:
        """Set every value once; `handler` describes them."""
        values = (timeout_s, no_progress_s, memory_bytes, isolation, max_result_bytes)
        others = {"type": type, "function": function, "doc": doc, "setup": setup, "teardown": teardown}
        others |= {"gpus": gpus, "concurrency": concurrency, "retry": retry, "secrets": secrets}
        for name, value in {**dict(zip(OPTIONS, values, strict=True)), **others}.items():
            object.__setattr__(self, name, value)

    if TYPE_CHECKING:
        type: str
        function: Callable[..., Any]
        doc: str
        timeout_s: float | None
        no_progress_s: float | None
        memory_bytes: int | None
        isolation: Isolation
        max_result_bytes: int
        gpus: int | None
        concurrency: int | None
        retry: RetryPolicy | None
        setup: Setup | None
        teardown: Callable[[Any], Any] | None
        secrets: tuple[str, ...]

    def __setattr__(self, name: str, value: object) -> None:
        """Refuse: a spec is frozen."""
        raise AttributeError(f"a HandlerSpec is frozen; {name!r} cannot be set")

    def __repr__(self) -> str:
        """Show the type and the function."""
        return f"HandlerSpec({self.type!r}, {self.function.__module__}.{self.function.__qualname__})"

    def options(self) -> dict[str, Any]:
        """Return the options by name, JSON-able."""
        retry = None if self.retry is None else self.retry.options()
        return {name: getattr(self, name) for name in (*OPTIONS, "gpus", "concurrency")} | {"retry": retry}


def handler(
    type: str | None = None,  # noqa: A002 - the word of the wire
    *,
    timeout_s: float | None = None,
    no_progress_s: float | None = None,
    memory_bytes: int | None = None,
    isolation: Isolation = "warm",
    max_result_bytes: int = 256 * 1024,
    gpus: int | None = None,
    concurrency: int | None = None,
    retry: RetryPolicy | None = None,
    setup: Setup | None = None,
    teardown: Callable[[Any], Any] | None = None,
    secrets: tuple[str, ...] = (),
) -> Callable[[F], F]:
    """Make a function the handler of a task type; it stays callable as it is.

    The first parameter is the `Context`; the others are the task's parameters, checked against
    their annotations before the function is called. It returns a dict (or another JSON-able value,
    which stands as ``value``), and may be sync (it runs on its process's main thread) or async.

    Args:
        type: the task type; by default the function's name, ``_`` written as ``-``.
        timeout_s: end the run as ``timeout`` after this many seconds.
        no_progress_s: end the run as ``no_progress`` when `ctx.progress` was silent for so long.
        memory_bytes: end the run as ``out_of_memory`` when its processes have more together.
        isolation: "warm" keeps the process for the next task of the type, "fresh" never does.
        max_result_bytes: how large the result may be as JSON; large ones belong into artifacts.
        gpus: how many GPUs a run gets where its task does not say (``parameters.requires.gpus``); None: none.
        concurrency: how many runs of the type may go on at once in one agent; None: as many as it has slots.
        retry: how often, when and after which errors a failed task is tried again; see `RetryPolicy`.
        setup: called once per process, before its first task, on the main thread; what it returns is
            `ctx.state` of every run there. It takes nothing, or a `SetupContext`; it may be async.
        teardown: called with that state when the process is let go, within ten seconds; not when
            it is killed. It may be async.
        secrets: names of those that it needs; the agent has them, and gives them as `ctx.secrets`.

    A task's own limits (``parameters.limits``) count instead of the handler's; the agent's bound both.

    Raises:
        TypeError: the decorator is used without parentheses, or on something that is no function.
        ValueError: an option is out of its range.
    """
    if callable(type):
        raise TypeError("write @handler() or @handler('type'), with parentheses")
    check_type(type)
    check_options(timeout_s, no_progress_s, memory_bytes, isolation, max_result_bytes)
    check_callables(setup, teardown)
    check_counts(gpus=gpus, concurrency=concurrency)
    check_again(retry)
    check_secrets(secrets)

    def decorate(function: F) -> F:
        if not hasattr(function, "__name__"):
            raise TypeError(f"@handler decorates a function, not {function!r}")
        spec = HandlerSpec(
            type or function.__name__.replace("_", "-"),
            function,
            doc=clean_doc(function.__doc__),
            timeout_s=timeout_s,
            no_progress_s=no_progress_s,
            memory_bytes=memory_bytes,
            isolation=isolation,
            max_result_bytes=max_result_bytes,
            gpus=gpus,
            concurrency=concurrency,
            retry=retry,
            setup=setup,
            teardown=teardown,
            secrets=tuple(dict.fromkeys(secrets)),
        )
        setattr(function, MARK, spec)
        return function

    return decorate


def spec_of(function: object) -> HandlerSpec | None:
    """Return what `handler` attached to a function; None where it is not decorated."""
    spec = getattr(function, MARK, None)
    return spec if isinstance(spec, HandlerSpec) else None


def check_type(type: str | None) -> None:  # noqa: A002 - the word of the wire
    """Raise ValueError where a task type could not be one."""
    if type is not None and (not type.strip() or not type.isprintable() or len(type) > MAX_TYPE_CHARS):
        raise ValueError(f"a task type is 1 to {MAX_TYPE_CHARS} printable characters, not {type!r}")


def check_options(
    timeout_s: float | None,
    no_progress_s: float | None,
    memory_bytes: float | None,
    isolation: str,
    max_result_bytes: int,
) -> None:
    """Raise ValueError that names the option that is out of its range."""
    for name, seconds in (("timeout_s", timeout_s), ("no_progress_s", no_progress_s)):
        if seconds is not None and not 0 < seconds < float("inf"):
            raise ValueError(f"{name} must be a number of seconds above 0, not {seconds!r}")
    if memory_bytes is not None and (not isinstance(memory_bytes, int) or memory_bytes < 1):
        raise ValueError(f"memory_bytes must be a whole number of bytes above 0, not {memory_bytes!r}")
    if isolation not in ("warm", "fresh"):
        raise ValueError(f"isolation is 'warm' or 'fresh', not {isolation!r}")
    if not 1 <= max_result_bytes <= RESULT_BOUND_BYTES:
        raise ValueError(f"max_result_bytes is 1 to {RESULT_BOUND_BYTES}, not {max_result_bytes!r}")


def check_callables(setup: object, teardown: object) -> None:
    """Raise TypeError where `setup` or `teardown` is no function."""
    for name, function in (("setup", setup), ("teardown", teardown)):
        if function is not None and not callable(function):
            raise TypeError(f"{name} is a function, not {function!r}; write {name}=load, without parentheses")


def check_counts(**counts: object) -> None:
    """Raise ValueError that names the count that is none."""
    for name, count in counts.items():
        if count is not None and not (isinstance(count, int) and not isinstance(count, bool) and count >= 1):
            raise ValueError(f"{name} must be a whole number above 0, not {count!r}")


def check_again(retry: object) -> None:
    """Raise TypeError where `retry` is none."""
    if retry is not None and not hasattr(retry, "options"):
        raise TypeError(f"retry is a RetryPolicy, not {retry!r}; write retry=RetryPolicy(max_attempts=5)")


def check_secrets(secrets: object) -> None:
    """Raise where `secrets` are not names that a variable and a file can have."""
    if isinstance(secrets, str) or not isinstance(secrets, tuple | list):
        raise TypeError(f"secrets are names, as secrets=('HF_TOKEN',), not {secrets!r}")
    for name in secrets:
        if not isinstance(name, str) or not (name.isascii() and name.isidentifier()) or len(name) > 100:
            raise ValueError(f"{name!r} is no name of a secret; take letters, digits and _, as HF_TOKEN")


def clean_doc(doc: str | None) -> str:
    """Return a docstring without its indentation; `inspect.cleandoc` would cost an import of 7 ms."""
    if not doc:
        return ""
    first, *rest = doc.expandtabs().splitlines()
    margin = min((len(line) - len(line.lstrip()) for line in rest if line.strip()), default=0)
    return "\n".join([first.strip(), *(line[margin:].rstrip() for line in rest)]).strip()

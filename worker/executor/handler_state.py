"""What a child keeps for its handler from run to run: what `setup` returned, and a loop if that was async."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any

from worker.executor.loading import LoadError, author_text, author_traceback
from worker.sdk.errors import Fail
from worker.sdk.handler import HandlerSpec, SetupContext

if TYPE_CHECKING:
    import asyncio

__all__ = ["HandlerState", "takes_context"]


class HandlerState:
    """Made by `set_up` before the first run, unmade by `tear_down` after the last; on the main thread."""

    def __init__(
        self, spec: HandlerSpec, gpus: tuple[str, ...], secrets: Mapping[str, str] | None = None
    ) -> None:
        self.value: Any = None
        self._secrets = secrets
        self._spec = spec
        self._gpus = gpus
        self._runner: asyncio.Runner | None = None

    def set_up(self) -> None:
        """Call the handler's `setup`, if it has one.

        Raises:
            LoadError: it raised; with the author's traceback, or none where it raised `Fail`.
        """
        if self._spec.setup is None:
            return
        try:
            self.value = self._set_up(self._spec.setup)
        except BaseException as exc:  # it may also call sys.exit
            raise failed_step("setup", self._spec.type, exc) from exc

    def tear_down(self) -> None:
        """Call the handler's `teardown`, if it has one, and close the loop.

        Raises:
            LoadError: it raised.
        """
        try:
            if self._spec.teardown is not None:
                value = self._spec.teardown(self.value)
                if inspect.iscoroutine(value):
                    self.run(value)
            if self._runner is not None:
                self._runner.close()
        except BaseException as exc:
            raise failed_step("teardown", self._spec.type, exc) from exc

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run to the end: in the loop of an async `setup`, whose sessions belong to it, else in a new one.

        Tasks that it leaves behind are cancelled; those of `setup` are not.
        """
        import asyncio  # noqa: PLC0415 - 50 ms that a sync handler does not need

        runner = self._runner
        if runner is None:
            return asyncio.run(coroutine)
        kept = asyncio.all_tasks(runner.get_loop())
        try:
            return runner.run(coroutine)
        finally:
            runner.run(cancel_others(kept))

    def _set_up(self, setup: Callable[..., Any]) -> Any:
        given = (SetupContext(self._spec.type, self._gpus, self._secrets),) if takes_context(setup) else ()
        value = setup(*given)
        if not inspect.iscoroutine(value):
            return value
        import asyncio  # noqa: PLC0415 - see above

        self._runner = asyncio.Runner()
        return self._runner.run(value)


async def cancel_others(kept: set[asyncio.Task[Any]]) -> None:
    """Cancel every task of this loop but these, and wait for their end."""
    import asyncio  # noqa: PLC0415 - see above

    others = asyncio.all_tasks() - kept - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


def takes_context(setup: Callable[..., Any]) -> bool:
    """Tell whether a `setup` must be given an argument; one with a default has its own meaning.

    Raises:
        TypeError: it must be given more.
    """
    try:
        parameters = inspect.signature(setup).parameters.values()
    except (TypeError, ValueError):  # of a builtin, which tells nothing
        return False
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    needed = [
        one for one in parameters if one.default is inspect.Parameter.empty and one.kind not in optional
    ]
    if len(needed) > 1 or any(one.kind is inspect.Parameter.KEYWORD_ONLY for one in needed):
        names = ", ".join(one.name for one in needed)
        raise TypeError(f"setup takes nothing or one context, and this one requires {names}")
    return bool(needed)


def failed_step(step: str, type_: str, exc: BaseException) -> LoadError:
    """Return the error of a `setup` or `teardown` that raised."""
    if isinstance(exc, Fail):
        return LoadError(f"{step} of handler {type_!r} failed: {author_text(exc)}")
    message = f"{step} of handler {type_!r} failed: {type(exc).__name__}: {author_text(exc)}"
    return LoadError(message, author_traceback(exc))

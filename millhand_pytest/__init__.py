"""Fixtures of pytest for tests of handlers; there by themselves where millhand is installed.

Nothing but pytest is imported before a fixture is used: every test run of an environment loads this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from worker.sdk.calling import Called
    from worker.sdk.testing import FakeClock, ToldContext
    from worker.testing.child import ChildRun, Moment
    from worker.testing.origin import Handler

__all__ = ["handler_clock", "handler_context", "run_handler", "run_handler_in_child"]


class RunHandler(Protocol):
    """What `run_handler` is."""

    def __call__(
        self, handler: Callable[..., Any], parameters: Mapping[str, Any] | None = None, **context: Any
    ) -> Called:
        """Run a handler in this process; see `run_handler`."""
        ...


class RunHandlerInChild(Protocol):
    """What `run_handler_in_child` is."""

    def __call__(
        self,
        handler: Handler,
        parameters: Mapping[str, Any] | None = None,
        *,
        resume: Any = None,
        attempt: int = 1,
        cancel_at: Moment | None = None,
        kill_at: Moment | None = None,
        grace_s: float = 10.0,
        secrets: Mapping[str, str] | None = None,
    ) -> ChildRun:
        """Run a handler in a child process; see `worker.testing.ChildRunner.run`."""
        ...


@pytest.fixture
def handler_clock() -> FakeClock:
    """A clock for `run_handler` in this test: sleeping takes no time, and time passes by it alone."""
    from worker.sdk.testing import FakeClock  # noqa: PLC0415 - see the module's docstring

    return FakeClock()


@pytest.fixture
def handler_context(tmp_path: Path) -> Callable[..., ToldContext]:
    """Makes contexts: ``handler_context(parameters={"size": 8}, resume=…)``; see `make_context`."""
    from worker.sdk.testing import make_context  # noqa: PLC0415 - see the module's docstring

    def make(**values: Any) -> ToldContext:
        return make_context(new_folder(tmp_path, "context"), **values)

    return make


@pytest.fixture
def run_handler(request: pytest.FixtureRequest, tmp_path: Path) -> RunHandler:
    """Runs a handler in this process, as a run does: parameters checked, `setup` called, result as JSON.

    ``run_handler(render, {"size": 8}, resume=…, stop_at=0.5)`` returns `value` and `told`, and raises what
    the handler raises. Further arguments are those of `make_context`; with ``state=…`` no `setup` is called.
    In a test that uses `handler_clock` too, time is the clock's.
    """
    from worker.sdk.calling import call_handler  # noqa: PLC0415 - see the module's docstring
    from worker.sdk.testing import make_context  # noqa: PLC0415

    clock: FakeClock | None = None
    if "handler_clock" in request.fixturenames:
        clock = request.getfixturevalue("handler_clock")

    def run(
        handler: Callable[..., Any], parameters: Mapping[str, Any] | None = None, **context: Any
    ) -> Called:
        folder = new_folder(tmp_path, "run")
        made = make_context(folder, parameters=parameters, **{"clock": clock, **context})
        return call_handler(handler, made, clock=clock, has_setup="state" not in context)

    return run


@pytest.fixture
def run_handler_in_child(tmp_path: Path) -> Iterator[RunHandlerInChild]:
    """Runs a handler in a real child process, as an agent does; it stays warm for the test's next runs.

    ``run_handler_in_child(render, {"size": 8}, kill_at="checkpoint")`` returns a `ChildRun`; every failure
    is a part of it. The test is skipped where no child can run, as on macOS.
    """
    from worker.executor.linux import unfit_reason  # noqa: PLC0415 - see the module's docstring
    from worker.testing.child import ChildRunner  # noqa: PLC0415

    if reason := unfit_reason():
        pytest.skip(reason)

    runners: dict[Any, ChildRunner] = {}

    def run(handler: Handler, parameters: Mapping[str, Any] | None = None, **how: Any) -> ChildRun:
        if handler not in runners:
            runners[handler] = ChildRunner(handler, new_folder(tmp_path, "child"))
        return runners[handler].run(parameters, **how)

    try:
        yield run
    finally:
        for runner in runners.values():
            runner.close()


def new_folder(base: Path, name: str) -> Path:
    """Make a folder below the test's own that nobody else uses."""
    number = 1
    while (folder := base / f"{name}-{number}").exists():
        number += 1
    folder.mkdir()
    return folder

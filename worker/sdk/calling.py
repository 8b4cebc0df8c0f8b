"""Call a handler in this process as a run calls it in a child: parameters checked, result as JSON."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import msgspec

from worker.sdk.errors import Fail
from worker.sdk.fake_clock import FakeClock
from worker.sdk.handler import HandlerSpec, SetupContext, spec_of
from worker.sdk.parameters import read_signature
from worker.sdk.result import encode_result
from worker.sdk.testing import Told, ToldContext

__all__ = ["Called", "call_handler", "new_runner"]


@dataclass(frozen=True)
class Called:
    """What a handler returned and told.

    Attributes:
        value: what it returned, as it stands in the run's results.
        told: everything that it told its context.
    """

    value: dict[str, Any]
    told: Told


def call_handler(
    handler: Callable[..., Any],
    context: ToldContext,
    *,
    clock: FakeClock | None = None,
    has_setup: bool = True,
) -> Called:
    """Run a handler here, in its context's folder, with the context's parameters.

    Args:
        handler: a function decorated with `@handler`, sync or async.
        context: of `make_context`; its `parameters` are those of the task.
        clock: what `time.sleep`, `time.monotonic` and `asyncio.sleep` go by meanwhile.
        has_setup: whether `setup` and `teardown` are called; without, the context's `state` stays.

    Raises:
        TypeError: the function is no handler.
        Fail: it asks for a secret that the context does not have.
        InvalidParameters: the parameters do not fit its signature.
        NotAResult: what it returned is no JSON.
        Exception: whatever the handler raises, `Fail`, `Retry` and `Cancelled` among it.
    """
    spec = spec_of(handler)
    if spec is None:
        raise TypeError(f"{handler!r} is not decorated with @handler")
    if missing := [name for name in spec.secrets if name not in context.secrets]:
        raise Fail(f"the handler asks for the secret {missing[0]}; give it: secrets={{{missing[0]!r}: …}}")
    signature = read_signature(spec.function)
    for secret in signature.secrets_in(context.parameters):
        context.secret(secret)
    arguments = signature.check(context.parameters)
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.chdir(context.workdir))
        if clock is not None:
            stack.enter_context(clock.installed())
        runner = new_runner() if clock is None else clock.runner()
        stack.callback(runner.close)  # which has a loop only once there is a coroutine
        if has_setup and spec.setup is not None:
            context.state = complete(runner, set_up(spec, context))
        if has_setup and spec.teardown is not None:
            stack.callback(tear_down, runner, spec, context)
        value = complete(runner, spec.function(context, **arguments))
    encoded = encode_result(value, spec.max_result_bytes)
    return Called(msgspec.json.decode(encoded), context.told)


def set_up(spec: HandlerSpec, context: ToldContext) -> Any:
    """Call the handler's `setup`, with a context if it requires one."""
    assert spec.setup is not None
    needed = [
        one
        for one in inspect.signature(spec.setup).parameters.values()
        if one.default is one.empty and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
    ]
    setup: Callable[..., Any] = spec.setup
    return setup(SetupContext(spec.type, context.gpus, context.secrets)) if needed else setup()


def tear_down(runner: asyncio.Runner, spec: HandlerSpec, context: ToldContext) -> None:
    """Call the handler's `teardown`."""
    assert spec.teardown is not None
    complete(runner, spec.teardown(context.state))


def new_runner() -> asyncio.Runner:
    """Return a runner that leaves the thread's event loop as it is; without a factory it would unset it."""
    return asyncio.Runner(loop_factory=asyncio.new_event_loop)


def complete(runner: asyncio.Runner, value: Any) -> Any:
    """Run what is a coroutine to its end; return anything else as it is."""
    if not inspect.iscoroutine(value):
        return value
    coroutine: Coroutine[Any, Any, Any] = value
    return runner.run(coroutine)

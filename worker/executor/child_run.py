"""Run one assignment in the child, from its folder to its receipt."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any

from msgspec import Raw

from worker.executor.child_sink import ChannelSink, clean
from worker.executor.frames import Assign, Ended
from worker.executor.handler_state import HandlerState
from worker.executor.limits import Limits, effective_limits
from worker.executor.linux import flush_c_streams
from worker.executor.loading import author_text, author_traceback
from worker.sdk.cache_grant import CacheGrant
from worker.sdk.context import Context
from worker.sdk.errors import Cancelled, Fail, InvalidParameters, OutOfMemory, Retry
from worker.sdk.handler import HandlerSpec
from worker.sdk.parameters import RESERVED, Signature
from worker.sdk.result import NotAResult, encode_result
from worker.sdk.stop_signal import StopSignal

__all__ = ["LoadedHandler", "clean_up", "end_of", "make_run_context"]

MAX_MESSAGE_CHARS = 4096
MAX_TYPES = 32  # names of the classes of an exception
MAX_TYPE_CHARS = 256
Cancel = Callable[[], None]


class LoadedHandler:
    """A handler ready to run: its spec, what it takes, and what it keeps in this process."""

    def __init__(
        self, spec: HandlerSpec, signature: Signature, state: HandlerState, inputs: CacheGrant | None = None
    ) -> None:
        self.spec = spec
        self.inputs = inputs
        self.signature = signature
        self.state = state
        self.limits = limits_of(spec)
        self.takes_secrets = signature.takes_secrets  # to find out takes longer than most runs


def limits_of(spec: HandlerSpec) -> Limits:
    """Return the limits that a handler sets itself."""
    return Limits(timeout_s=spec.timeout_s, no_progress_s=spec.no_progress_s, memory_bytes=spec.memory_bytes)


def make_run_context(assign: Assign, sink: ChannelSink, stop: StopSignal, loaded: LoadedHandler) -> Context:
    """Return the context of an assignment; its deadline is the one that the agent holds the run to."""
    given = assign.assignment
    limits = effective_limits(assign.wished, loaded.limits, assign.most)
    return Context(
        run_id=given.run_id,
        task_id=given.task_id,
        job_id=given.job_id,
        type=given.type,
        title=given.title,
        attempt=given.attempt,
        parameters={name: value for name, value in given.parameters.items() if name not in RESERVED},
        task=given.task,
        resume=given.resume,
        gpus=given.gpus,
        state=loaded.state.value,
        workdir=assign.workdir,
        sink=sink,
        stop=stop,
        limit_mono=None if limits.timeout_s is None else time.monotonic() + limits.timeout_s,
        input_cache=loaded.inputs,
        secrets=assign.secrets,
        memory_bytes=limits.memory_bytes,
    )


def end_of(
    loaded: LoadedHandler, context: Context, call: Callable[[LoadedHandler, Context, dict[str, Any]], Any]
) -> Ended:
    """Call the handler and return the receipt; nothing that it raises passes."""
    try:
        check_secrets(loaded.spec, context)
        if loaded.takes_secrets:
            for secret in loaded.signature.secrets_in(context.parameters):
                context.secret(secret)
        arguments = loaded.signature.check(context.parameters)
        value = call(loaded, context, arguments)
        encoded = encode_result(value, loaded.spec.max_result_bytes)
        return Ended(context.run_id, "returned", Raw(encoded), is_stop_seen=context.cancelled)
    except BaseException as exc:  # noqa: BLE001 - also SystemExit: only a receipt ends a run
        return end_by(exc, context)


def check_secrets(spec: HandlerSpec, context: Context) -> None:
    """Raise Fail where the handler asks for a secret that the agent did not know of."""
    for name in spec.secrets:
        if name not in context.secrets:
            raise Fail(
                f"the handler asks for the secret {name}, which the agent did not know when it started;"
                " start it again"
            )


def end_by(exc: BaseException, context: Context) -> Ended:
    """Return the receipt for what the handler raised."""
    how, message, traceback = account_of(exc)
    return Ended(
        context.run_id,
        how,
        message=clean(message, MAX_MESSAGE_CHARS),
        traceback=None if traceback is None else clean(traceback, len(traceback)),
        retry_after_s=exc.after_s if isinstance(exc, Retry) else None,
        types=types_of(exc),
        is_stop_seen=context.cancelled,
    )


def types_of(exc: BaseException) -> tuple[str, ...]:
    """Return the names of an exception's class and of those that it is derived from."""
    names = (f"{one.__module__}.{one.__qualname__}" for one in type(exc).__mro__[:MAX_TYPES])
    return tuple(clean(name, MAX_TYPE_CHARS) for name in names)


def account_of(exc: BaseException) -> tuple[str, str, str | None]:
    """Return how the handler ended, the message, and the traceback where people need one."""
    match exc:
        case InvalidParameters():
            return "invalid_parameters", author_text(exc), None
        case OutOfMemory():
            return "out_of_memory", author_text(exc) or "the handler was out of memory", None
        case Fail():
            return "fail", author_text(exc) or "the handler failed without a message", None
        case Retry():
            return "retry", author_text(exc) or "the handler asked for another attempt", None
        case NotAResult():
            return "not_a_result", author_text(exc), None
        case Cancelled():
            return "raised", author_text(exc) or "Cancelled", None
        case SystemExit():
            return "raised", f"the handler called sys.exit({author_text(exc)})", author_traceback(exc)
    text = author_text(exc)
    return "raised", f"{type(exc).__name__}: {text}" if text else type(exc).__name__, author_traceback(exc)


def clean_up() -> str | None:
    """Leave nothing of a run behind in this process: text that was not written, its folder, zombies.

    Returns why something may be left, None where nothing is. Raises nothing: the run ended before, and its
    receipt must still be sent.
    """
    try:
        flush(sys.stdout)
        flush(sys.stderr)
        flush_c_streams()
        os.chdir("/")
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:  # there are none
        return None
    except BaseException as exc:  # noqa: BLE001 - whatever a handler has made of its process
        return f"what it left could not be cleaned up: {type(exc).__name__}"
    return None


def flush(stream: Any) -> None:
    """Write out what a stream holds back."""
    try:  # noqa: SIM105 - after each run, and `suppress` takes as long as the rest
        stream.flush()
    except Exception:  # noqa: BLE001, S110 - the handler closed it, or put something else in its place
        pass

"""The child process: import one handler, serve assignments one after another.

Started by `worker.executor.spawn` as ``python -P -m worker.executor.child <fd>`` with a socket to
the agent at that descriptor. It knows neither token nor URL of the API.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import socket
import sys
import time
from collections.abc import Callable
from types import CoroutineType
from typing import TYPE_CHECKING, Any

import msgspec

from worker.executor.channel import BlockingChannel
from worker.executor.child_run import LoadedHandler, clean_up, end_of, make_run_context
from worker.executor.child_sink import ChannelSink
from worker.executor.frames import (
    EXIT_CHANNEL_LOST,
    Assign,
    Down,
    Ended,
    Load,
    NotLoaded,
    Ready,
    Stop,
    TearDownFailed,
)
from worker.executor.handler_state import HandlerState
from worker.executor.interrupt import Interrupt
from worker.executor.linux import become_subreaper, die_with_parent
from worker.executor.listening import Listening
from worker.executor.loading import LoadError, load_handler
from worker.executor.sources import handler_sources
from worker.executor.surroundings import Surroundings
from worker.minder.trees import child_pids
from worker.sdk.context import Context
from worker.sdk.parameters import read_signature
from worker.sdk.stop_signal import StopSignal

if TYPE_CHECKING:
    import asyncio

__all__ = ["main"]


class Child:
    """The state of this process: the handler, and the run that goes on."""

    def __init__(self, channel: BlockingChannel) -> None:
        self._channel = channel
        self._pid = os.getpid()
        self._listening = Listening(channel, self._take, self._flush)
        self._interrupt = Interrupt()
        self._context: Context | None = None
        self._run_id = ""
        self._stop = StopSignal()
        self._is_urgent = False
        self._cancel: Callable[[], None] | None = None  # of an async handler

    def serve(self, loaded: LoadedHandler) -> None:
        """Run what comes until the agent closes the channel."""
        self._interrupt.install()
        self._listening.start()
        surroundings = Surroundings.note()
        while (assign := self._listening.next_run()) is not None:
            ended = self._run(assign, loaded)
            left = clean_up()
            if (unclean := surroundings.restore() or left) is not None:
                ended = msgspec.structs.replace(ended, unclean=unclean)
            try:
                self._channel.send(ended)
            except OSError:
                os._exit(EXIT_CHANNEL_LOST)

    def _run(self, assign: Assign, loaded: LoadedHandler) -> Ended:
        """Run one assignment on this, the main thread."""
        self._stop, self._is_urgent = StopSignal(), False
        self._run_id = assign.assignment.run_id
        self._listening.begin()
        os.chdir(assign.workdir)
        sink = ChannelSink(self._channel, self._interrupt)
        context = self._context = make_run_context(assign, sink, self._stop, loaded)
        try:
            ended = end_of(loaded, context, self._call)
            if os.getpid() != self._pid:
                os._exit(1)  # a copy that the handler forked and let return: the run is not its own
            context.flush()
            sink.close()
        finally:
            self._interrupt.disarm()
            self._listening.end()
            self._context, self._cancel, self._run_id = None, None, ""
        return ended

    def _call(self, loaded: LoadedHandler, context: Context, arguments: dict[str, Any]) -> Any:
        """Call the handler, open to interrupts for exactly as long as it runs."""
        function = loaded.spec.function
        self._interrupt.arm(self._stop)
        try:
            value = function(context, **arguments)
            return self._complete(value, loaded.state) if isinstance(value, CoroutineType) else value
        finally:
            self._interrupt.disarm()

    def _complete(self, coroutine: Any, state: HandlerState) -> Any:
        """Run an async handler in a loop; a stop cancels it."""
        import asyncio  # noqa: PLC0415 - 50 ms that a sync handler does not need

        async def cancellable() -> Any:
            task, loop = asyncio.current_task(), asyncio.get_running_loop()
            assert task is not None
            self._cancel = lambda: cancel_in(loop, task)
            self._interrupt.cancel_first(self._cancel)
            if self._stop.kind is not None and self._is_urgent:
                task.cancel()
            return await coroutine

        return state.run(cancellable())

    def _flush(self) -> None:
        """Send progress that was held back."""
        if (context := self._context) is not None:
            context.flush()

    def _take(self, frame: Down) -> None:
        """Take what comes during a run, on a thread of its own: it is seen while the handler computes."""
        if isinstance(frame, Stop) and frame.run_id == self._run_id:
            self._stop.set(frame.kind, frame.message, time.monotonic() + frame.grace_s)
            self._is_urgent = self._is_urgent or frame.is_urgent
            if frame.is_urgent and (cancel := self._cancel) is not None:
                cancel()


def cancel_in(loop: asyncio.AbstractEventLoop, task: asyncio.Task[Any]) -> None:
    """Cancel a task, on any thread; one whose loop is closed has ended."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(task.cancel)


def load(frame: Load) -> LoadedHandler | NotLoaded:
    """Import the handler, read its signature and set it up."""
    try:
        spec = load_handler(frame.type, frame.target)
        loaded = LoadedHandler(
            spec, read_signature(spec.function), HandlerState(spec, frame.gpus, frame.secrets), frame.inputs
        )
        loaded.state.set_up()
        return loaded
    except LoadError as exc:
        return NotLoaded(str(exc), exc.traceback)
    except TypeError as exc:
        return NotLoaded(str(exc))


def ready(loaded: LoadedHandler) -> Ready:
    """Tell the options of the handler, where it lies, and which processes its `setup` started."""
    spec = loaded.spec
    return Ready(
        loaded.limits,
        spec.isolation,
        handler_sources(inspect.unwrap(spec.function).__code__.co_filename),
        spec.teardown is not None,
        tuple(child_pids(os.getpid()) or ()),
    )


def let_go(loaded: LoadedHandler, channel: BlockingChannel) -> None:
    """Tear the handler down; the agent limits the time."""
    try:
        loaded.state.tear_down()
    except LoadError as exc:
        channel.send(TearDownFailed(str(exc), exc.traceback))


def main(descriptor: int) -> int:
    """Serve the agent at the other end of a socket; return the exit status."""
    die_with_parent()
    become_subreaper()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]
    channel = BlockingChannel(socket.socket(fileno=descriptor))
    os.set_inheritable(descriptor, False)
    frame = channel.receive()
    if not isinstance(frame, Load) or os.getppid() != frame.parent_pid:
        return 1  # the agent ended before the kernel was told to end us with it
    loaded = load(frame)
    if isinstance(loaded, NotLoaded):
        channel.send(loaded)
        return 1
    channel.send(ready(loaded))
    Child(channel).serve(loaded)
    let_go(loaded, channel)
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))

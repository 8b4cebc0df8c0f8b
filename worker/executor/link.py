"""The agent's end of one child: its channel, its output, its life and its death."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import select
import socket
from typing import Final, Protocol

from worker.executor.alarm import Alarm
from worker.executor.channel import ChannelError, encode_frame, up_reader
from worker.executor.evidence import Exit, Overrun
from worker.executor.frames import Down, Load, Ready, Up
from worker.executor.held_limits import HeldLimits
from worker.executor.spawn import Spawned
from worker.usage.look import Look
from worker.usage.process_files import ProcessFiles
from worker.usage.source import source_of

__all__ = ["ChildLink", "Listener"]

READ_BYTES: Final = 64 * 1024
DRAIN_READS: Final = 512  # 32 MiB: two frames at their bound; more comes only from a child that goes on
HEAR_READS: Final = 64  # 4 MiB: more than a socket holds
WIDE_PIPE_BYTES: Final = 1024 * 1024  # /proc/sys/fs/pipe-max-size, as it mostly is
WIDE_READ_BYTES: Final = 256 * 1024
MAX_SECRETS: Final = 100  # told by the runs of one child
MAX_SECRETS_CHARS: Final = 16 * 1024  # expressions for more take seconds to compile
DRAIN_BYTES: Final = 1024 * 1024  # a pipe holds 64 KiB; more comes only from a writer that goes on
LEAVE_TIMEOUT_S: Final = 2.0  # for exit handlers of libraries, when a child is let go
TEARDOWN_TIMEOUT_S: Final = 10.0  # for those and the handler's own teardown


class Listener(Protocol):
    """Who hears what a child says; must not block."""

    def on_frame(self, frame: Up) -> None:
        """Take a frame."""

    def on_output(self, stream: str, data: bytes) -> None:
        """Take what was printed to stdout or stderr."""

    def on_change(self) -> None:
        """Look at the link again: the child ended, or its channel broke or closed."""


class ChildLink:
    """One child. Use it on the event loop's thread only; `end` must be awaited once at last."""

    def __init__(self, spawned: Spawned, gpus: tuple[str, ...] = ()) -> None:
        self.gpus = gpus
        self.life = spawned.life
        self.pid = spawned.life.pid
        self._files = ProcessFiles(self.pid)
        self.source = source_of(self._files)
        self.limits = HeldLimits(spawned.life)
        self.listener: Listener | None = None
        self.load: Load | None = None  # not sent yet: what it is to import with its first run
        self.ready: Ready | None = None
        self.runs = 0
        self.at_rest: Listener | None = None  # who hears it between runs
        self.secrets: dict[str, None] = {}  # told by runs; a later one of the same process may know them too
        self.baseline: Look | None = None  # of the next run: how the last one left it
        self.first_bytes: int | None = None  # its private memory after its first run
        self.idle_end: asyncio.TimerHandle | None = None  # of a child that may have a run meanwhile
        self.idle_mono = 0.0  # since when it has none, by the loop's time
        self.is_closed_by_child = False
        self.channel_error: str | None = None
        self.exit: Exit | None = None
        self._socket = spawned.channel
        self._outputs = {spawned.stdout_fd: "stdout", spawned.stderr_fd: "stderr"}
        self._printed = select.poll()
        for descriptor in self._outputs:
            self._printed.register(descriptor, select.POLLIN)
        self._reader = up_reader()
        self._read_bytes: dict[int, int] = {}  # of outputs that were printed much to
        self._unsent = bytearray()
        self._is_behind = False  # the socket did not take all at once
        self._died = asyncio.Event()
        self._ending: asyncio.Task[None] | None = None
        self.loop = asyncio.get_running_loop()
        self.alarm = Alarm(self.loop)  # of who watches its run

    @property
    def is_dead(self) -> bool:
        """Tell whether it ended; `exit` tells how once it is reaped."""
        return self.life.is_dead

    @property
    def overrun(self) -> Overrun | None:
        """The limit for which the minder kills it, if it does."""
        return self.life.overrun

    def open(self) -> None:
        """Begin to listen."""
        self.life.on_change = self._on_life
        self.loop.add_reader(self._socket, self._on_readable)
        for descriptor in self._outputs:
            self.loop.add_reader(descriptor, self._on_printed, descriptor)

    def begin(self) -> None:
        """Have a new child import its handler: once the run is measured, to which that belongs."""
        load, self.load = self.load, None
        if load is not None:
            self.send(load)

    def send(self, frame: Down) -> None:
        """Send a frame; what the socket does not take at once follows by itself.

        Raises:
            ChannelError: the frame is too large.
        """
        encoded = encode_frame(frame)
        sent = 0 if self._unsent else self._sent(encoded)
        if sent < len(encoded):  # which is rare: the child reads what comes, and frames are small
            self._unsent += encoded[sent:]
            self._write()

    def signal(self, number: int) -> None:
        """Send a signal to the child alone."""
        if not self.is_dead:
            self.life.signal(number)

    def keep_secret(self, value: str) -> bool:
        """Remember a secret; tell whether there is room."""
        held = sum(map(len, self.secrets)) + len(value)
        if value not in self.secrets and (len(self.secrets) >= MAX_SECRETS or held > MAX_SECRETS_CHARS):
            return False
        self.secrets[value] = None
        return True

    def drain(self) -> None:
        """Read what has come: everything that the child said and printed before it ended is there."""
        for _ in range(DRAIN_READS):
            if self.is_closed_by_child or self.channel_error is not None or not self._on_channel():
                break
        self.drain_outputs()

    def drain_outputs(self) -> None:
        """Read what was printed and has come; mostly there is nothing."""
        for descriptor, _ in self._printed.poll(0) if self._outputs else ():
            taken_bytes = 0
            while taken_bytes < DRAIN_BYTES and (size := self._on_output(descriptor)):
                taken_bytes += size

    async def leave(self) -> None:
        """Let an idle child end by itself, its handler torn down; end it if it does not."""
        has_teardown = self.ready is not None and self.ready.has_teardown
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TEARDOWN_TIMEOUT_S if has_teardown else LEAVE_TIMEOUT_S):
                await self._died.wait()
        await self.end()

    async def end(self) -> None:
        """Kill the whole tree and reap the child. Not undone by a cancellation of who waits."""
        if self._ending is None:
            self._ending = asyncio.create_task(self._end(), name=f"end-child-{self.pid}")
        await asyncio.shield(self._ending)

    async def _end(self) -> None:
        ended = await self.life.end()
        self.drain()
        self.exit = ended
        self._close()

    def _close(self) -> None:
        self.limits.close()
        self.alarm.close()
        if self.idle_end is not None:
            self.idle_end.cancel()
        self.loop.remove_reader(self._socket)
        self.loop.remove_writer(self._socket)
        self._socket.close()
        for descriptor in self._outputs:
            self.loop.remove_reader(descriptor)
            os.close(descriptor)
        self._outputs.clear()
        self._files.close()

    def _on_life(self) -> None:
        if self.is_dead:
            self._died.set()
        self._tell_change()

    def _on_readable(self) -> None:
        """Take what was said; who waits for a receipt goes on at once."""
        try:
            self._on_channel()
        finally:
            self.alarm.ring()

    def _on_printed(self, descriptor: int) -> None:
        """Take what was printed, and what was said before it."""
        try:
            self._on_output(descriptor)
        finally:
            self.alarm.ring()

    def _on_channel(self) -> bool:
        """Read once; tell whether there was something."""
        try:
            data = self._socket.recv(READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:  # reset: it died before it read what we sent
            data = b""
        if not data:
            self.loop.remove_reader(self._socket)
            self.is_closed_by_child = True
            self._tell_change()
            return False
        try:
            for frame in self._reader.feed(data):
                self._take(frame)
        except ChannelError as exc:
            self.loop.remove_reader(self._socket)
            self.channel_error = str(exc)
            self._tell_change()
        return True

    def _take(self, frame: Up) -> None:
        if isinstance(frame, Ready):
            if self.ready is not None:  # said again, it would begin the time limits anew
                return
            self.ready = frame
        if self.listener is not None:
            self.listener.on_frame(frame)

    def _on_output(self, descriptor: int) -> int:
        """Read once; return how much there was."""
        try:
            data = os.read(descriptor, self._read_bytes.get(descriptor, READ_BYTES))
        except BlockingIOError:
            return 0
        except OSError:
            data = b""
        if not data:
            self.loop.remove_reader(descriptor)
        if len(data) == READ_BYTES and descriptor not in self._read_bytes:
            self._widen(descriptor)
        if data and self.listener is not None:
            self._hear_first()
            self.listener.on_output(self._outputs[descriptor], data)
        return len(data)

    def _widen(self, descriptor: int) -> None:
        """Give a pipe that was full more room: its writer and we then take turns less often."""
        self._read_bytes[descriptor] = WIDE_READ_BYTES
        with contextlib.suppress(OSError):  # the user has too many wide ones
            fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, WIDE_PIPE_BYTES)

    def _hear_first(self) -> None:
        """Take what was said before something was printed: it may be a secret that was printed."""
        for _ in range(HEAR_READS):
            if self.is_closed_by_child or self.channel_error is not None or not self._on_channel():
                return

    def _sent(self, data: bytes | bytearray) -> int:
        """Send as much as the socket takes; return how much."""
        try:
            return self._socket.send(data)
        except BlockingIOError:
            return 0
        except OSError:  # it is dead or dying, which its own event tells
            return len(data)

    def _write(self) -> None:
        del self._unsent[: self._sent(self._unsent)]
        if self._unsent and not self._is_behind:
            self.loop.add_writer(self._socket, self._write)
        elif self._is_behind and not self._unsent:
            self.loop.remove_writer(self._socket)
        self._is_behind = bool(self._unsent)

    def _tell_change(self) -> None:
        if self.listener is not None:
            self.listener.on_change()

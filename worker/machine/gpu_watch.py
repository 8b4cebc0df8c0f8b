"""Watch the GPUs through a helper that is killed when NVML hangs; nothing of NVML runs in the agent."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final

import msgspec
import structlog

from worker.clock import Clock
from worker.machine.gpu import PASSED_ON
from worker.machine.gpu_look import Look

__all__ = ["WATCH", "GpuWatch"]

WATCH: Final = (sys.executable, "-P", "-m", "worker.machine.nvml_watch")  # -P: never code of the folder
INTERVAL_S: Final = 1.0  # between two looks: drivers keep samples for seconds
LIMIT_S: Final = 5.0  # of one answer; the first takes seconds where the driver is not kept loaded
PAUSE_S: Final = 1.0  # before a helper is started again, doubled each time
PAUSE_MAX_S: Final = 60.0
KILL_WAIT_S: Final = 1.0  # a process that hangs in the driver does not end, not even killed
ANSWER_BYTES: Final = 4 * 1024**2  # of samples that piled up; 25 bytes each
ENDED: Final = "the helper that asks NVML has ended"
log = structlog.get_logger(__name__)


class GpuWatch:
    """The newest look at the GPUs, or why there is none. Use it on the event loop."""

    def __init__(
        self,
        environment: Mapping[str, str],
        clock: Clock,
        *,
        program: Sequence[str] = WATCH,
        interval_s: float = INTERVAL_S,
        limit_s: float = LIMIT_S,
        pause_s: float = PAUSE_S,
    ) -> None:
        """Start nothing yet; of `environment` the helper is given what the loader needs."""
        self._environment = {name: environment[name] for name in PASSED_ON if name in environment}
        self._clock = clock
        self._program = program
        self._interval_s = interval_s
        self._limit_s = limit_s
        self._pause_s = pause_s
        self._wanted = asyncio.Event()
        self._waiting: list[asyncio.Future[Look | None]] = []  # for a look that has not begun
        self._listeners: list[Callable[[Look], None]] = []
        self._is_up = False  # a helper is asked, or is being started
        self._has_answered = False
        self._stuck: Process | None = None
        self.latest: Look | None = None
        self.latest_mono = float("-inf")  # when it was asked for
        self.error: str | None = "the GPUs were not looked at yet"  # why `latest` is none, or old

    async def run(self) -> None:
        """Look until cancelled; then no process of it is left, unless one hangs in the driver."""
        pause_s = self._pause_s
        try:
            while True:
                self._is_up, self._has_answered = True, False
                try:
                    await self._converse()
                except (OSError, TimeoutError, ValueError) as exc:
                    self._fail(exc)
                pause_s = self._pause_s if self._has_answered else min(pause_s * 2, PAUSE_MAX_S)
                await asyncio.sleep(pause_s)
        finally:
            self._is_up = False
            self._answer(self._take_waiting(), None)

    async def look_now(self, limit_s: float = LIMIT_S) -> Look | None:
        """Return a look that was begun after this call; None where NVML does not answer: see `error`."""
        if not self._is_up:
            return None
        future: asyncio.Future[Look | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        self._wanted.set()
        try:
            async with asyncio.timeout(limit_s):
                return await future
        except TimeoutError:
            return None

    def listen(self, listener: Callable[[Look], None]) -> Callable[[], None]:
        """Call `listener` with each look; return what ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    async def _converse(self) -> None:
        """Start a helper and ask it again and again.

        Raises:
            OSError: it could not be started, or ended.
            TimeoutError: it did not answer in time.
            ValueError: it answered something else.
        """
        if self._stuck is not None and self._stuck.returncode is None:
            raise TimeoutError(f"NVML hangs in the driver (process {self._stuck.pid} cannot be killed)")
        helper = await asyncio.create_subprocess_exec(
            *self._program, env=self._environment, stdin=PIPE, stdout=PIPE, stderr=DEVNULL,
            limit=ANSWER_BYTES, start_new_session=True,
        )  # fmt: skip
        waiting: list[asyncio.Future[Look | None]] = []
        try:
            while True:
                self._wanted.clear()
                waiting = self._take_waiting()
                asked_mono = self._clock.mono()
                look = await self._ask(helper)
                self._take(look, asked_mono)
                self._answer(waiting, self.latest if self.error is None else None)
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._interval_s):
                        await self._wanted.wait()
        finally:
            self._is_up = False
            self._answer([*waiting, *self._take_waiting()], None)
            await self._end(helper)

    async def _ask(self, helper: Process) -> Look:
        """Return one look."""
        assert helper.stdin is not None
        assert helper.stdout is not None
        try:
            async with asyncio.timeout(self._limit_s):
                helper.stdin.write(b"\n")
                await helper.stdin.drain()
                line = await helper.stdout.readline()
        except TimeoutError as exc:
            raise TimeoutError(f"NVML did not answer within {self._limit_s:g} s") from exc
        except ConnectionError as exc:
            raise ConnectionError(ENDED) from exc
        if not line.endswith(b"\n"):
            raise ConnectionError(ENDED)
        try:
            return msgspec.json.decode(line, type=Look)
        except msgspec.DecodeError as exc:
            raise ValueError(f"the helper that asks NVML answered nonsense: {exc}") from exc

    def _take(self, look: Look, asked_mono: float) -> None:
        self._has_answered = True
        if look.error is not None:
            self._tell(look.error)
            return
        if self.error is not None and self.latest is not None:
            log.info("gpu.watch_answers")
        self.latest, self.latest_mono, self.error = look, asked_mono, None
        for listener in tuple(self._listeners):
            try:
                listener(look)
            except Exception:  # a strange driver must not end the agent
                log.exception("gpu.look_refused")

    def _fail(self, exc: Exception) -> None:
        self._tell(str(exc) or type(exc).__name__)

    def _tell(self, error: str) -> None:
        """Keep why there is no look; log it where it is new."""
        if error != self.error:
            self.error = error
            log.warning("gpu.watch_failed", error=error, hint="no task that needs a GPU is claimed")

    def _take_waiting(self) -> list[asyncio.Future[Look | None]]:
        waiting, self._waiting = self._waiting, []
        return waiting

    def _answer(self, waiting: list[asyncio.Future[Look | None]], look: Look | None) -> None:
        for future in waiting:
            if not future.done():
                future.set_result(look)

    async def _end(self, helper: Process) -> None:
        """Kill a helper; one that does not die is remembered, so that there is one such at most."""
        with suppress(ProcessLookupError):
            helper.kill()
        try:
            async with asyncio.timeout(KILL_WAIT_S):
                await helper.wait()
        except TimeoutError:
            self._stuck = helper
            log.error("gpu.watch_stuck", pid=helper.pid, hint="it hangs in the driver: restart the machine")

"""Who reads the channel in a child: its main thread between runs, a thread of its own during one that lasts.

To wake a second thread for each run costs more than a short run itself. So it only looks now and then
whether one run has lasted since its last look, and takes the channel over then.
"""

from __future__ import annotations

import os
import select
import signal
import threading
import traceback
from collections.abc import Callable
from time import sleep  # by its own name: handlers are given other clocks
from typing import Final

from worker.executor.channel import BlockingChannel, ChannelError
from worker.executor.frames import EXIT_CHANNEL_LOST, Assign, Down

__all__ = ["Listening"]

LOOK_S: Final = 0.02  # after a run began in a child that had none: so much later a stop may be seen …
LOOK_AGAIN_S: Final = 0.1  # … and twice this where other runs were shortly before, as long as none lasts
FLUSH_INTERVAL_MS: Final = 250  # progress that was held back goes out within this time


class Listening:
    """The reading end of a child's channel. But for the thread's own work, use it on the main thread."""

    def __init__(
        self, channel: BlockingChannel, take: Callable[[Down], None], flush: Callable[[], None]
    ) -> None:
        """Take who is given frames during a run, and what sends what is held back."""
        self._channel = channel
        self._take = take
        self._flush = flush
        self._bell = os.eventfd(0)
        self._poll = select.poll()
        self._poll.register(channel.fileno(), select.POLLIN)
        self._poll.register(self._bell, select.POLLIN)
        self._lock = threading.Lock()  # of what follows
        self._runs = 0
        self._is_running = False
        self._is_awake = False  # the thread looks now and then
        self._is_listening = False  # the thread has the channel
        self._called = threading.Semaphore(0)
        self._is_quiet = threading.Semaphore(0)

    def start(self) -> None:
        """Begin; nothing is read on the thread yet."""
        threading.Thread(target=self._work, name="millhand-channel", daemon=True).start()

    def next_run(self) -> Assign | None:
        """Wait for the next assignment; None when the agent closed the channel, or is gone."""
        try:
            while (frame := self._channel.receive()) is not None:
                if isinstance(frame, Assign):
                    return frame  # anything else is of a run that is over
        except ConnectionError:
            pass  # as if it were closed: without the agent nothing may go on
        except (OSError, ChannelError):
            os._exit(EXIT_CHANNEL_LOST)  # the handler closed it, or reads from it
        return None

    def begin(self) -> None:
        """Take that a run begins: what comes during it is taken by the thread."""
        with self._lock:
            self._runs += 1
            self._is_running = True
            was_awake, self._is_awake = self._is_awake, True
        if not was_awake:
            self._called.release()

    def end(self) -> None:
        """Take that it is over; nobody else reads the channel when this returns."""
        with self._lock:
            self._is_running = False
            is_listening = self._is_listening
        if is_listening:
            try:
                os.eventfd_write(self._bell, 1)
            except OSError:
                os._exit(EXIT_CHANNEL_LOST)
            self._is_quiet.acquire()

    def _work(self) -> None:
        while True:
            self._called.acquire()
            runs, wait_s = self._runs, LOOK_S
            while self._is_awake:
                sleep(wait_s)
                runs = self._look(runs, may_sleep=wait_s != LOOK_S)
                wait_s = LOOK_AGAIN_S

    def _look(self, runs_before: int, *, may_sleep: bool) -> int:
        """Listen if a run has lasted since the look before; sleep if there was none; return their number.

        Not to sleep after the first look spares runs that follow each other to wake the thread each time.
        """
        with self._lock:
            runs = self._runs
            if runs == runs_before:
                self._is_listening = self._is_running
                self._is_awake = self._is_running or not may_sleep
        if self._is_listening:
            self._listen()
        return runs

    def _listen(self) -> None:
        """Take frames until the end of the run."""
        try:
            while not self._is_rung():
                frame = self._channel.receive()
                if frame is None:
                    self._lose()
                    break
                self._take(frame)
        except ConnectionError:
            self._lose()
        except (OSError, ChannelError):
            os._exit(EXIT_CHANNEL_LOST)
        except Exception:  # noqa: BLE001 - of an author's `__str__`: the run must come to its end
            traceback.print_exc()
            if self._is_given_up():
                return
        with self._lock:
            self._is_listening = False
        self._is_quiet.release()

    def _is_given_up(self) -> bool:
        """Let go of the channel until the next look; where the run is over, wait for that to be told."""
        with self._lock:
            if self._is_running:
                self._is_listening = False
                return True
        os.eventfd_read(self._bell)
        return False

    def _is_rung(self) -> bool:
        """Wait for a frame; tell whether the run is over instead."""
        while not self._channel.has_frame:
            ready = dict(self._poll.poll(FLUSH_INTERVAL_MS))
            if self._bell in ready:
                os.eventfd_read(self._bell)
                return True
            if ready:
                return False
            self._flush()
        return False

    def _lose(self) -> None:
        """The agent is gone: in the middle of a run nothing may go on; else wait for its end to be told."""
        with self._lock:
            if self._is_running:
                os.killpg(0, signal.SIGKILL)
        os.eventfd_read(self._bell)

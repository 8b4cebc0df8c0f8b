"""Who reads a child's channel: its main thread between runs, another one during a run that lasts."""

import queue
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from worker.executor import listening
from worker.executor.assignment import Assignment
from worker.executor.channel import BlockingChannel, encode_frame
from worker.executor.frames import EXIT_CHANNEL_LOST, Assign, Down, Stop
from worker.executor.listening import Listening

LIMIT_S = 30.0


class Scene:
    """Both ends of a channel, of which one is listened to."""

    def __init__(self) -> None:
        self.near, far = socket.socketpair()
        self.taken: queue.SimpleQueue[Down] = queue.SimpleQueue()
        self.flushed: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._far = far
        self.listening = Listening(BlockingChannel(far), self.taken.put, lambda: self.flushed.put(None))
        self.listening.start()

    def say(self, *frames: Down) -> None:
        """Send frames as the agent does, in one piece."""
        self.near.sendall(b"".join(map(encode_frame, frames)))

    def close(self) -> None:
        """Hang up."""
        self.near.close()
        self._far.close()


@pytest.fixture
def scene() -> Iterator[Scene]:
    """Give a channel; its thread ends with the process."""
    one = Scene()
    yield one
    one.close()


def assign(run_id: str) -> Assign:
    """Return what begins a run."""
    return Assign(Assignment(run_id=run_id, task_id="t", type="x"), "/w")


def stop(run_id: str) -> Stop:
    """Return what asks one to stop."""
    return Stop(run_id, "drained", "why", 3.0, is_urgent=False)


def test_what_comes_during_a_run_is_taken_though_its_thread_is_at_work(scene: Scene) -> None:
    """Several frames in one piece, too; what was held back is sent meanwhile."""
    scene.say(assign("1"))
    assert scene.listening.next_run() == assign("1")
    scene.listening.begin()
    scene.flushed.get(timeout=LIMIT_S)
    scene.say(stop("1"), stop("1"))
    assert [scene.taken.get(timeout=LIMIT_S) for _ in range(2)] == [stop("1")] * 2
    scene.listening.end()
    scene.say(assign("2"))
    assert scene.listening.next_run() == assign("2")
    assert scene.taken.empty()


def test_a_stop_of_a_run_that_is_over_is_not_taken_for_another(scene: Scene) -> None:
    """It crossed the receipt: whoever reads next forgets it."""
    scene.say(assign("1"))
    assert scene.listening.next_run() == assign("1")
    scene.listening.begin()
    scene.listening.end()
    scene.say(stop("1"), assign("2"))
    assert scene.listening.next_run() == assign("2")


def test_no_frame_is_lost_between_the_two(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs that end before, while and after the thread takes the channel over, one after the other."""
    monkeypatch.setattr(listening, "LOOK_S", 0.001)  # so that many of its looks fall into these runs
    monkeypatch.setattr(listening, "LOOK_AGAIN_S", 0.0011)
    rng = random.Random(7)
    for number in range(300):
        scene.say(assign(str(number)))
        assert scene.listening.next_run() == assign(str(number))
        scene.listening.begin()
        time.sleep(rng.choice((0.0, 0.0005, 0.002, 0.003)))
        scene.listening.end()
    scene.near.shutdown(socket.SHUT_WR)
    assert scene.listening.next_run() is None


def test_what_cannot_be_taken_leaves_the_run_its_end(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for a thread that has ended, and what comes next is taken, in later runs too."""
    monkeypatch.setattr(listening, "LOOK_S", 0.001)
    monkeypatch.setattr(listening, "LOOK_AGAIN_S", 0.0011)
    seen: queue.SimpleQueue[str] = queue.SimpleQueue()

    def refuse(frame: Down) -> None:
        assert isinstance(frame, Stop)
        seen.put(frame.run_id)
        raise RuntimeError("its event loop is closed")

    scene.listening._take = refuse
    ends = threading.Thread(target=scene.listening.end, daemon=True)
    scene.listening.begin()
    for run_id in ("1", "2"):
        scene.say(stop(run_id))
        assert seen.get(timeout=LIMIT_S) == run_id
    ends.start()
    ends.join(LIMIT_S)
    assert not ends.is_alive()
    for number in range(50):
        scene.say(assign(str(number)))
        assert scene.listening.next_run() == assign(str(number))
        scene.listening.begin()
        scene.say(stop(str(number)))
        if number % 2:
            assert seen.get(timeout=LIMIT_S) == str(number)
        scene.listening.end()
        while not seen.empty():
            seen.get()


def test_the_thread_sleeps_while_there_is_no_run(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that is kept for later costs nothing."""
    looks: queue.SimpleQueue[float] = queue.SimpleQueue()
    monkeypatch.setattr(listening, "sleep", looks.put)
    scene.listening.begin()
    scene.listening.end()
    expected = [listening.LOOK_S, listening.LOOK_AGAIN_S]
    assert [looks.get(timeout=LIMIT_S) for _ in range(2)] == expected
    scene.listening.begin()  # after its sleep, or instead of that
    scene.listening.end()
    looks.get(timeout=LIMIT_S)


def test_runs_that_follow_each_other_do_not_wake_the_thread_each_time(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stays awake, and looks seldom, until a whole pause goes by without a run."""
    pauses: queue.SimpleQueue[float] = queue.SimpleQueue()
    left = iter("-sss-")  # a short run falls into the pause, or none does

    def pause(wait_s: float) -> None:
        if next(left) == "s":
            scene.listening.begin()
            scene.listening.end()
        pauses.put(wait_s)

    monkeypatch.setattr(listening, "sleep", pause)
    scene.listening.begin()
    scene.listening.end()
    expected = [listening.LOOK_S, *[listening.LOOK_AGAIN_S] * 4]
    assert [pauses.get(timeout=LIMIT_S) for _ in range(5)] == expected
    until = time.monotonic() + LIMIT_S
    while scene.listening._is_awake and time.monotonic() < until:
        time.sleep(0.001)
    assert not scene.listening._is_awake
    assert pauses.empty()


@pytest.mark.parametrize(
    ("end", "code"), [("near.close()", -9), ("os.close(far.fileno())", EXIT_CHANNEL_LOST)]
)
def test_a_run_whose_channel_goes_ends_with_it(end: str, code: int) -> None:
    """With its whole group where the agent is gone; with its own code where the handler closed it.

    The thread has the channel by then: it has taken a frame.
    """
    program = f"""
import contextlib, os, socket, threading, time
from worker.executor.channel import BlockingChannel, encode_frame
from worker.executor.frames import Stop
from worker.executor.listening import Listening
near, far = socket.socketpair()
taken = threading.Event()
one = Listening(BlockingChannel(far), lambda frame: taken.set(), lambda: None)
one.start()
one.begin()
near.sendall(encode_frame(Stop("1", "drained", "why", 3.0, is_urgent=False)))
assert taken.wait({LIMIT_S})
{end}
with contextlib.suppress(OSError):  # who does not wait for the channel yet sees that it is closed
    near.send(b"x")
time.sleep({LIMIT_S})
"""
    ended = subprocess.run(
        [sys.executable, "-c", program],
        start_new_session=True,
        cwd=Path.cwd(),
        check=False,
        timeout=3 * LIMIT_S,
    )
    assert ended.returncode == code

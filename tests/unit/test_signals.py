"""Signals from all sides, to the last moment of a process."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from typing import Final

import pytest

from worker.signals import signals_to_the_end

LIMIT_S: Final = 60.0  # a bound for a hang, not a measure
FLOODED: Final = '''
import asyncio, os, signal, subprocess, sys, threading
from worker.signals import signals_to_the_end

FLOOD = """
import os, signal, sys
process = os.pidfd_open(int(sys.argv[1]))
while True:
    try:
        signal.pidfd_send_signal(process, signal.SIGTERM)
    except ProcessLookupError:
        break
"""

async def main():
    asked = asyncio.Event()
    threading.Thread(target=threading.Event().wait, daemon=True).start()  # the system may give it to this one
    with signals_to_the_end() as signals:
        signals.take(signal.SIGTERM, asked.set)
        quiet = subprocess.DEVNULL  # else it would hold our pipes, and nobody would hear that we are gone
        subprocess.Popen([sys.executable, "-S", "-c", FLOOD, str(os.getpid())], stdout=quiet, stderr=quiet)
        await asked.wait()
    return 0

if sys.argv[1] == "uvloop":
    import uvloop
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        code = runner.run(main())
else:
    code = asyncio.run(main())
threading.Event().wait(0.05)  # the loop is closed, and still they come
sys.exit(code)
'''
ASLEEP: Final = """
import asyncio, os, signal, threading
from worker.signals import signals_to_the_end

async def main():
    asked = asyncio.Event()
    with signals_to_the_end() as signals:
        signals.take(signal.SIGTERM, asked.set)
        def send():  # it is this thread that gets it, while the loop sleeps without a timer
            signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
        timer = threading.Timer(0.2, send)
        timer.start()
        await asked.wait()
    timer.join()
asyncio.run(main())
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_no_signal_kills_on_the_way_out(loop: str) -> None:
    """Between the callback and the end of the process there is no moment in which a signal ends it."""
    done = subprocess.run(
        [sys.executable, "-c", FLOODED, loop], timeout=LIMIT_S, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_a_signal_to_another_thread_wakes_the_loop() -> None:
    """The system gives a signal to any thread; the loop may sleep meanwhile, with nothing to wake it."""
    done = subprocess.run(
        [sys.executable, "-c", ASLEEP], timeout=LIMIT_S, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_a_block_that_fails_leaves_signals_to_who_had_them() -> None:
    """Also one that was taken twice; what is started afterwards inherits no deafness."""

    async def fail() -> None:
        with signals_to_the_end() as signals:
            signals.take(signal.SIGUSR2, lambda: None)
            signals.take(signal.SIGUSR2, lambda: None)
            raise ZeroDivisionError

    first = signal.signal(signal.SIGUSR2, signal.SIG_DFL)
    try:
        with pytest.raises(ZeroDivisionError):
            asyncio.run(fail())
        assert signal.getsignal(signal.SIGUSR2) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGUSR2, first)

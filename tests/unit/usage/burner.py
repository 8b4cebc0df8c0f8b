"""A real child that does what it is told, one line at a time, so that no test waits by sleeping."""

from __future__ import annotations

import os
import subprocess
import sys
from types import TracebackType
from typing import Self

from worker.usage.rusage import Rusage

__all__ = ["Burner"]

SCRIPT = """
import mmap, os, queue, resource, sys, threading, time
kept = []
def burn(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass
def children(n):
    for _ in range(n):
        pid = os.fork()
        if pid == 0:
            burn(0.02)
            os._exit(0)
        os.waitpid(pid, 0)
    use = resource.getrusage(resource.RUSAGE_CHILDREN)
    return use.ru_utime + use.ru_stime
def hold(mebibytes):
    block = bytearray(mebibytes << 20)
    return len(block)
def thread(seconds):
    one = threading.Thread(target=burn, args=(seconds,))
    one.start()
    one.join()
def child_holds(mebibytes):
    pid = os.fork()
    if pid == 0:
        hold(mebibytes)
        os._exit(0)
    os.waitpid(pid, 0)
def write(path, mebibytes):
    with open(path, "wb") as file:
        for _ in range(mebibytes):
            file.write(bytes(1 << 20))
        file.flush()
        os.fsync(file.fileno())
def map_file(path):
    with open(path, "rb") as file: mapping = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    kept.append(mapping)
    return sum(mapping[at] for at in range(0, len(mapping), 4096))
def unmap_file():
    kept.pop().close()
def child_writes(path, mebibytes):
    pid = os.fork()
    if pid == 0:
        write(path, mebibytes)
        os._exit(0)
    os.waitpid(pid, 0)
def nursery(seconds):
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        burn(seconds)
        os.write(write, b"x")
        time.sleep(60)
    os.read(read, 1)
    return pid
def nursery_of_a_thread():
    born = queue.Queue()
    threading.Thread(target=lambda: (born.put(nursery(0)), time.sleep(60)), daemon=True).start()
    return born.get(timeout=30)
def idle_thread():
    one = threading.Thread(target=released.wait, daemon=True)
    one.start()
    others.append(one)
def end_idle_thread():
    released.set()
    others.pop().join()
released, others = threading.Event(), []
print("ready", flush=True)
for line in sys.stdin:
    print(eval(line), flush=True)
"""


class Burner:
    """A warm child: each order runs in it and answers with a line."""

    def __enter__(self) -> Self:
        """Start the child and wait until it listens."""
        self._process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._answer()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        """Leave no process and no pipe."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        if self._process.returncode is None:
            self._process.kill()
            self._process.wait(timeout=10)

    @property
    def pid(self) -> int:
        """Return the child's pid."""
        return self._process.pid

    def order(self, expression: str) -> str:
        """Have an expression evaluated in the child; return its text once it is done."""
        assert self._process.stdin is not None
        self._process.stdin.write(expression + "\n")
        self._process.stdin.flush()
        return self._answer()

    def end(self) -> Rusage:
        """End the child and return what wait4 says of it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        _, status, rusage = os.wait4(self.pid, 0)
        self._process.returncode = os.waitstatus_to_exitcode(status)
        return Rusage(rusage.ru_utime, rusage.ru_stime, rusage.ru_maxrss)

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

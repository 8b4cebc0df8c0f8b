"""Handlers that the tests of the executor run in real children: good ones and bad ones."""

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from worker import Context, Fail, Retry, handler


@handler()
def noop(ctx: Context) -> None:
    """Do nothing."""


@handler()
def echo(ctx: Context, **values: Any) -> dict[str, Any]:
    """Return the parameters."""
    return values


@handler()
def add(ctx: Context, *, a: int, b: int = 1) -> int:
    """Return a sum."""
    return a + b


@handler()
def identity(ctx: Context) -> dict[str, Any]:
    """Return what the context and the process are."""
    return {
        "pid": os.getpid(),
        "run": ctx.run_id,
        "workdir": ctx.workdir,
        "cwd": Path.cwd(),
        "files": list(Path().iterdir()),
        "is_main_thread": threading.current_thread() is threading.main_thread(),
        "environment": dict(os.environ),
        "session": os.getsid(0),
        "path0": sys.path[0],
    }


@handler("once", isolation="fresh")
def once(ctx: Context) -> int:
    """Return the pid of a process that serves one run only."""
    return os.getpid()


@handler()
def tell(ctx: Context) -> dict[str, Any]:
    """Tell by every way there is."""
    ctx.progress(0.25, "a quarter")
    ctx.log("logged", level="warning", count=3)
    sys.stdout.write("printed\n")
    sys.stderr.write("complained\n")
    os.write(1, b"raw without an end")
    ctx.checkpoint({"at": 7})
    ctx.progress(0.5, "half")
    ctx.progress(0.75, "the last")
    return {}


@handler()
def make_file(ctx: Context, *, text: str = "hello", name: str = "out.stl") -> dict[str, Any]:
    """Make an artifact."""
    path = ctx.workdir / "made.bin"
    path.write_text(text)
    ctx.artifact(path, name=name)
    return {"made": 1}


@handler()
def fail(ctx: Context) -> None:
    """Fail for good."""
    raise Fail("the scene has no camera")


@handler()
def retry(ctx: Context) -> None:
    """Fail for now."""
    raise Retry("the licence server is busy", after_s=30)


@handler()
def explode(ctx: Context) -> None:
    """Raise an exception of its own."""
    secret = "not for the traceback"  # noqa: F841
    raise ValueError("no such layer")


@handler()
def bad_result(ctx: Context) -> dict[str, Any]:
    """Return what is not JSON."""
    return {"frames": [1, object()]}


@handler("large-result", max_result_bytes=100)
def large_result(ctx: Context) -> dict[str, Any]:
    """Return more than it may."""
    return {"text": "x" * 200}


@handler()
def leave(ctx: Context, *, code: int = 0) -> None:
    """End the process behind Python's back."""
    os._exit(code)


@handler()
def quit_politely(ctx: Context) -> None:
    """Call sys.exit, which is no success."""
    sys.exit(0)


@handler()
def segfault(ctx: Context) -> None:
    """Read where nothing is."""
    ctypes.string_at(0)


@handler()
def kill_self(ctx: Context) -> None:
    """Die by SIGKILL."""
    os.kill(os.getpid(), signal.SIGKILL)


@handler("slow", timeout_s=0.3)
def slow(ctx: Context) -> None:
    """Sleep far longer than its limit, deaf to everything."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ctx.progress(0.1)
    time.sleep(60)


@handler("silent", no_progress_s=0.3)
def silent(ctx: Context) -> None:
    """Tell nothing for longer than allowed, but look at the stop."""
    while True:
        ctx.check()
        time.sleep(0.01)


@handler()
def deaf(ctx: Context) -> None:
    """Ignore every request to stop."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ctx.progress(0.1, "deaf")
    while True:
        time.sleep(1)


@handler()
def blocked(ctx: Context) -> None:
    """Sleep without a look at the stop; SIGTERM wakes it."""
    ctx.progress(0.1, "blocked")
    time.sleep(60)


@handler()
def polite(ctx: Context) -> dict[str, Any]:
    """Finish soon when asked to stop, with a result."""
    ctx.progress(0.1, "waiting")
    while not ctx.cancelled:
        time.sleep(0.01)
    return {"reason": ctx.stop_reason, "left_s": ctx.deadline}


@handler()
async def async_wait(ctx: Context) -> None:
    """Wait in a loop until it is cancelled."""
    ctx.progress(0.1, "waiting")
    try:
        await asyncio.sleep(60)
    finally:
        ctx.log("cleaned up")


@handler()
async def async_add(ctx: Context, *, a: int, b: int) -> dict[str, int]:
    """Return a sum, later."""
    await asyncio.sleep(0)
    return {"sum": a + b}


@handler()
def spawn_strays(ctx: Context, *, then: str = "return") -> dict[str, Any]:
    """Leave processes behind: a plain one, one in its own session, and an orphan of that."""
    plain = subprocess.Popen(["sleep", "300"])
    session = subprocess.Popen(["setsid", "sh", "-c", "(sleep 300 & echo $!); exec sleep 300"], stdout=-1)
    assert session.stdout is not None
    orphan = int(session.stdout.readline())
    double = subprocess.run(["setsid", "sh", "-c", "sleep 300 >/dev/null & echo $!"], stdout=-1, check=True)
    pids = [plain.pid, session.pid, orphan, int(double.stdout)]
    (ctx.workdir / "pids").write_text(" ".join(map(str, pids)))
    ctx.progress(0.5, " ".join(map(str, pids)))
    if then == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    if then == "hang":
        time.sleep(300)
    return {"pids": pids}


@handler()
def flood(ctx: Context, *, size_bytes: int) -> None:
    """Print very much."""
    chunk = b"all work and no play\n" * 3000
    for _ in range(size_bytes // len(chunk)):
        os.write(1, chunk)
    os.write(1, b"the very last line\n")


@handler()
def log_flood(ctx: Context, *, lines: int) -> None:
    """Log very much."""
    for number in range(lines):
        ctx.log(f"line {number}")


@handler()
def break_channel(ctx: Context) -> None:
    """Write nonsense where frames are expected."""
    for path in Path("/proc/self/fd").iterdir():
        if path.exists() and str(path.readlink()).startswith("socket:"):
            os.write(int(path.name), b"\xff\xff\xff\xffnonsense")
    time.sleep(60)


@handler()
def fork_and_return(ctx: Context) -> dict[str, Any]:
    """Fork, and let both processes return."""
    is_copy = os.fork() == 0
    if is_copy:
        ctx.log("the copy speaks")
    return {"is_copy": is_copy}


@handler("limited", timeout_s=600)
def limited(ctx: Context) -> dict[str, Any]:
    """Return what is left of the time."""
    return {"left_s": ctx.deadline}


@handler()
async def async_blocked(ctx: Context) -> None:
    """Block the loop, so that no cancellation comes through."""
    ctx.progress(0.1, "blocked")
    time.sleep(60)  # noqa: ASYNC251 - the mistake that is tested


@handler()
def thread_tells_later(ctx: Context, *, is_first: bool) -> None:
    """Leave a thread behind that tells after the end; later runs only give it time."""
    if not is_first:
        time.sleep(0.05)
        return

    def tell() -> None:
        while True:
            ctx.progress(0.9, "too late")
            time.sleep(0.001)

    threading.Thread(target=tell, daemon=True).start()


class Faulty:
    """What stands where a stream should."""

    def __init__(self, fault: BaseException) -> None:
        self._fault = fault

    def flush(self) -> None:
        """Do harm."""
        raise self._fault


@handler("spoil-stdout")
def spoil_stdout(ctx: Context, *, how: str) -> int:
    """Leave no stdout that can be flushed, and return the pid."""
    if how == "gone":
        del sys.stdout
        return os.getpid()
    places = {
        "None": None,
        "no stream": object(),
        "faulty": Faulty(KeyError()),
        "exits": Faulty(SystemExit(3)),
    }
    sys.stdout = places[how]
    return os.getpid()

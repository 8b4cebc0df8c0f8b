"""Handlers with setup and teardown, and ones that leave their process dirty.

Copied to a folder of the test, where they leave notes.
"""

import asyncio
import concurrent.futures
import gc
import locale
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from worker import Context, Fail, SetupContext, handler

HERE = Path(__file__).parent
KEPT: list[Any] = []


def note(text: str) -> None:
    """Write a line where the test reads it."""
    with (HERE / "notes").open("a") as file:
        file.write(f"{text}\n")


def load(given: SetupContext) -> dict[str, Any]:
    """Make the state of a process."""
    note(f"setup {given.type} {os.getpid()}")
    os.environ["SET_UP_BY"] = given.type
    is_main = threading.current_thread() is threading.main_thread()
    return {"type": given.type, "gpus": given.gpus, "runs": 0, "is_main_thread": is_main}


def unload(state: dict[str, Any]) -> None:
    """Note the end of a process."""
    note(f"teardown {state['type']} {os.getpid()}")


@handler("kept", setup=load, teardown=unload)
def kept(ctx: Context, *, then: str = "return") -> dict[str, Any]:
    """Return the state, and what of it is this process's."""
    ctx.state["runs"] += 1
    ctx.progress(0.1)
    if then == "crash":
        os._exit(3)
    if then == "hang":
        time.sleep(60)
    return {**ctx.state, "pid": os.getpid(), "set_up_by": os.environ["SET_UP_BY"]}


@handler("kept-too", setup=load, teardown=unload)
def kept_too(ctx: Context) -> dict[str, Any]:
    """Return the state of another type."""
    return kept(ctx)


@handler("kept-fresh", isolation="fresh", setup=load, teardown=unload)
def kept_fresh(ctx: Context) -> dict[str, Any]:
    """Return the state of a process that serves once."""
    return kept(ctx)


def load_plainly(size: int = 3) -> list[int]:
    """Take no context: the parameter has a meaning of its own."""
    return [size]


@handler("plain", setup=load_plainly)
def plain(ctx: Context) -> Any:
    """Return what a setup without a context made."""
    return ctx.state


class Session:
    """Something that belongs to one event loop, as clients do."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.beats = 0
        self.beating = asyncio.create_task(self.beat())

    async def beat(self) -> None:
        """Go on for as long as the loop runs."""
        while True:
            self.beats += 1
            await asyncio.sleep(0.001)


async def open_session() -> Session:
    """Open it in the loop of the process."""
    return Session()


async def close_session(session: Session) -> None:
    """Close it in its own loop."""
    session.beating.cancel()
    note(f"closed {session.loop is asyncio.get_running_loop()}")


@handler("session", setup=open_session, teardown=close_session)
async def session(ctx: Context) -> dict[str, Any]:
    """Use it, and leave a task behind."""
    before = ctx.state.beats
    asyncio.create_task(asyncio.sleep(600), name="stray")  # noqa: RUF006 - left behind on purpose
    while ctx.state.beats < before + 2:  # noqa: ASYNC110 - the task that goes on is what is tested
        await asyncio.sleep(0.001)
    names = sorted(task.get_name() for task in asyncio.all_tasks())
    is_own = ctx.state.loop is asyncio.get_running_loop()
    return {"is_own_loop": is_own, "strays": names.count("stray"), "pid": os.getpid()}


def break_down() -> None:
    """Raise."""
    raise ValueError("no such model")


def shout() -> None:
    """Raise with a message that is larger than any frame, and no text."""
    raise ValueError("no \udc80 " * 4_000_000)


def refuse() -> None:
    """Fail with words for people."""
    raise Fail("the licence is not here")


@handler("broken-setup", setup=break_down)
def broken_setup(ctx: Context) -> None:
    """Never run."""


@handler("shouting-setup", setup=shout)
def shouting_setup(ctx: Context) -> None:
    """Never run."""


@handler("refusing-setup", setup=refuse)
def refusing_setup(ctx: Context) -> None:
    """Never run."""


@handler("quitting-setup", setup=lambda: sys.exit(0))
def quitting_setup(ctx: Context) -> None:
    """Never run."""


@handler("demanding-setup", setup=lambda model, device: None)  # type: ignore[arg-type]  # the mistake
def demanding_setup(ctx: Context) -> None:
    """Never run."""


@handler("hanging-setup", setup=lambda: time.sleep(600))
def hanging_setup(ctx: Context) -> None:
    """Never run."""


@handler("slow-setup", setup=lambda: time.sleep(0.5), timeout_s=0.4)
def slow_setup(ctx: Context) -> Any:
    """Return what is left of a limit that setup alone would have used up."""
    return ctx.deadline


@handler("broken-teardown", teardown=lambda state: break_down())
def broken_teardown(ctx: Context) -> int:
    """Return the pid."""
    return os.getpid()


@handler("hanging-teardown", teardown=lambda state: time.sleep(600))
def hanging_teardown(ctx: Context) -> int:
    """Return the pid."""
    return os.getpid()


@handler("grows")
def grows(ctx: Context, *, size_bytes: int) -> int:
    """Keep memory, touched page by page."""
    KEPT.append(b"\1" * size_bytes)
    return os.getpid()


@handler("surroundings")
def surroundings(ctx: Context, *, change: str = "nothing") -> dict[str, Any]:
    """Tell what is around, then change something."""
    found = look()
    CHANGES[change]()
    return {**found, "pid": os.getpid()}


def look() -> dict[str, Any]:
    """Return everything that a run must find as every run does."""
    mask = os.umask(0o022)
    os.umask(mask)
    return {
        "environment": {name: value for name, value in os.environ.items() if name != "MILLHAND_TREE"},
        "umask": mask,
        "cwd_is_own": not list(Path().iterdir()),
        "signals": [str(signal.getsignal(one)) for one in (signal.SIGINT, signal.SIGUSR1, signal.SIGALRM)],
        "mask": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        "alarm": signal.getitimer(signal.ITIMER_REAL)[0],
        "locale": locale.setlocale(locale.LC_ALL),
        "files": resource.getrlimit(resource.RLIMIT_NOFILE),
        "nice": os.getpriority(os.PRIO_PROCESS, 0),
        "cpus": sorted(os.sched_getaffinity(0)),
        "stdout": sys.stdout is sys.__stdout__,
        "stdout_target": os.fstat(1).st_ino,
        "recursion": sys.getrecursionlimit(),
        "collects": gc.isenabled(),
    }


def change_environment() -> None:
    """Set, change and delete."""
    os.environ["NEW"] = "1"
    os.environ["PATH"] = "/nowhere"
    os.environ.pop("MILLHAND_TREE")
    os.environ.pop("LC_TIME", None)


def limit_files(is_hard: bool) -> None:
    """Lower the number of files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft - 1, soft - 1 if is_hard else hard))


def redirect_stdout() -> None:
    """Lead descriptor 1 to nowhere."""
    target = os.open(os.devnull, os.O_WRONLY)
    os.dup2(target, 1)
    os.close(target)


def start_pool(work_s: float) -> None:
    """Leave a pool behind, working or not."""
    pool = concurrent.futures.ThreadPoolExecutor(1)
    KEPT.append(pool)
    future = pool.submit(time.sleep, work_s)
    if work_s < 1:
        future.result()


CHANGES: dict[str, Any] = {
    "nothing": lambda: None,
    "environment": change_environment,
    "umask": lambda: os.umask(0o077),
    "directory": lambda: os.chdir("/"),
    "SIGINT": lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    "SIGUSR1": lambda: signal.signal(signal.SIGUSR1, lambda *_: None),
    "mask": lambda: signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2}),
    "alarm": lambda: signal.alarm(600),
    "locale": lambda: locale.setlocale(locale.LC_ALL, "C"),
    "soft limit": lambda: limit_files(is_hard=False),
    "CPU set": lambda: os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}),
    "stdout": lambda: setattr(sys, "stdout", sys.stderr),
    "recursion": lambda: sys.setrecursionlimit(5000),
    "collection": gc.disable,
    "daemon": lambda: threading.Thread(target=time.sleep, args=(600,), daemon=True).start(),
    "idle pool": lambda: start_pool(0),
    "some files": lambda: KEPT.extend(Path(os.devnull).open() for _ in range(8)),  # noqa: SIM115
    "hard limit": lambda: limit_files(is_hard=True),
    "nice": lambda: os.nice(1),
    "closed stdout": sys.stdout.close,
    "descriptor 1": redirect_stdout,
    "thread": lambda: threading.Thread(target=time.sleep, args=(600,)).start(),
    "busy pool": lambda: start_pool(600),
    "broken threading": lambda: setattr(threading, "enumerate", None),
    "many files": lambda: KEPT.extend(Path(os.devnull).open() for _ in range(40)),  # noqa: SIM115
}


def start_program() -> subprocess.Popen[bytes]:
    """Start a program that starts another one."""
    return subprocess.Popen(["sh", "-c", "sleep 600 & wait"])


@handler("with-program", setup=start_program)
def with_program(ctx: Context, *, then: str = "return") -> dict[str, int]:
    """Leave the program of the setup alone, end it, or leave another one behind."""
    if then == "end":
        ctx.state.kill()
        ctx.state.wait()
    if then == "leave":
        subprocess.Popen(["sleep", "600"])
    return {"pid": os.getpid(), "program": ctx.state.pid}

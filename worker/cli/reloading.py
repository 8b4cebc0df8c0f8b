"""`millhand run --reload`: run a file's handler again whenever it, or a module beside it, is saved."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from worker.api.wire import ErrorKind
from worker.cli.exits import CliError, ExitCode
from worker.cli.local_run import GRACE_S, Interruption
from worker.cli.terminal import Output
from worker.executor.executor import StopRequest
from worker.executor.local import BrokenHandler, NoSuchHandler

__all__ = ["MAX_FILES", "changed", "look", "reload"]

LOOK_S: Final = 0.2  # between two looks at the files: sooner than a person sees the terminal again
MAX_FILES: Final = 1000  # looked at: about 2 ms; a handler in a home folder must not read all of it
OTHERS: Final = frozenset({"__pycache__", "node_modules", "site-packages"})

Stamps = Mapping[str, tuple[int, int]]


async def reload(
    path: Path, run: Callable[[StopRequest], Awaitable[None]], interruption: Interruption, out: Output
) -> int:
    """Run, and again after each save, until somebody interrupts it.

    Args:
        path: the handler's file.
        run: runs its handler once and shows how it ended.
        interruption: tells when to end.
        out: where it is said what is waited for.

    Returns: 0; 130 where a run was interrupted.
    """
    while True:
        seen = look(path.parent)
        stop = interruption.stop = StopRequest()
        save = asyncio.create_task(changed(path.parent, seen))
        try:
            if await run_until(save, run_shown(run, stop, out), stop, interruption):
                return ExitCode.INTERRUPTED
            interruption.stop = None
            if not save.done():
                out.say(f"waiting until {path.name} or a module beside it is saved; Ctrl-C ends")
                await first_of(save, interruption.asked.wait())
            if interruption.asked.is_set():
                return ExitCode.OK
            out.say(f"{', '.join(await save)} was saved: running it again")
        finally:
            save.cancel()


async def run_until(
    save: asyncio.Task[list[str]], run: Awaitable[None], stop: StopRequest, interruption: Interruption
) -> bool:
    """Run to the end, or until a save makes the run out of date; tell whether somebody interrupted it."""
    running = asyncio.ensure_future(run)
    await asyncio.wait({running, save}, return_when=asyncio.FIRST_COMPLETED)
    if not running.done():
        stop.request(ErrorKind.CANCELLED, "its file was saved", GRACE_S)
    await running
    return interruption.asked.is_set()


async def run_shown(run: Callable[[StopRequest], Awaitable[None]], stop: StopRequest, out: Output) -> None:
    """Run once; what is wrong is shown, and waited out."""
    try:
        await run(stop)
    except NoSuchHandler as exc:
        tell_broken(exc, out)
    except CliError as exc:
        out.note(f"{exc.message}; {exc.todo}")


def tell_broken(exc: NoSuchHandler, out: Output) -> None:
    """Say that there is no handler to run: for a program as a run that failed."""
    if not out.is_json:
        out.say(f"error: {exc}")
        return
    message, traceback = (exc.message, exc.traceback) if isinstance(exc, BrokenHandler) else (str(exc), None)
    error = {"kind": str(ErrorKind.HANDLER_ERROR), "message": message, "traceback": traceback}
    out.json({"resultCode": "Failed", "value": {}, "error": error})


async def first_of(save: asyncio.Task[list[str]], asked: Awaitable[object]) -> None:
    """Wait for a save, or for the end."""
    ending = asyncio.ensure_future(asked)
    try:
        await asyncio.wait({save, ending}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        ending.cancel()


async def changed(folder: Path, seen: Stamps) -> list[str]:
    """Wait until modules are not as they were seen, and saving them is over; return their names."""
    before = seen
    while True:
        await asyncio.sleep(LOOK_S)
        now = look(folder)
        if now != seen and now == before:
            names = [name for name in {**seen, **now} if seen.get(name) != now.get(name)]
            return sorted(name.removeprefix(f"{folder}/") for name in names)
        before = now


def look(folder: Path) -> Stamps:
    """Return when the modules in a folder and in packages below it were changed, and their sizes."""
    found: dict[str, tuple[int, int]] = {}
    for path in modules_below(folder):
        try:
            state = os.stat(path)  # noqa: PTH116 - some hundred of them five times a second
        except OSError:  # it goes just now
            continue
        found[path] = (state.st_mtime_ns, state.st_size)
        if len(found) >= MAX_FILES:
            break
    return found


def modules_below(folder: Path) -> Iterator[str]:
    """Yield the paths of modules; hidden folders, environments and caches are left out."""
    for base, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if is_looked_into(base, name))
        yield from (f"{base}/{name}" for name in sorted(names) if name.endswith(".py"))


def is_looked_into(base: str, name: str) -> bool:
    """Tell whether a folder may hold modules of the author's."""
    return (
        name not in OTHERS and not name.startswith(".") and not os.path.exists(f"{base}/{name}/pyvenv.cfg")  # noqa: PTH110 - as above
    )

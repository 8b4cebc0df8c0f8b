"""`millhand run --reload`: run a file's handler again whenever it, or a module beside it, is saved."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Final

from worker.api.wire import ErrorKind
from worker.cli.exits import CliError, ExitCode
from worker.cli.interruption import GRACE_S, Interruption
from worker.cli.terminal import Output
from worker.executor.executor import StopRequest
from worker.executor.local import BrokenHandler, NoSuchHandler

__all__ = ["MAX_ENTRIES", "MAX_FILES", "MAX_FOLDERS", "changed", "look", "reload"]

LOOK_S: Final = 0.2  # between two looks at the files: sooner than a person sees the terminal again
# What one look takes at most, some 20 ms: a handler in a home folder or beside its data must not cost more.
MAX_FILES: Final = 1000
MAX_FOLDERS: Final = 500
MAX_ENTRIES: Final = 10_000  # of all these folders together, whatever they are
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
        seen = await asyncio.to_thread(look, path)
        if interruption.asked.is_set():
            return ExitCode.OK
        stop = interruption.stop = StopRequest()
        save = asyncio.create_task(changed(path, seen))
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


async def changed(path: Path, seen: Stamps) -> list[str]:
    """Wait until modules are not as they were seen, and saving them is over; return their names.

    The look is another thread's: a run is served meanwhile, and a disk may be slow.
    """
    before = seen
    while True:
        await asyncio.sleep(LOOK_S)
        now = await asyncio.to_thread(look, path, (*seen, *before))
        if now != seen and now == before:
            names = [name for name in {**seen, **now} if seen.get(name) != now.get(name)]
            return sorted(name.removeprefix(f"{path.parent}/") for name in names)
        before = now


def look(path: Path, known: Iterable[str] = ()) -> Stamps:
    """Return when a handler's file and the modules beside and below it were changed, and their sizes.

    Its own file comes first, then what is known: where there is more than is looked at, a module that was
    seen once does not come and go with the order in which a folder is read.
    """
    found: dict[str, tuple[int, int]] = {}
    for name in chain((str(path),), known, modules_below(str(path.parent))):
        if len(found) >= MAX_FILES:
            break
        try:
            state = os.stat(name)  # noqa: PTH116 - some hundred of them five times a second
        except OSError:  # it goes just now
            continue
        found[name] = (state.st_mtime_ns, state.st_size)
    return found


def modules_below(folder: str) -> Iterator[str]:
    """Yield the paths of modules, the nearest first; hidden folders, environments and caches are left out."""
    entries_left, folders = MAX_ENTRIES, deque([folder])
    for _ in range(MAX_FOLDERS):
        if not folders or not entries_left:
            return
        entries = entries_of(folders.popleft(), entries_left)
        entries_left -= len(entries)
        yield from (entry.path for entry in entries if entry.name.endswith(".py") and entry.is_file())
        folders.extend(entry.path for entry in entries if is_looked_into(entry))


def entries_of(folder: str, most: int) -> list[os.DirEntry[str]]:
    """Return what is in a folder by its name, up to so many; nothing where it cannot be read."""
    try:
        with os.scandir(folder) as found:
            return sorted(islice(found, most), key=lambda entry: entry.name)
    except OSError:
        return []


def is_looked_into(entry: os.DirEntry[str]) -> bool:
    """Tell whether something is a folder that may hold modules of the author's."""
    return (
        entry.is_dir(follow_symlinks=False)
        and entry.name not in OTHERS
        and not entry.name.startswith(".")
        and not os.path.exists(f"{entry.path}/pyvenv.cfg")  # noqa: PTH110 - as above
    )

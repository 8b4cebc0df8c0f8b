"""Ask describing children what handlers there are, and remember the answers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import msgspec

from worker.executor.asking import Answer, NoAnswer, ask
from worker.executor.description import Description
from worker.executor.loading import split_target
from worker.executor.sources import has_changed
from worker.executor.sweep import end_marked

__all__ = ["Describer"]

TIMEOUT_S: Final = 60.0  # a large framework, imported cold
CONCURRENT: Final = 4
CACHE_NAME: Final = "handlers.json"
FORMAT: Final = 5  # of the cache and of descriptions; raise it when either changes
MAX_SHOWN_CHARS: Final = 2000


class Remembered(msgspec.Struct, frozen=True):
    """A description and the state of the file that it was made from."""

    stamp: tuple[str, ...]
    description: Description


class Describer:
    """Describe targets in children of their own, so that no handler's code runs in the agent.

    One that hangs, crashes or cannot be imported spoils only its own answer: several are asked by forks of
    one child (half of what children of their own take), and those who give no answer there alone.
    Answers are kept in a file, as long as the described file has the same path, time and size.
    """

    def __init__(
        self,
        cache_folder: Path | None,
        *,
        environment: Mapping[str, str] | None = None,
        python: str = sys.executable,
        timeout_s: float = TIMEOUT_S,
        wish: Mapping[str, Any] | None = None,
    ) -> None:
        """Take where to remember (None: nowhere), what children may see, and how they are confined."""
        self._cache = None if cache_folder is None else cache_folder / CACHE_NAME
        self._environment = environment
        self._python = python
        self._timeout_s = timeout_s
        self._wish = dict(wish or {})
        self._mark = f"describe-{uuid4().hex}"

    async def describe(self, targets: list[str]) -> dict[str, Description]:
        """Return the description of each target: ``module``, ``file.py``, or one with ``:attribute``."""
        known = await asyncio.to_thread(self._recall)
        stamps = {target: stamp_of(target, self._python) for target in targets}
        answers = {
            target: old.description
            for target, stamp in stamps.items()
            if (old := known.get(target)) is not None and is_current(old, stamp)
        }
        asked = await self._asked([target for target in stamps if target not in answers])
        for target, description in asked.items():
            stamp = stamps[target]
            if stamp is not None and description.error is None:  # what is missing may be installed later
                known[target] = Remembered(stamp, description)
        if asked:
            await asyncio.to_thread(self._remember, known)
        return answers | asked

    async def _asked(self, targets: list[str]) -> dict[str, Description]:
        """Ask about several at once, and one by one about those that gave no answer so."""
        turn = asyncio.Semaphore(CONCURRENT)

        async def alone(target: str) -> Description:
            async with turn:
                return await asyncio.to_thread(self._ask, target)

        try:
            together = await asyncio.to_thread(self._ask_together, targets) if len(targets) > 1 else {}
            left = [target for target in targets if target not in together]
            answers = await asyncio.gather(*(alone(target) for target in left))
        finally:
            if targets:
                await end_marked(self._mark)  # what an import started, and left running
        return together | dict(zip(left, answers, strict=True))

    def _ask_together(self, targets: list[str]) -> dict[str, Description]:
        """Ask one child about several; blocks; those that it does not answer are missing."""
        try:
            return decoded(self._answer(targets).out)
        except (NoAnswer, msgspec.DecodeError):
            return {}

    def _ask(self, target: str) -> Description:
        """Ask a child about one; blocks until it answered or its time is up."""
        try:
            answer = self._answer([target])
        except NoAnswer as exc:
            return Description(error=f"{target}: {exc}")
        try:
            return decoded(answer.out)[target]
        except (msgspec.DecodeError, KeyError):
            return Description(
                error=f"{target}: the process that imported it ended with {answer.code}",
                traceback=answer.err.decode("utf-8", "replace")[-MAX_SHOWN_CHARS:],
            )

    def _answer(self, targets: list[str]) -> Answer:
        return ask(
            "worker.executor.describe",
            targets,
            mark=self._mark,
            timeout_s=self._timeout_s,
            environment=self._environment,
            python=self._python,
            wish=self._wish,
        )

    def _recall(self) -> dict[str, Remembered]:
        if self._cache is None:
            return {}
        try:
            return msgspec.json.decode(self._cache.read_bytes(), type=dict[str, Remembered])
        except (OSError, msgspec.DecodeError):  # none yet, or of another version: asked again
            return {}

    def _remember(self, known: dict[str, Remembered]) -> None:
        if self._cache is None:
            return
        part = self._cache.with_suffix(f".{os.getpid()}.part")
        with contextlib.suppress(OSError):  # a cache only saves time
            self._cache.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(msgspec.json.encode(known))
            part.replace(self._cache)


def decoded(out: bytes) -> dict[str, Description]:
    """Read what a child wrote.

    Raises: msgspec.DecodeError where it is no such thing.
    """
    return msgspec.json.decode(out, type=dict[str, Description])


def is_current(old: Remembered, stamp: tuple[str, ...] | None) -> bool:
    """Tell whether a description is of what is there now."""
    return old.stamp == stamp and not has_changed(old.description.sources)


def stamp_of(target: str, python: str) -> tuple[str, ...] | None:
    """Return what a description depends on; None where the file is not found without an import."""
    path = file_of(split_target(target)[0])
    if path is None:
        return None
    try:
        state = path.stat()
    except OSError:
        return None
    version = ".".join(map(str, sys.version_info[:3]))
    return (str(FORMAT), python, version, str(path), str(state.st_mtime_ns), str(state.st_size))


def file_of(where: str) -> Path | None:
    """Return the file of a module or path; packages are not imported to find it."""
    if where.endswith(".py"):
        return Path(where)
    parts = where.split(".")
    for folder in sys.path:
        for name in (f"{parts[-1]}.py", f"{parts[-1]}/__init__.py"):
            path = Path(folder or ".").joinpath(*parts[:-1], name)
            if path.is_file():
                return path
    return None

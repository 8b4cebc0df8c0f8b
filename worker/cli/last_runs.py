"""The checkpoints that local runs leave: one file a handler, from which `millhand run --resume` goes on."""

from __future__ import annotations

import hashlib
import json
import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from msgspec import DecodeError, Struct, ValidationError
from msgspec import json as msgspec_json

from worker.cli import human
from worker.cli.exits import CliError, ExitCode

__all__ = ["LastRun", "LastRuns", "NothingToResume", "Resumed", "read_checkpoint"]

NAME_CHARS: Final = 40  # of a task type in a file's name; the hash behind it tells handlers apart


class LastRun(Struct, frozen=True, kw_only=True, rename="camel"):
    """What the last local run of a handler left."""

    handler: str  # "module:attribute" or the path of a file
    type: str
    run_id: str = ""
    attempt: int = 1
    result: str | None = None  # None: it goes on, or ended together with the command
    checkpoint: Any = None
    at: datetime


class Resumed(Struct, frozen=True):
    """From where a run goes on."""

    checkpoint: Any
    attempt: int  # of the run that goes on
    source: str  # for people


class NothingToResume(CliError):  # noqa: N818 - what happened
    """There is no checkpoint to go on from; the message says why."""

    def __init__(self, why: str) -> None:
        """Take why."""
        super().__init__(
            f"there is no checkpoint to resume from: {why}",
            "ctx.checkpoint(value) in the handler saves one; run it without --resume first,"
            " with --kill-after 2 for example",
            code=ExitCode.USAGE,
        )


class LastRuns:
    """The folder of these files. Each is replaced as a whole, and for its owner only."""

    def __init__(self, folder: Path) -> None:
        """Take the folder; it is made when it is needed."""
        self._folder = folder

    def path(self, handler: str, type_: str) -> Path:
        """Return the file of a handler."""
        name = re.sub(r"[^\w.-]", "_", type_)[:NAME_CHARS]
        digest = hashlib.sha256(f"{handler}\0{type_}".encode("utf-8", "surrogateescape")).hexdigest()[:12]
        return self._folder / f"{name}-{digest}.json"

    def keep(self, last: LastRun) -> Path:
        """Write what a run left, in place of what the one before left.

        Raises: OSError where the folder cannot be written.
        """
        path = self.path(last.handler, last.type)
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        part = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            part.touch(mode=0o600)
            part.write_bytes(msgspec_json.format(msgspec_json.encode(last)) + b"\n")
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        return path

    def resume(self, handler: str, type_: str) -> Resumed:
        """Return from where the next run goes on.

        Raises: NothingToResume; CliError where the file cannot be read.
        """
        path = self.path(handler, type_)
        try:
            last = msgspec_json.decode(path.read_bytes(), type=LastRun)
        except FileNotFoundError:
            raise NothingToResume(f"{type_!r} was not run here before") from None
        except (OSError, DecodeError, ValidationError) as exc:
            raise CliError(f"{path} cannot be read: {exc}", "remove it", code=ExitCode.CONFIGURATION) from exc
        ago = human.ago(last.at, datetime.now(UTC))
        if last.result == "Success":
            raise NothingToResume(
                f"the last run of {type_!r} here ({ago}) succeeded, and left nothing to go on from"
            )
        if last.checkpoint is None:
            raise NothingToResume(f"the last run of {type_!r} here ({ago}) saved none")
        return Resumed(last.checkpoint, last.attempt + 1, f"the checkpoint of attempt {last.attempt}, {ago}")


def read_checkpoint(path: Path) -> Resumed:
    """Return the checkpoint in a JSON file: its key `checkpoint` where it is an object that has one.

    Such objects are what `millhand run --json` prints, and what local runs leave.

    Raises: CliError where it cannot be read.
    """
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError) as exc:
        raise CliError(f"--resume={path}: {exc}", "give a JSON file", code=ExitCode.USAGE) from exc
    attempt = 1
    if isinstance(value, dict) and "checkpoint" in value:
        attempt = value["attempt"] if isinstance(value.get("attempt"), int) else 1
        value = value["checkpoint"]
    if value is None:
        raise NothingToResume(f"{path} holds none")
    return Resumed(value, attempt + 1, str(path))

"""The folders of a run that its container sees: inputs and secrets to read, outputs to write.

They lie in the run's own folder, so that they go with it whatever happens. Nothing else of this machine is
mounted: an input that lies here is copied by the handler, with the handler's own rights, not the engine's.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from worker import Context, Fail, Retry

__all__ = ["Folders", "make_folders", "without_secrets"]

INPUTS, OUTPUTS, SECRETS = "/inputs", "/outputs", "/run/secrets"  # in the container
COPY_BYTES = 4 * 1024 * 1024


class Folders(NamedTuple):
    """Where they are on this machine, and the names of the inputs."""

    inputs: Path
    outputs: Path
    secrets: Path
    names: tuple[str, ...]

    def mounts(self) -> list[tuple[Path, str, bool]]:
        """Return each with its place in the container, and whether it is read-only."""
        return [
            (self.inputs, INPUTS, True),
            (self.secrets, SECRETS, True),
            (self.outputs, OUTPUTS, False),
        ]


def base_of(ctx: Context) -> Path:
    """Return the folder in which all of them are."""
    return ctx.workdir / "container"


@contextmanager
def without_secrets(ctx: Context) -> Iterator[None]:
    """Remove the secrets at the end, however it comes; where it is a SIGKILL, the agent does."""
    try:
        yield
    finally:
        try:
            shutil.rmtree(ctx.secret_folder())
        except FileNotFoundError:
            pass
        except OSError as exc:
            ctx.log("the container's secrets could not be removed", level="warning", error=str(exc))


def make_folders(
    ctx: Context, sources: Sequence[str], secrets: Mapping[str, str], owner: tuple[int, int]
) -> Folders:
    """Make them, with the inputs and secrets in them.

    Raises:
        Fail, Retry: an input is not to be had; see `Context.input`. The disk is full: Retry.
    """
    base = base_of(ctx)
    folders = Folders(base / "inputs", base / "outputs", ctx.secret_folder() / "container", ())
    try:
        for folder, mode in ((folders.inputs, 0o755), (folders.outputs, 0o700), (folders.secrets, 0o700)):
            folder.mkdir(parents=True)
            folder.chmod(mode)
        names = tuple(take_input(ctx, source, folders.inputs) for source in sources)
        for name, value in secrets.items():
            write_secret(folders.secrets / name, value, owner)
        if os.geteuid() == 0:
            for folder in (folders.outputs, folders.secrets):
                os.chown(folder, *owner)
    except OSError as exc:
        raise Retry(f"the folders of the container could not be made below {base}: {exc}") from exc
    return folders._replace(names=names)


def take_input(ctx: Context, source: str, folder: Path) -> str:
    """Put one input into the folder; return its name there."""
    path = ctx.input(source)
    target = folder / path.name
    if target.exists():
        raise Fail(f"inputs: two of them are named {path.name!r}; each needs a name of its own in {INPUTS}")
    if path.is_relative_to(ctx.workdir):
        path.rename(target)  # it was downloaded for this run
    else:
        copy(ctx, path, target)
    target.chmod(0o444)
    return target.name


def copy(ctx: Context, source: Path, target: Path) -> None:
    """Copy a file of this machine, as long as the run may go on."""
    with source.open("rb") as reading, target.open("xb") as writing:
        while chunk := reading.read(COPY_BYTES):
            ctx.check()
            writing.write(chunk)
    shutil.copystat(source, target)


def write_secret(path: Path, value: str, owner: tuple[int, int]) -> None:
    """Write a file that only the container's user may read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400)
    with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 - a descriptor
        file.write(value)
        if os.geteuid() == 0:
            os.fchown(descriptor, *owner)

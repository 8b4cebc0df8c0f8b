"""`container`: run an image by docker or podman, where the operator of the machine allows it."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from typing import Any

from handlers.containers.allowed import check_allowed
from handlers.containers.arguments import Spec
from handlers.containers.engine import find_engine
from handlers.containers.folders import INPUTS, OUTPUTS, SECRETS, Folders, make_folders, without_secrets
from handlers.containers.image_name import read_image_name
from handlers.containers.images import PullPolicy, have_image
from handlers.containers.leftovers import Leftover, remove_leftovers
from handlers.containers.order import check_variables, choose_command, choose_image, read_limits
from handlers.containers.owner import container_name, labels, this_process
from handlers.containers.run import run_container
from handlers.containers.settings import read_settings
from handlers.programs.outputs import check_patterns, keep_outputs
from handlers.programs.printed import Printed
from handlers.programs.progress import progress_reader
from worker import Context, Fail, Retry, Secret, handler

__all__ = ["container"]


def clean_up() -> None:
    """Remove what a killed process of this agent has left, before the first run; each run says what fails."""
    with contextlib.suppress(Fail, Retry):
        remove_leftovers(find_engine(read_settings(os.environ).engine, os.environ), os.environ)


@handler("container", setup=clean_up)
def container(
    ctx: Context,
    *,
    image: str | None = None,
    cmd: list[str] | str | None = None,
    entrypoint: str | None = None,
    input: str | None = None,  # noqa: A002 - the parameter that files of a submit are
    inputs: list[str] | None = None,
    outputs: list[str] | None = None,
    env: dict[str, str] | None = None,
    secrets: dict[str, Secret] | None = None,
    progress: str | None = None,
    pull: PullPolicy = "missing",
    cpus: float | None = None,
    memory: int | str | None = None,
    pids: int = 1024,
    readonly: bool = False,
) -> dict[str, Any]:
    r"""Run an allowed image in a container without network, privileges or folders of this machine.

    Args:
        ctx: the run.
        image: its name; it must be in MILLHAND_IMAGES on the machine. Also the task's field `image`.
        cmd: the command, a list or text without a shell; by default the image's. Also the task's field `cmd`.
        entrypoint: a program instead of the image's entry point.
        input: a path or URL; the program finds it below /inputs, and its place in MILLHAND_INPUT.
        inputs: more of them.
        outputs: patterns below /outputs, as ``renders/*.png``; the files that match are kept.
        env: variables of the program.
        secrets: texts that the program finds as files below /run/secrets.
        progress: a regular expression with one group (percent) or two (so many, of so many), as
            ``frame (\d+) of (\d+)``; by default ``NN%`` and ``N/M`` are understood.
        pull: always; missing, where the image is not there yet; never.
        cpus: how many CPUs it may use, also parts of one.
        memory: how much memory it may have, as 512M or 4GiB; never more than the run's own limit.
        pids: how many processes and threads it may have.
        readonly: whether its root is read-only; /tmp and /outputs can be written all the same.
    """
    check_patterns(outputs or [])
    name = read_image_name(choose_image(ctx.task.get("image"), image))
    command = choose_command(ctx.task.get("cmd"), cmd)
    check_variables(env or {}, secrets or {})
    limits = read_limits(cpus, memory, pids, ctx.memory_bytes)
    printed = Printed(ctx, progress_reader(progress), pass_on)
    check_allowed(name, os.environ)
    settings = read_settings(os.environ)
    engine = find_engine(settings.engine, os.environ)
    tell_leftovers(ctx, remove_leftovers(engine, os.environ))
    found = have_image(ctx, engine, name, pull)
    user = (settings.uid, settings.gid)
    sources = [*([] if input is None else [input]), *(inputs or [])]
    with without_secrets(ctx):
        folders = make_folders(ctx, sources, secrets or {}, user)
        spec = Spec(
            name=container_name(ctx.run_id),
            image=found.id,
            command=command,
            entrypoint=entrypoint,
            labels=labels(ctx.run_id, os.environ, this_process()),
            env=variables(ctx, folders, env or {}, secrets or {}),
            mounts=folders.mounts(),
            user=user,
            network=settings.network,
            gpus=ctx.gpus,
            limits=limits,
            is_readonly=readonly,
        )
        run_container(ctx, engine, spec, printed)
    names = keep_outputs(ctx, folders.outputs, outputs or [])
    ctx.progress(1.0, "done")
    return {
        "exitCode": 0,
        "lines": printed.count,
        "outputs": names,
        "image": str(name),
        "imageId": found.id,
        "digest": found.digest,
    }


def tell_leftovers(ctx: Context, leftovers: Sequence[Leftover]) -> None:
    """Tell the run what was found of others."""
    for one in leftovers:
        if one.problem is None:
            ctx.log("removed a container that a killed process had left", level="warning", run=one.run)
        else:
            ctx.log(
                "a container that a killed process has left is still there",
                level="warning", run=one.run, container=one.id[:12], error=one.problem,
            )  # fmt: skip


def variables(ctx: Context, folders: Folders, env: dict[str, str], secrets: dict[str, str]) -> dict[str, str]:
    """Return the program's environment: the task's, beside where things are and whose it is.

    MILLHAND_TREE names the run's process tree: by it the worker ends and holds what is not below it.
    """
    found = {"MILLHAND_INPUTS": INPUTS, "MILLHAND_OUTPUTS": OUTPUTS, "MILLHAND_RUN": ctx.run_id}
    if folders.names:
        found["MILLHAND_INPUT"] = f"{INPUTS}/{folders.names[0]}"
    if secrets:
        found["MILLHAND_SECRETS"] = SECRETS
    if "MILLHAND_TREE" in os.environ:
        found["MILLHAND_TREE"] = os.environ["MILLHAND_TREE"]
    # Without GPUs, also where the engine's default runtime is NVIDIA's and the image asks for all of them.
    found["NVIDIA_VISIBLE_DEVICES"] = ",".join(ctx.gpus) or "void"
    return {**found, **env}  # ours first: the mark is looked for from the front


def pass_on(stream: str, text: str) -> None:
    """Print a line as our own: so it is shown live, and stored in the run's files stdout and stderr."""
    printing = sys.stderr if stream == "stderr" else sys.stdout
    printing.flush()
    printing.buffer.write(text.encode("utf-8", "replace") + b"\n")
    printing.buffer.flush()

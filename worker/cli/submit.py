"""`millhand submit`: a job with a task per file and set of parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import click
from msgspec import Struct

from worker.cli import human
from worker.cli.agent_settings import HANDLERS_SETTING, STORE_SETTING
from worker.cli.api_settings import api_settings
from worker.cli.command import command as make_command
from worker.cli.exits import CliError, ExitCode
from worker.cli.setting import with_settings
from worker.cli.terminal import Output, output_options
from worker.cli.type_help import TypeCommand, complete_parameter, complete_type
from worker.cli.values import MEMORY_LIMIT, PAIR, PARAMETER, TIME_LIMIT
from worker.config import ApiConfig

if TYPE_CHECKING:
    from worker.cli.session import Session
    from worker.cli.submission import Plan, Submitted

__all__ = ["command"]

TITLE_CHARS = 200


class Order(Struct, frozen=True, kw_only=True):
    """What was typed."""

    type: str
    files: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]
    param_file: Path | None
    requires: tuple[tuple[str, str], ...]
    limits: dict[str, float | None]
    retry: tuple[tuple[str, str], ...]
    title: str | None
    priority: int | None
    key: str | None
    store: str | None
    handlers: tuple[str, ...] = ()
    is_checked: bool = True


@make_command(
    "submit",
    cls=TypeCommand,
    examples="""
millhand submit mesh-convert --help                             # what a type takes, and an example
millhand submit mesh-convert a.glb b.glb -p format=stl --wait   # a task per file; exit 0 if all succeeded
millhand submit mesh-convert *.glb -p format=stl -p format=ply  # a task per file and format
millhand submit render scene.blend -p frame=1..240              # a task per frame; 1..240..10: every tenth
millhand submit sleep -p seconds=3 --requires cpus=2 --requires memory=4GiB --requires labels=zone=a
millhand submit render scene.blend --timeout 2h --no-progress 10m --memory 16GiB
millhand submit fetch --param-file urls.json --retry maxAttempts=8 --retry backoff=30s --retry retryOn=timeout
millhand submit render --param-file shots.json                  # a list of objects: a task each
millhand submit nightly s3://scans/today.glb --idempotency-key "$(date -I)"   # twice a day is once
""",
)
@click.argument("type_", metavar="TYPE", shell_complete=complete_type)
@click.argument("files", metavar="[FILE|URL]…", nargs=-1)
@click.option(
    "-p", "--param", "pairs", multiple=True, type=PARAMETER, metavar="KEY=VALUE",
    shell_complete=complete_parameter,
    help="A parameter: JSON where it is JSON (64, true, '\"1.10\"'), else text. 1..240, and a parameter"
    " that is given several times, make a task for each value.",
)  # fmt: skip
@click.option(
    "--param-file", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
    help="Parameters from a file: a JSON object, a JSON list of objects (a task each), or TOML.",
)  # fmt: skip
@click.option(
    "--requires", multiple=True, type=PAIR, metavar="KEY=VALUE",
    help="What a machine must have: gpus, gpuType, gpuMemory, cpus, memory, labels=key=value.",
)  # fmt: skip
@click.option(
    "--timeout", type=TIME_LIMIT, metavar="TIME", help="How long each task may take: 90s, 5m, 1h30m."
)
@click.option(
    "--no-progress", type=TIME_LIMIT, metavar="TIME", help="How long each task may tell no progress."
)
@click.option(
    "--memory", type=MEMORY_LIMIT, metavar="SIZE", help="How much memory each task may have: 512M, 4GiB."
)
@click.option(
    "--retry", multiple=True, type=PAIR, metavar="KEY=VALUE",
    help="How each task is tried again when it failed: maxAttempts, backoff (TIME), factor, maxBackoff,"
    " jitter, retryOn and noRetryOn (kinds of errors, exception classes).",
)  # fmt: skip
@click.option("--title", metavar="TEXT", help="Title of the job.  [default: the type and the first file]")
@click.option("--priority", type=int, metavar="N", help="Higher comes first; not every server knows it.")
@click.option(
    "--no-check", "is_checked", is_flag=True, flag_value=False, default=True,
    help="Submit also what the handler of TYPE on this machine would refuse; workers may have another one.",
)  # fmt: skip
@click.option("--wait", is_flag=True, help="Follow it to its end; exit 0 if every task succeeded, else 1.")
@click.option(
    "--idempotency-key", "key", metavar="KEY",
    help="Name this submit: the same key again is the same job, and completes one that was cut off.",
)  # fmt: skip
@output_options
@with_settings("Files", (STORE_SETTING,), lambda given: given["store"], "store")
@with_settings("Handlers", (HANDLERS_SETTING,), lambda given: given["handlers"], "handlers")
@api_settings
def command(
    *,
    type_: str,
    timeout: float | None,
    no_progress: float | None,
    memory: int | None,
    wait: bool,
    out: Output,
    api: ApiConfig,
    **given: Any,
) -> int:
    """Create a job of TYPE with a task for each FILE and each combination of parameters.

    A file reaches the handler as the parameter `input`. It stays where it is when the server is on this
    machine; for a server elsewhere it goes to the store (--store), because workers could not read it here.

    Where a handler of TYPE is on this machine, it checks the parameters first; `TYPE --help` shows them.
    """
    from worker.cli.session import with_session
    from worker.cli.submission import submit

    limits = {"timeout": timeout, "noProgress": no_progress, "memory": memory}
    order = Order(type=type_, limits=limits, **given)
    plan = plan_of(order, api.url, out)

    async def work(session: Session) -> int:
        with counter(out, len(plan.parameters)) as on_task:
            done = await submit(session, plan, on_task)
        tell(out, plan.job_id, order.key, done)
        if known := near_type(order.type):
            out.note(
                f"this machine has no handler for {order.type!r}; did you mean {known!r}?"
                f" An agent that has it runs it; else: millhand cancel {done.job.id}"
            )
        return await (wait_for(session, done, out) if wait else report(session, done, out))

    return with_session(api, work)


def near_type(type_: str) -> str | None:
    """Return the installed type that was perhaps meant; None where it is one, or is like none."""
    from difflib import get_close_matches
    from importlib import metadata

    from worker.executor.installed import GROUP

    known = {point.name for point in metadata.entry_points(group=GROUP)}
    return None if type_ in known else next(iter(get_close_matches(type_, known, n=1)), None)


async def report(session: Session, done: Submitted, out: Output) -> int:
    """Write what was made: the job's id, or everything for a program."""
    if out.is_json:
        job = await session.ask(lambda: session.api.get_job(done.job.id))  # as it is with its tasks
        out.json({"job": job.raw, "taskIds": done.task_ids, "created": done.created})
    else:
        click.echo(done.job.id)
        out.say(f"follow it: millhand watch {done.job.id}")
    return 0


def plan_of(order: Order, api_url: str, out: Output) -> Plan:
    """Return what is to be created; the files are where workers read them then.

    Raises: CliError where something that was typed makes no sense.
    """
    from worker.cli.check_parameters import check_sets
    from worker.cli.inputs import place_inputs, place_relative
    from worker.cli.parameters import (
        check_count,
        combinations,
        read_param_file,
        read_requires,
        read_retries,
        with_limits,
        with_retry,
    )
    from worker.cli.submission import Plan

    if order.files and any(name == "input" for name, _ in order.pairs):
        raise CliError(
            "files and -p input=… were both given", "files are the parameter `input`", code=ExitCode.USAGE
        )
    base = read_param_file(order.param_file) if order.param_file else [{}]
    sets = combinations(order.pairs, base)
    check_count(len(sets) * max(len(order.files), 1))
    if requires := read_requires(order.requires):
        sets = [{**one, "requires": requires} for one in sets]
    retry = read_retries(order.retry)
    sets = [with_retry(with_limits(one, order.limits), retry) for one in sets]
    varied = sorted({name for name in sets[0] if any(one.get(name) != sets[0].get(name) for one in sets)})
    if order.is_checked:
        given_files = [{"input": file} for file in order.files] or [{}]
        check_sets(order.type, order.handlers, [{**file, **one} for file in given_files for one in sets], out)
    inputs = place_inputs(order.files, api_url, order.store)
    named = [(Path(file).name, {"input": url}) for file, url in zip(order.files, inputs, strict=True)]
    each = [(name, {**given, **one}) for name, given in named or [("", {})] for one in sets]
    return Plan(
        key=order.key or str(uuid4()),
        type=order.type,
        title=order.title or " ".join([order.type, *(Path(file).name for file in order.files[:1])]),
        priority=order.priority,
        parameters=place_relative([parameters for _, parameters in each], api_url, order.store),
        titles=[task_title(order.type, name, parameters, varied) for name, parameters in each],
    )


def task_title(type_: str, file: str, parameters: dict[str, Any], varied: list[str]) -> str:
    """Return what tells a task from the others of its job: its file, and what varies."""
    parts = [file or type_, *(f"{name}={parameters.get(name)}" for name in varied)]
    return " ".join(parts)[:TITLE_CHARS]


@contextmanager
def counter(out: Output, total: int) -> Iterator[Callable[[], None]]:
    """Show on a terminal how many tasks are created; give what counts one."""
    if not out.is_terminal or total < 50:
        yield lambda: None
        return
    from rich.progress import Progress

    with Progress(console=out.console(stderr=True), transient=True) as progress:
        bar = progress.add_task("creating tasks", total=total)
        yield lambda: progress.advance(bar)


def tell(out: Output, expected_id: str, key: str | None, done: Submitted) -> None:
    """Say what was made, and what could not be promised."""
    tasks = human.count(len(done.task_ids), "task")
    if done.created == len(done.task_ids):
        out.say(f"job {done.job.id} with {tasks}")
    else:
        out.say(f"job {done.job.id} with {tasks}, {len(done.task_ids) - done.created} of them from before")
    if key and done.job.id != expected_id:
        click.echo(
            "warning: this server gives ids of its own; the same key again would make another job", err=True
        )


async def wait_for(session: Session, done: Submitted, out: Output) -> int:
    """Follow the job to its end, show how each task ended, and return the exit code."""
    from worker.cli.watch import follow_to_end

    return await follow_to_end(session, done.job.id, out, task_ids=done.task_ids)

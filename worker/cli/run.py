"""`millhand run`: one handler here, without a server."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Mapping
from itertools import chain, repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from worker.cli.agent_settings import AGENT_SETTINGS
from worker.cli.command import command as make_command
from worker.cli.exits import CliError, ExitCode
from worker.cli.needs_linux import require_linux
from worker.cli.setting import with_settings
from worker.cli.terminal import Output, output_options
from worker.cli.values import PARAMETER, TIME_LIMIT

if TYPE_CHECKING:
    from worker.cli.local_run import Plan, Ran
    from worker.executor.executor import StopRequest

__all__ = ["command"]

FOR_HANDLERS: Final = (
    "commands", "command_templates", "images", "container_engine", "container_network", "container_user",
)  # fmt: skip
TAKEN: Final = (
    "handlers", *FOR_HANDLERS, "timeout", "no_progress", "memory", "input_cache", "input_cache_size",
    "secrets_dir",
)  # fmt: skip
SETTINGS: Final = tuple(setting for setting in AGENT_SETTINGS if setting.name in TAKEN)


class CheckpointFile(click.ParamType[str]):
    """Nothing, for the last run of the handler here, or a JSON file."""

    name = "file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the path; "" for the last run."""
        if value and not Path(value).is_file():
            self.fail(f"{value!r} is no file; write --resume at the end, or --resume=FILE", param, ctx)
        if value.endswith(".py"):
            self.fail(f"{value!r} is no JSON file with a checkpoint; write --resume at the end", param, ctx)
        return str(value)


@make_command(
    "run",
    examples="""
millhand run sleep -p seconds=2
millhand run mesh-convert model.glb -p format=stl --out .
millhand run my_handler.py --param size=512 --input photo.jpg
millhand run my_handlers.py:render -p size=64        # one of several in a file
millhand run my_handler.py --timeout 5m --memory 4GiB
millhand run my_handler.py --reload                  # again on each save
millhand run my_handler.py --cancel-after 2          # does it stop when it is asked to?
millhand run my_handler.py --kill-after 2            # what is left of it …
millhand run my_handler.py --resume                  # … and does it go on from there?
""",
)
@click.argument("what", metavar="TYPE|FILE.py")
@click.argument("source", metavar="[FILE|URL]", required=False)
@click.option(
    "-p", "--param", "pairs", multiple=True, type=PARAMETER, metavar="KEY=VALUE",
    help="A parameter: JSON where it is JSON (64, true, '\"1.10\"'), else text.",
)  # fmt: skip
@click.option(
    "--param-file", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
    help="Parameters from a JSON object or a TOML file; -p wins over it.",
)  # fmt: skip
@click.option(
    "-i", "--input", "given", metavar="FILE|URL",
    help="The parameter `input`: a file of this machine, by its path from here, or a URL.",
)  # fmt: skip
@click.option(
    "--out", "target", type=click.Path(file_okay=False, path_type=Path), metavar="FOLDER",
    help="Copy the files that the run made there.",
)  # fmt: skip
@click.option(
    "--reload", "is_reloading", is_flag=True,
    help="Run it again whenever FILE.py or a module beside it is saved, until Ctrl-C.",
)  # fmt: skip
@click.option(
    "--cancel-after", "cancel_after_s", type=TIME_LIMIT, metavar="DURATION",
    help="Ask it to stop so long after its start, as a cancel or a drain does; it has 10 s for that.",
)  # fmt: skip
@click.option(
    "--kill-after", "kill_after_s", type=TIME_LIMIT, metavar="DURATION",
    help="Kill its process so long after its start (SIGKILL), and say what its task would have.",
)  # fmt: skip
@click.option(
    "--resume", is_flag=False, flag_value="", type=CheckpointFile(), metavar="[FILE.json]",
    help="Go on from the checkpoint of this handler's last run here, or from one in a JSON file.",
)  # fmt: skip
@with_settings("Agent", SETTINGS, dict, "agent")
@output_options
def command(
    *,
    what: str,
    pairs: tuple[tuple[str, str], ...],
    param_file: Path | None,
    source: str | None,
    given: str | None,
    target: Path | None,
    is_reloading: bool,
    cancel_after_s: float | None,
    kill_after_s: float | None,
    resume: str | None,
    agent: Mapping[str, Any],
    out: Output,
) -> int:
    """Run the handler of TYPE, or the one in FILE.py, once, as an agent would: in a child process.

    A FILE or URL behind it reaches the handler as the parameter `input`, as with --input.

    Shows progress and logs, then the result, the files and what it consumed. Exit 0 if it succeeded, else 1;
    with --reload 0 unless a run was interrupted.
    """
    from worker.cli.local_run import Plan
    from worker.cli.parameters import one_set, read_param_file, with_limits, with_retry
    from worker.executor.limits import Limits
    from worker.executor.named_secrets import NamedSecrets, secret_variables

    require_linux()
    parameters = one_set(pairs, read_param_file(param_file) if param_file else [{}])
    parameters = with_retry(with_limits(parameters, typed_limits(agent)), {})
    parameters = with_input(parameters, source, given)
    for name in FOR_HANDLERS:
        if value := agent[name]:
            os.environ[f"MILLHAND_{name.upper()}"] = as_variable(value)
    plan = Plan(
        what=what,
        parameters=parameters,
        handlers=agent["handlers"],
        limits=Limits(
            timeout_s=agent["timeout"], no_progress_s=agent["no_progress"], memory_bytes=agent["memory"]
        ),
        cancel_after_s=cancel_after_s,
        kill_after_s=kill_after_s,
        resume=resume,
        target=target,
        secrets=NamedSecrets(agent["secrets_dir"], secret_variables(os.environ)),
        input_cache=agent["input_cache"],
        input_cache_bytes=agent["input_cache_size"],
    )
    return asyncio.run(execute(plan, watched_file(what) if is_reloading else None, out))


def with_input(parameters: dict[str, Any], source: str | None, given: str | None) -> dict[str, Any]:
    """Return parameters with the input, as a path that means the same in the run's own folder.

    Raises: CliError where it was given twice, or there is no such file.
    """
    from worker.cli.inputs import check_file, is_file_here, is_url

    if source is not None and given is not None:
        raise CliError(
            f"a file ({source}) and --input {given} were both given", "give one", code=ExitCode.USAGE
        )
    source = given if source is None else source
    if source is not None and "input" in parameters:
        raise CliError(
            "a file and -p input=… were both given", "the file is the parameter `input`", code=ExitCode.USAGE
        )
    if source is None and isinstance(typed := parameters.get("input"), str) and is_file_here(typed):
        source = typed  # the handler runs in a folder of its own, where a relative path means nothing
    if source is None:
        return parameters
    return {**parameters, "input": source if is_url(source) else str(check_file(source).absolute())}


def as_variable(value: str | Path | tuple[str, ...]) -> str:
    """Return a setting as a child reads it."""
    if isinstance(value, Path):
        return str(value.absolute())
    return value if isinstance(value, str) else ",".join(value)


def typed_limits(agent: Mapping[str, Any]) -> dict[str, float | None]:
    """Return the limits of the command line: who types them means this run, not the most of any."""
    typed = click.core.ParameterSource.COMMANDLINE
    source = click.get_current_context().get_parameter_source
    names = {"timeout": "timeout", "noProgress": "no_progress", "memory": "memory"}
    return {name: agent[option] for name, option in names.items() if source(option) is typed}


def watched_file(what: str) -> Path:
    """Return the handler's file.

    Raises: CliError where there is none to watch.
    """
    from worker.executor.local import split_file

    path = split_file(what)[0]
    if path is None or not Path(path).is_file():
        raise CliError(f"--reload watches a file, and {what!r} is none", "give FILE.py", code=ExitCode.USAGE)
    return Path(path).absolute()


async def execute(plan: Plan, watched: Path | None, out: Output) -> int:
    """Run the handler once, or again on each save; return the exit code.

    After the first time --resume goes on from where it can: a success leaves nothing, and is no mistake.
    """
    from msgspec.structs import replace

    from worker import log
    from worker.cli.interruption import Interruption
    from worker.executor.executor import StopRequest

    log.configure("warning")
    with Interruption(out).watched() as interruption:
        if watched is not None:
            from worker.cli.reloading import reload

            plans = chain([plan], repeat(replace(plan, is_resume_needed=False)))
            made: list[Path] = []  # folders of artifacts; each save would keep its own for good

            async def again(stop: StopRequest) -> None:
                await asyncio.to_thread(remove_all_but_last, made)
                ran = await run_shown(next(plans), stop, out)
                made.extend([ran.folder] if ran.folder is not None else [])
                tell_faults(ran, ExitCode.OK, out)

            try:
                return await reload(watched, again, interruption, out)
            finally:
                remove_all_but_last(made)
        interruption.stop = StopRequest()
        ran = await run_once(plan, interruption.stop, out)
    code = ExitCode.OK if ran.run.outcome.error is None else ExitCode.FAILED
    if interruption.asked.is_set():
        code = ExitCode.INTERRUPTED
    tell_faults(ran, code, out)
    return code


def remove_all_but_last(folders: list[Path]) -> None:
    """Remove folders and their content, but for the last one: a person may still look at that."""
    while len(folders) > 1:
        shutil.rmtree(folders.pop(0), ignore_errors=True)


def tell_faults(ran: Ran, code: ExitCode, out: Output) -> None:
    """Say what went wrong beside a run that was shown.

    Raises: CliError, the last of them; with the run's exit code, unless that is 0.
    """
    if not ran.faults:
        return
    *others, last = ran.faults
    for fault in others:
        out.note(f"{fault.message}; {fault.todo}")
    raise CliError(last.message, last.todo, code=last.code if code is ExitCode.OK else code)


async def run_once(plan: Plan, stop: StopRequest, out: Output) -> Ran:
    """Run it and show how it ended.

    Raises: CliError where there is no handler that could run.
    """
    from worker.executor.local import BrokenHandler, NoSuchHandler

    try:
        return await run_shown(plan, stop, out)
    except BrokenHandler as exc:
        raise CliError(str(exc), "correct it, and run it again", code=ExitCode.FAILED) from exc
    except NoSuchHandler as exc:
        raise CliError(str(exc), "`millhand handlers` lists them", code=ExitCode.USAGE) from exc


async def run_shown(plan: Plan, stop: StopRequest, out: Output) -> Ran:
    """Run it once, live, then show how it ended; a copy that failed is one of its faults."""
    from msgspec.structs import replace

    from worker.cli.local_run import run_here
    from worker.cli.local_view import copy_files, events_shown, show

    with events_shown(out) as on_event:
        ran = await run_here(plan, stop, on_event)
    copied, fault = copy_files(ran, plan.target) if plan.target else ([], None)
    show(out, ran, copied)
    return ran if fault is None else replace(ran, faults=(*ran.faults, fault))

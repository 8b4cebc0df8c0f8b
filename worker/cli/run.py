"""`millhand run`: one handler here, without a server."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from worker.cli import human, paths
from worker.cli.command import command as make_command
from worker.cli.exits import CliError, ExitCode
from worker.cli.setting import with_settings
from worker.cli.settings import AGENT_SETTINGS
from worker.cli.terminal import Output, output_options
from worker.cli.values import PARAMETER

if TYPE_CHECKING:
    from worker.executor.executor import Event, StopRequest
    from worker.executor.outcome import Outcome
    from worker.storage.file import StoredFile

    Files = tuple[StoredFile, ...]

__all__ = ["command"]

TAKEN: Final = ("handlers", "commands", "timeout", "no_progress", "memory")
SETTINGS: Final = tuple(setting for setting in AGENT_SETTINGS if setting.name in TAKEN)
GRACE_S: Final = 10.0  # for the handler after Ctrl-C; a second one ends it now


@make_command(
    "run",
    examples="""
millhand run sleep -p seconds=2
millhand run mesh-convert model.glb -p format=stl --out .
millhand run my_handler.py -p size=64                # a file of your own
millhand run my_handlers.py:render -p size=64        # one of several in a file
millhand run my_handler.py --timeout 5m --memory 4GiB
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
    "--out", "target", type=click.Path(file_okay=False, path_type=Path), metavar="FOLDER",
    help="Copy the files that the run made there.",
)  # fmt: skip
@with_settings("Agent", SETTINGS, dict, "agent")
@output_options
def command(
    *,
    what: str,
    pairs: tuple[tuple[str, str], ...],
    param_file: Path | None,
    source: str | None,
    target: Path | None,
    agent: Mapping[str, Any],
    out: Output,
) -> int:
    """Run the handler of TYPE, or the one in FILE.py, once, as an agent would: in a child process.

    A FILE or URL behind it reaches the handler as the parameter `input`.

    Shows progress and logs, then the result, the files and what it consumed. Exit 0 if it succeeded, else 1.
    """
    from worker.cli.inputs import check_file, is_file_here, is_url
    from worker.cli.parameters import one_set, read_param_file, with_limits

    parameters = one_set(pairs, read_param_file(param_file) if param_file else [{}])
    parameters = with_limits(parameters, typed_limits(agent))
    if source is not None and "input" in parameters:
        raise CliError(
            "a file and -p input=… were both given", "the file is the parameter `input`", code=ExitCode.USAGE
        )
    if source is None and isinstance(given := parameters.get("input"), str) and is_file_here(given):
        source = given  # the handler runs in a folder of its own, where a relative path means nothing
    if source is not None:
        parameters["input"] = source if is_url(source) else str(check_file(source).absolute())
    if agent["commands"]:
        os.environ["MILLHAND_COMMANDS"] = ",".join(agent["commands"])
    outcome, files, is_interrupted = asyncio.run(execute(what, parameters, agent, out))
    copied = [copy(file.url, file.name, target) for file in files] if target else []
    show(out, outcome, files, copied)
    if is_interrupted:
        return ExitCode.INTERRUPTED
    return ExitCode.OK if outcome.error is None else ExitCode.FAILED


def typed_limits(agent: Mapping[str, Any]) -> dict[str, float | None]:
    """Return the limits of the command line: who types them means this run, not the most of any."""
    typed = click.core.ParameterSource.COMMANDLINE
    source = click.get_current_context().get_parameter_source
    names = {"timeout": "timeout", "noProgress": "no_progress", "memory": "memory"}
    return {name: agent[option] for name, option in names.items() if source(option) is typed}


async def execute(
    what: str, parameters: dict[str, Any], agent: Mapping[str, Any], out: Output
) -> tuple[Outcome, Files, bool]:
    """Run the handler; tell whether somebody interrupted it."""
    from worker import log
    from worker.executor.executor import StopRequest
    from worker.executor.limits import Limits
    from worker.executor.local import NoSuchHandler, run_local

    log.configure("warning")
    stop = StopRequest()
    with interruptible(stop, out), events_shown(out) as on_event:
        try:
            outcome, files = await run_local(
                what,
                parameters,
                on_event,
                state_dir=paths.state_home() / "run",
                handlers=agent["handlers"],
                stop=stop,
                limits=Limits(
                    timeout_s=agent["timeout"],
                    no_progress_s=agent["no_progress"],
                    memory_bytes=agent["memory"],
                ),
            )
        except NoSuchHandler as exc:
            raise CliError(str(exc), "`millhand handlers` lists them", code=ExitCode.USAGE) from exc
        except OSError as exc:
            raise CliError(
                f"{exc}", "check $XDG_STATE_HOME and the disk", code=ExitCode.CONFIGURATION
            ) from exc
    return outcome, files, stop.is_requested


@contextmanager
def interruptible(stop: StopRequest, out: Output) -> Iterator[None]:
    """Let Ctrl-C ask the handler to stop, and a second one end it."""
    from worker.api.wire import ErrorKind

    loop = asyncio.get_running_loop()

    def ask() -> None:
        if not stop.is_requested:
            out.say("asking the handler to stop; once more Ctrl-C ends it now")
        stop.request(ErrorKind.CANCELLED, "interrupted", 0.0 if stop.is_requested else GRACE_S)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ask)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


@contextmanager
def events_shown(out: Output) -> Iterator[Any]:
    """Show progress and logs on stderr: a bar on a terminal, lines elsewhere."""
    from worker.executor.executor import LogEvent, ProgressEvent

    if out.is_terminal and not out.is_json:
        from rich.progress import Progress

        with Progress(console=out.console(stderr=True), transient=True) as progress:
            bar = progress.add_task("running", total=1.0)

            def draw(event: Event) -> None:
                if isinstance(event, ProgressEvent):
                    progress.update(bar, completed=event.ratio, description=event.message or "running")
                elif isinstance(event, LogEvent):
                    progress.console.print(f"{event.stream}: {event.line}", markup=False)

            yield draw
        return

    def write(event: Event) -> None:
        if isinstance(event, ProgressEvent):
            out.say(f"{human.percent(event.ratio):>5} {event.message or ''}".rstrip())
        elif isinstance(event, LogEvent):
            click.echo(f"{event.stream}: {event.line}", err=True)

    yield write


def copy(url: str, name: str, target: Path) -> Path:
    """Copy a file that the run made into a folder."""
    from worker.cli.demo_check import path_of

    source = path_of({"url": url})
    path = target / name
    if source is None:
        raise CliError(
            f"{name} is at {url}, and cannot be copied from there", "fetch it with the store's tools"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copyfile(source, path))
    except OSError as exc:
        raise CliError(f"{path} cannot be written: {exc.strerror}", "choose another --out") from exc


def show(out: Output, outcome: Outcome, made: Files, copied: list[Path]) -> None:
    """Write result, files and usage."""
    if out.is_json:
        out.json(document(outcome, made, copied))
        return
    import json

    from rich.text import Text

    from worker.cli.view import record, status_text

    usage = outcome.usage
    pairs: list[tuple[str, object]] = [("result", status_text(str(outcome.code)))]
    if outcome.error is not None:
        pairs.append(("error", Text(outcome.error.text(), style="red")))
    pairs += [
        ("wall", human.duration(usage.wall_s)), ("CPU", human.duration(usage.cpu_s)),
        ("GPU", human.duration(usage.gpu_allocated_s)), ("peak RAM", human.size(usage.ram_peak_bytes)),
        ("average RAM", human.size(usage.ram_average_bytes)), ("read", human.size(usage.disk_read_bytes)),
        ("written", human.size(usage.disk_written_bytes)),
    ]  # fmt: skip
    files = [str(path) for path in copied] or [file.url for file in made]
    pairs += [("file", name) for name in files]
    record(out, "run", pairs)
    if outcome.error is not None and outcome.error.traceback:
        out.say(outcome.error.traceback)
    if outcome.value:
        out.console().print("value")
        out.console().print_json(json.dumps(outcome.value, ensure_ascii=False, default=str))


def document(outcome: Outcome, made: Files, copied: list[Path]) -> dict[str, Any]:
    """Return the outcome as JSON."""
    return {
        "resultCode": str(outcome.code),
        "value": outcome.value,
        "error": outcome.error.as_results() if outcome.error is not None else None,
        "usage": outcome.usage.as_details(),
        "files": [file.as_results() for file in made],
        "copied": [str(path) for path in copied],
    }

"""`millhand up --demo`: real tasks on real models, checked to the byte."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Final
from uuid import uuid4

from msgspec import Struct, structs

from handlers import models
from worker import log
from worker.api.errors import ApiError
from worker.api.models import Job
from worker.cli import human
from worker.cli.demo_check import problems
from worker.cli.demo_pictures import keep_pictures, pictures_plan, why_no_pictures
from worker.cli.exits import CliError, ExitCode
from worker.cli.follow import follow, summary
from worker.cli.local import keep_token
from worker.cli.mill import Layout, Mill, check_port, ended_early, free_port
from worker.cli.outcomes import TaskOutcome, files_of, outcome_table, read_outcomes
from worker.cli.session import Session, explain, session
from worker.cli.stopping import stopping_on_signals
from worker.cli.submission import Plan, submit
from worker.cli.terminal import Output

__all__ = ["demo_plan", "run_demo"]

FORMATS: Final = ("stl", "ply", "obj")
BROKEN_FORMAT: Final = "stl"
LIMIT_S: Final = 300.0  # of the whole; it takes some five seconds
START_S: Final = 45.0  # until the agent says that it has started; it takes a second
STALL_S: Final = 60.0  # without any task that moves; the slowest takes two seconds, with its imports
STARTED: Final = "agent.started"  # what the agent logs then
TAIL: Final = 15  # lines of each child's log that a failure shows


class Shown(Struct, frozen=True):
    """What the demo came to."""

    outcomes: list[TaskOutcome]
    problems: list[str]
    wall_s: float
    pictures: list[TaskOutcome]
    kept: list[Path]  # the pictures


def run_demo(
    folder: Path | None, port: int | None, keep: bool, variables: Mapping[str, str], out: Output
) -> int:
    """Run the demo and return the exit code: 0 only if everything went as announced."""
    log.configure("warning")  # of this process; what server and agent say is kept for a failure
    if port is not None:
        check_port(port)
    with workplace(folder, keep) as place:
        layout = Layout(
            folder=place, port=port or free_port(), token_file=keep_token(place), store=str(place / "outputs")
        )
        shown = asyncio.run(play(layout, variables, out))
        if shown is None:
            out.say("interrupted; nothing is left running")
            return ExitCode.INTERRUPTED
        return conclude(shown, layout, folder is not None or keep, out)


@contextmanager
def workplace(folder: Path | None, keep: bool) -> Iterator[Path]:
    """Give the folder of the demo; a temporary one is removed, unless it is kept."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        yield Path(tempfile.mkdtemp(prefix="demo-", dir=folder.absolute()))
        return
    place = Path(tempfile.mkdtemp(prefix="millhand-demo-"))
    try:
        yield place
    finally:
        if not keep:
            shutil.rmtree(place, ignore_errors=True)


async def play(layout: Layout, variables: Mapping[str, str], out: Output) -> Shown | None:
    """Start everything, let it work, and stop it; None where somebody interrupted."""
    started = asyncio.Event()

    def listen(name: str, line: str) -> None:
        if name == "agent" and STARTED in line:
            started.set()

    settings = {**variables, "MILLHAND_STORE": layout.store, "MILLHAND_LOG_LEVEL": "info"}
    mill = Mill(layout, settings, listen)
    out.say(f"starting server and agent on {layout.url}")
    out.say(f"watch it in a browser there (the token to sign in: {layout.token_file})")
    with stopping_on_signals(mill.kill) as stopping:
        async with mill:
            work = asyncio.create_task(do_work(layout, out, started))
            end = asyncio.create_task(mill.first_end())
            asked = asyncio.create_task(stopping.asked())
            try:
                await asyncio.wait({work, end, asked}, return_when=asyncio.FIRST_COMPLETED, timeout=LIMIT_S)
                if stopping.signal is not None:
                    return None
                if not work.done():
                    raise (
                        ended_early(await end)
                        if end.done()
                        else stuck(f"is not done after {LIMIT_S:.0f} s", mill)
                    )
                try:
                    shown = work.result()
                except Stuck as exc:
                    raise stuck(str(exc), mill) from exc
            finally:
                for task in (work, end, asked):
                    task.cancel()
                await asyncio.wait({work, end, asked})
                ended_well = await mill.stop()
            if not ended_well:
                shown = structs.replace(shown, problems=[*shown.problems, *mill.bad_ends()])
            return shown if not shown.problems else explained(shown, mill)


class Stuck(Exception):  # noqa: N818 - a state, told as a CliError
    """The demo does not go on; the message says since when."""


async def do_work(layout: Layout, out: Output, agent_started: asyncio.Event) -> Shown:
    """Wait for the agent, submit the tasks, follow them, and check what came out.

    Raises: Stuck where the agent does not start, or no task moves for a long time.
    """
    try:
        async with asyncio.timeout(START_S):
            await agent_started.wait()
    except TimeoutError:
        raise Stuck(f"waits for its agent, which has not started after {START_S:.0f} s") from None
    plan = demo_plan()
    started = monotonic()
    async with session(layout.api) as opened:
        try:
            done = await submit(opened, plan)
            out.say(announcement(plan))
            await follow(opened, done.job.id, out, total=len(plan.parameters), on_look=check_moving)
            outcomes = await read_outcomes(opened, done.job.id, done.task_ids)
            wall_s = monotonic() - started
            pictures = await draw(opened, out)
        except ApiError as exc:
            raise Stuck(f"cannot go on: {explain(exc, layout.api).message}") from exc
    wrong = [
        *problems(outcomes, len(plan.parameters), plan.titles[-1]),
        *problems(pictures, len(pictures), None),
    ]
    return Shown(outcomes, wrong, wall_s, pictures, keep_pictures(pictures) if pictures else [])


async def draw(opened: Session, out: Output) -> list[TaskOutcome]:
    """Have some models drawn, where that can be done, and say where it cannot."""
    if reason := await asyncio.to_thread(why_no_pictures):
        out.say(f"no pictures are drawn: {reason}")
        return []
    plan = pictures_plan()
    done = await submit(opened, plan)
    out.say(f"submitted {len(plan.parameters)} pictures of models to draw")
    await follow(opened, done.job.id, out, total=len(plan.parameters), on_look=check_moving)
    return await read_outcomes(opened, done.job.id, done.task_ids)


def demo_plan() -> Plan:
    """Return the tasks: every model in every format, and last the broken one."""
    pairs = [(path, format_) for path in models.paths() for format_ in FORMATS]
    pairs.append((models.folder() / models.BROKEN, BROKEN_FORMAT))
    return Plan(
        key=str(uuid4()),
        type="mesh-convert",
        title="millhand demo",
        parameters=[{"input": path.as_uri(), "format": format_} for path, format_ in pairs],
        titles=[f"{path.name} → {format_}" for path, format_ in pairs],
    )


def announcement(plan: Plan) -> str:
    """Say what will happen."""
    return (
        f"submitted {len(plan.parameters) - 1} conversions of {len(models.paths())} models to"
        f" {', '.join(FORMATS)}, and one of a broken model that must fail"
    )


def check_moving(job: Job, quiet_s: float) -> None:
    """Raise Stuck where nothing of the job has moved for too long."""
    if quiet_s > STALL_S:
        raise Stuck(f"stands still: nothing has moved for {STALL_S:.0f} s ({summary(job)})")


def stuck(how: str, mill: Mill) -> CliError:
    """Return the error of a demo that does not come to its end."""
    lines = "\n  ".join(f"{name} | {line}" for name, line in mill.tails(TAIL))
    return CliError(f"the demo {how}", f"the last that was said:\n  {lines}")


def explained(shown: Shown, mill: Mill) -> Shown:
    """Add what server and agent said to what went wrong."""
    said = [f"{name} | {line}" for name, line in mill.tails(TAIL)]
    return structs.replace(shown, problems=[*shown.problems, *said])


def conclude(shown: Shown, layout: Layout, is_kept: bool, out: Output) -> int:
    """Show the table and the verdict; return the exit code."""
    broken = next((one for one in shown.outcomes if one.result == "Failed"), None)
    if out.is_json:
        tasks = [one.as_json() for one in (*shown.outcomes, *shown.pictures)]
        pictures = list(map(str, shown.kept))
        told = {"ok": not shown.problems, "problems": shown.problems, "tasks": tasks, "pictures": pictures}
        out.json(told)
    else:
        out.table(outcome_table([*shown.outcomes, *shown.pictures]))
    if broken is not None:
        out.say(f"{broken.task.title} failed, as announced:\n  {broken.error}")
    where = f"kept in {layout.store}" if is_kept else "checked and removed (--keep keeps them)"
    out.say(f"output files: {where}")
    for path in shown.kept:
        out.say(f"picture: {path}")
    files = sum(len(files_of(one.run)) for one in shown.outcomes)
    if shown.problems:
        raise CliError("the demo did not go as announced", "\n  ".join(shown.problems))
    out.say(
        f"everything went as announced in {human.duration(shown.wall_s)}: {len(shown.outcomes) - 1} models"
        f" converted, {human.count(files, 'file')} there and whole (SHA-256), 1 broken model refused"
    )
    return ExitCode.OK

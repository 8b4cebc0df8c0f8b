"""`command`: run a program that the operator of the machine allows."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from handlers.programs.allowed import find_program, program_of
from handlers.programs.filling import checked_values, filled
from handlers.programs.outputs import check_patterns, keep_outputs
from handlers.programs.printed import Printed
from handlers.programs.program import ending, run_program
from handlers.programs.progress import ProgressReader, progress_reader
from handlers.programs.templates import VARIABLE as TEMPLATES
from handlers.programs.templates import TemplateError, find_templates
from worker import Context, Fail, Retry, handler
from worker.sdk.errors import InvalidParameters

__all__ = ["command"]

# What a program sees of the worker's environment: how to find libraries, how to talk, its GPUs and
# threads, and the name of its process tree, by which the worker finds what is left of it.
PASSED_ON = frozenset({"LANG", "LD_LIBRARY_PATH", "MILLHAND_TREE", "PATH", "TZ"})
PASSED_ON_PREFIXES = ("CUDA_", "LC_", "NVIDIA_", "OMP_")


@handler("command")
def command(
    ctx: Context,
    *,
    program: str | None = None,
    args: list[str] | None = None,
    outputs: list[str] | None = None,
    progress: str | list[str] | None = None,
    template: str | None = None,
    values: dict[str, Any] | None = None,
) -> dict[str, Any]:
    r"""Run a program that the operator allows, never through a shell, in the run's own folder.

    A task gives either `program`, with any arguments, or `template`, with the values that it takes.

    Args:
        ctx: the run.
        program: its name or absolute path; it must be in MILLHAND_COMMANDS on the machine.
        args: its arguments, one string each.
        outputs: patterns below the run's folder, as ``renders/*.png``; the files that match are kept.
        progress: regular expressions with one group (percent) or two (so many, of so many), as
            ``frame (\d+) of (\d+)``, or with named ones; by default ``NN%`` and ``N/M`` are understood.
        template: the name of a command in the file MILLHAND_COMMAND_TEMPLATES of the machine.
        values: what it takes, by name.
    """
    if template is not None:
        refuse_beside_template(program=program, args=args, outputs=outputs, progress=progress)
        plan = plan_of_template(ctx, template, values or {})
    elif program is None or values is not None:
        raise InvalidParameters(["give program, or template with values"])
    else:
        plan = plan_of_program(program, args or [], outputs or [], progress)
    return carry_out(ctx, plan)


class Plan(NamedTuple):
    """What is to be run, and what its end means."""

    name: str
    argv: list[str]
    outputs: list[str]
    ratio_in: ProgressReader
    environment: Mapping[str, str] = {}
    timeout_s: float | None = None
    success: Sequence[int] = (0,)
    retry: Sequence[int] = ()
    retry_after_s: float | None = None


def plan_of_program(
    program: str, args: list[str], outputs: list[str], progress: str | list[str] | None
) -> Plan:
    """Return what a task says that chooses program and arguments itself."""
    check_patterns(outputs)
    ratio_in = progress_reader(progress)
    return Plan(program, [find_program(program, os.environ), *args], outputs, ratio_in)


def plan_of_template(ctx: Context, name: str, values: Mapping[str, Any]) -> Plan:
    """Return what a task says that only gives values.

    Raises:
        Retry: the machine's file of templates is broken; it may be mended, or another machine's is not.
        Fail: there is no such template, or a value is refused, or makes a pattern that leaves the folder.
    """
    try:
        templates = find_templates(os.environ)
    except TemplateError as exc:
        raise Retry(f"the templates of this machine cannot be used: {exc}") from exc
    if (template := templates.get(name)) is None:
        raise Fail(
            f"there is no template {name[:60]!r} on this machine "
            f"(there are: {', '.join(templates) or 'none'}); "
            f"its operator defines them in the file that {TEMPLATES} names"
        )
    checked = checked_values(template, values)
    path = program_of(name, str(template.argv[0]), os.environ)
    filling = filled(template, checked, ctx)
    check_patterns(filling.outputs)  # a value may have made one that cannot be
    return Plan(
        name,
        [path, *filling.arguments],
        filling.outputs,
        progress_reader(template.progress, filling.total),
        template.environment,
        template.timeout_s,
        template.success_exit_codes,
        template.retry_exit_codes,
        template.retry_after_s,
    )


def refuse_beside_template(**given: object) -> None:
    """Raise InvalidParameters where a task chooses what the template chooses."""
    if wrong := [name for name, value in given.items() if value is not None]:
        raise InvalidParameters([f"{name}: cannot be given beside template, which says it" for name in wrong])


def carry_out(ctx: Context, plan: Plan) -> dict[str, Any]:
    """Run a program and keep its files."""
    printed = Printed(ctx, plan.ratio_in)
    environment = environment_of(ctx.workdir, os.environ) | dict(plan.environment)
    exit_code = run_program(ctx, plan.argv, environment, ctx.workdir, printed.take, timeout_s=plan.timeout_s)
    if exit_code not in plan.success:
        said = f"{plan.name} {ending(exit_code)}{printed.tail()}"
        raise Retry(said, plan.retry_after_s) if exit_code in plan.retry else Fail(said)
    names = keep_outputs(ctx, ctx.workdir, plan.outputs)
    ctx.progress(1.0, "done")
    return {"exitCode": exit_code, "lines": printed.count, "outputs": names}


def environment_of(workdir: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the program's environment: a few variables of the worker's, and a home of its own."""
    passed_on = {
        name: value
        for name, value in environment.items()
        if name in PASSED_ON or name.startswith(PASSED_ON_PREFIXES)
    }
    return passed_on | {"HOME": str(workdir), "TMPDIR": str(workdir)}

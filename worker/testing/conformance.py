"""Check that a handler keeps what agents and people count on, in real child processes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from worker.sdk.handler import spec_of
from worker.testing.child import ChildRun, ChildRunner, Moment
from worker.testing.growth import growth_per_run
from worker.testing.leaks import Glass, leaks_in
from worker.testing.origin import Handler
from worker.testing.report import Check, HandlerReport, Verdict
from worker.testing.trial import Trial, shown

__all__ = ["check_handler"]

GRACE_S: Final = 10.0
RUNS: Final = 100
MIN_RUNS: Final = 20  # fewer have no slope
GROWTH_BYTES: Final = 16 * 1024  # a run: a leak of less needs two months of a run a minute for a gigabyte
TIMEOUT_S: Final = 300.0
SHOWN_LEAKS: Final = 5
MOMENTS: Final[Mapping[Moment, str]] = {"start": "at its start", "telling": "when it had told something"}


def check_handler(
    handler: Handler,
    parameters: Mapping[str, Any] | None = None,
    *,
    long_parameters: Mapping[str, Any] | None = None,
    ignore: Collection[str] = (),
    secrets: Collection[str] | Mapping[str, str] = (),
    grace_s: float = GRACE_S,
    runs: int = RUNS,
    growth_bytes: float = GROWTH_BYTES,
    timeout_s: float = TIMEOUT_S,
    folder: Path | None = None,
) -> HandlerReport:
    """Run a handler in real child processes, some 110 times, and report how it behaves.

    It is checked that it runs; gives the same output for the same parameters; stops within its grace when
    it is asked to; survives SIGKILL, and goes on from its checkpoint (or the start) to the same output;
    keeps its process and its memory; and shows no secret, in any form that an agent would take out, and
    reversed and in hex.

    Args:
        handler: a decorated function at the top level of its module; or a type, or ``file.py[:type]``.
        parameters: of a quick run.
        long_parameters: of a run that lasts long enough to be stopped and killed, a second or so; by
            default `parameters`.
        ignore: keys of the result and names of artifacts that differ from run to run, as times do.
        secrets: texts that it must not show, beside its parameters annotated `Secret` and what it gives
            to `ctx.secret`; or a mapping of those that it asks for by name.
        grace_s: how long it may go on once it is asked to stop.
        runs: how many follow each other for the check of memory, from 20.
        growth_bytes: how much memory may be added a run, by its slope after a warm-up.
        timeout_s: the most that one run may take.
        folder: where it runs; a temporary one by default.

    Raises:
        TypeError: it is no handler, or no child could find it.
        RuntimeError: this system cannot run handlers in child processes, as macOS cannot.
        ValueError: there are too few `runs`.
    """
    if runs < MIN_RUNS:
        raise ValueError(f"runs must be {MIN_RUNS} or more, not {runs}: fewer have no slope")
    glass = Glass()
    with TemporaryDirectory(prefix="millhand-check-") as temporary:
        place = folder or Path(temporary)
        named = secrets if isinstance(secrets, Mapping) else {}
        with ChildRunner(
            handler, place, timeout_s=timeout_s, redactor=lambda: glass, secrets=named
        ) as runner:
            trial = Trial(runner, parameters or {}, long_parameters, frozenset(ignore), grace_s)
            checks = [it_runs(trial)]
            if checks[0].verdict is Verdict.OK:
                checks += [
                    it_repeats_its_output(trial),
                    it_stops_when_asked(trial),
                    it_survives_a_kill(trial),
                    it_keeps_its_memory(trial, runs, growth_bytes),
                ]
            checks.append(it_shows_no_secret(trial, glass.told | set(named.values() if named else secrets)))
    return HandlerReport(type_of(handler), tuple(checks))


def it_runs(trial: Trial) -> Check:
    """Run it once."""
    run = trial.keep(trial.quick())
    if run.error is not None:
        return Check("runs", Verdict.FAILED, run.text)
    files = f", {len(run.artifacts)} artifacts" if run.artifacts else ""
    return Check("runs", Verdict.OK, f"{len(run.value)} values{files}")


def it_repeats_its_output(trial: Trial) -> Check:
    """Run it again: what depends on chance, or on the run before, cannot be resumed to the same output."""
    name = "repeats its output"
    again = trial.keep(trial.quick())
    if again.error is not None:
        return Check(name, Verdict.FAILED, f"the second run failed: {again.text}")
    if found := trial.differences(trial.runs[0], again):
        return Check(name, Verdict.FAILED, "\n".join([*found, "name in ignore= what must differ"]))
    return Check(name, Verdict.OK, "the same parameters gave the same output")


def it_stops_when_asked(trial: Trial) -> Check:
    """Ask it to stop at its start, and when it has told something."""
    name = "stops when asked"
    seen = []
    for moment, words in MOMENTS.items():
        run = trial.long(cancel_at=moment)
        if run.error is None:
            continue
        if run.kind != "cancelled":
            return Check(name, Verdict.FAILED, f"asked {words}, it ended as {run.text}")
        if run.error.signal is not None:
            text = (
                f"asked {words}, it went on for {trial.grace_s:g} s and was killed: call ctx.check() in loops"
            )
            return Check(name, Verdict.FAILED, text)
        seen.append(f"{words}: within {run.stopped_s or 0:.2f} s")
    if not seen:
        return Check(
            name, Verdict.NOT_SHOWN, "it ended before it saw that it should stop; give long_parameters"
        )
    return Check(name, Verdict.OK, f"{', '.join(seen)} of {trial.grace_s:g} s")


def it_survives_a_kill(trial: Trial) -> Check:
    """Kill it after its first checkpoint, or where it saves none once it tells something; then go on."""
    name = "survives SIGKILL"
    whole = trial.whole()
    if whole.error is not None:
        return Check(name, Verdict.FAILED, f"with long_parameters it fails: {whole.text}")
    killed = trial.long(kill_at=kill_moment(whole))
    if killed.error is None:  # it told nothing before its end
        killed = trial.long(kill_at="start")
    if killed.error is None:
        return Check(name, Verdict.NOT_SHOWN, "it ended before it could be killed; give long_parameters")
    if killed.kind != "crashed":
        return Check(name, Verdict.FAILED, f"killed, it ended as {killed.text}")
    again = trial.long(resume=killed.checkpoint, attempt=2)
    how = "killed" if killed.checkpoint is None else f"killed after its checkpoint {shown(killed.checkpoint)}"
    if again.error is not None:
        return Check(name, Verdict.FAILED, f"{how}, the next attempt fails: {again.text}")
    if found := trial.differences(whole, again):
        return Check(
            name, Verdict.FAILED, "\n".join([f"{how}, the next attempt has another output:", *found])
        )
    went_on = "it began anew" if killed.checkpoint is None else "it went on from there"
    return Check(name, Verdict.OK, f"{how}, {went_on} to the same output")


def kill_moment(whole: ChildRun) -> Moment:
    """Return when a run like this one is worth being killed."""
    if whole.checkpoint is not None:
        return "checkpoint"
    return "telling" if whole.progress or whole.lines else "start"


def it_keeps_its_memory(trial: Trial, count: int, growth_bytes: float) -> Check:
    """Run it again and again in a warm process, and look at the slope of its memory."""
    name = "keeps its memory"
    runs = []
    for number in range(1, count + 1):
        run = trial.quick()
        trial.forget(run)  # a hundred times what a handler makes may be more than the disk holds
        if run.error is not None:
            return Check(name, Verdict.FAILED, f"run {number} in a warm process failed: {run.text}")
        runs.append((run.pid, run.memory_bytes))
    if len(pids := {pid for pid, _ in runs}) > 1:
        return many_processes(name, len(pids), count)
    sizes = [size_bytes for _, size_bytes in runs if size_bytes is not None]
    if len(sizes) < count:
        return Check(name, Verdict.NOT_SHOWN, "the memory of its process could not be read")
    per_run = growth_per_run(sizes)
    limit = f"at most {growth_bytes / 1024:g} KiB"
    text = f"{per_run / 1024:+.1f} KiB a run over {count} runs, after a warm-up; {limit}"
    return Check(name, Verdict.FAILED if per_run > growth_bytes else Verdict.OK, text)


def many_processes(name: str, count: int, runs: int) -> Check:
    """Return the check of a handler that did not stay in one process."""
    if count == runs:
        return Check(name, Verdict.NOT_SHOWN, "each run had a process of its own, as with isolation='fresh'")
    text = f"its process was replaced {count - 1} times in {runs} runs; the log says why (child.replaced)"
    return Check(name, Verdict.FAILED, text)


def it_shows_no_secret(trial: Trial, secrets: Collection[str]) -> Check:
    """Search everything that the runs before told."""
    name = "shows no secret"
    if not secrets:
        return Check(
            name, Verdict.NOT_SHOWN, "it was given none, by a parameter annotated Secret or by secrets="
        )
    found = list(dict.fromkeys(leak for run in trial.runs for leak in leaks_in(run, secrets)))
    if found:
        more = [f"and {len(found) - SHOWN_LEAKS} more"] if len(found) > SHOWN_LEAKS else []
        return Check(name, Verdict.FAILED, "\n".join([*found[:SHOWN_LEAKS], *more]))
    return Check(name, Verdict.OK, f"{len(secrets)} looked for in {len(trial.runs)} runs")


def type_of(handler: Handler) -> str:
    """Return a handler's type; what was asked for where it is no function."""
    if isinstance(handler, str):
        return handler
    spec = spec_of(handler)
    assert spec is not None
    return spec.type

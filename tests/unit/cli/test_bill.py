"""The bills of runs, for people and programs."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from worker.api.models import Run
from worker.cli.bill import bill_table, bills_document, usage_pairs
from worker.cli.figures import bill_of

AT = "2026-01-01T00:00:00.000Z"
DETAILS = {
    "wallSeconds": 2.0,
    "cpuUserSeconds": 1.0,
    "cpuSystemSeconds": 0.5,
    "ramPeakBytes": 2 * 1024**2,
    "ramAverageBytes": 1024**2,
    "diskReadBytes": 0,
    "diskWrittenBytes": None,
    "gpuAllocatedSeconds": 0.0,
    "complete": True,
    "methods": {"cpu_user_s": "cgroup", "ram_average_bytes": "cgroup_sampled"},
    "coverage": {"cpu_user_s": 1.0, "ram_average_bytes": 0.5},
    "reasons": {"disk_written_bytes": "another user's process"},
}
FIELDS = {"wallClockTime": 2.0, "CPUTime": "1.5", "GPUTime": 0.0, "RAMUsage": 2 * 1024**2}


def run(id_: str, usage: dict[str, Any] | None = None, **fields: Any) -> Run:
    """Return a run that has begun."""
    results = {} if usage is None else {"usage": usage}
    raw = {"id": id_, "startedAt": AT, "resultCode": "Success", "results": results}
    made = Run.read(raw | fields)
    assert made is not None
    return made


def rows(runs: list[Run], width: int = 240) -> list[str]:
    """Return the table's lines, each with single spaces."""
    console = Console(file=io.StringIO(), width=width)
    console.print(bill_table(runs))
    assert isinstance(console.file, io.StringIO)
    lines = [" ".join(line.split()) for line in console.file.getvalue().splitlines()]
    return [line for line in lines if line.strip("─ ")]


def test_a_row_for_each_run_and_their_sum() -> None:
    """Unknown is a dash and in no sum, which says so; a placeholder is no run that costs."""
    placeholder = Run.read({"id": "p"})
    assert placeholder is not None
    lost = run("b", {"complete": False}, resultCode="Failed")
    text = rows([run("a", DETAILS, **FIELDS), lost, placeholder])
    assert text[0] == "run result wall CPU GPU peak RAM avg RAM read written"
    assert text[1] == "a Success 2.00 s 1.50 s 0 ms 2.0 MiB 1.0 MiB 0 B –"
    assert text[2] == "b Failed * – – – – – – –"
    assert text[3] == "2 runs 2.00 s 1.50 s 0 ms 2.0 MiB – 0 B –"
    assert text[4] == "* not the figures of its end"
    assert "not known, and not in the sum: wall of 1, CPU of 1" in text[5]


def test_on_a_narrow_screen_ids_are_folded_and_no_number_is_cut() -> None:
    """A figure without its unit would be a lie."""
    text = rows([run("4bd52287-0f1a-4617-8f0e-dc6b8949edd9", DETAILS, **FIELDS)], width=80)
    assert any("2.00 s 1.50 s 0 ms 2.0 MiB 1.0 MiB 0 B –" in line for line in text), text


def test_a_server_that_keeps_no_fields_has_the_bill_in_the_results() -> None:
    """As one that refused all but what the reference names."""
    assert bill_of(run("a", DETAILS))["cpuSeconds"] == 1.5
    assert bill_of(run("a", DETAILS))["ramPeakBytes"] == 2 * 1024**2


def test_energy_is_a_column_only_where_it_is_known() -> None:
    """Few machines tell it."""
    text = rows([run("a", {**DETAILS, "gpuEnergyJoules": 72_000.0}, **FIELDS)])
    assert "GPU energy" in text[0]
    assert "20.0 Wh" in text[1]


GPU = {
    **DETAILS, "gpuAllocatedSeconds": 2.0,
    "gpuBusySeconds": 1.5, "gpuPeakBytes": 1024**3, "gpuEnergyJoules": None,
    "methods": {"gpu_busy_s": "device_samples_exclusive"}, "coverage": {"gpu_busy_s": 0.97},
    "reasons": {"gpu_energy_j": "Not Supported"},
}  # fmt: skip
GPU_FIELDS = {**FIELDS, "GPUTime": 2.0}


def test_a_run_that_had_a_gpu_shows_what_it_made_of_it() -> None:
    """Also what is not known of it, with the reason; a run without one shows none of that."""
    pairs = dict(usage_pairs(run("a", GPU, **GPU_FIELDS)))
    assert pairs["GPU busy"] == "1.50 s  (device_samples_exclusive; covers 97 %)"
    assert pairs["GPU memory"] == "1.0 GiB"
    assert pairs["GPU energy"] == "–  (Not Supported)"
    assert (
        not {"GPU busy", "GPU memory", "GPU energy"} & dict(usage_pairs(run("b", DETAILS, **FIELDS))).keys()
    )


def test_runs_without_a_gpu_lack_no_figure_of_one() -> None:
    """The sum does not say that it is unknown of them; of a lost run nobody knows."""
    known = run("a", {**GPU, "gpuEnergyJoules": 72_000.0}, **GPU_FIELDS)
    document = bills_document([known, run("b", DETAILS, **FIELDS), run("c", GPU, **GPU_FIELDS), run("d")])
    total, unknown = document["sum"], document["sum"]["unknown"]
    assert (total["gpuEnergyJoules"], unknown["gpuEnergyJoules"]) == (72_000.0, 2)
    assert (total["gpuBusySeconds"], unknown["gpuBusySeconds"]) == (3.0, 1)
    assert (total["gpuPeakBytes"], unknown["gpuPeakBytes"]) == (1024**3, 1)
    text = rows([known, run("b", DETAILS, **FIELDS)])
    assert "GPU busy GPU memory GPU energy" in text[0]
    assert "GPU" not in text[-1]


def test_programs_get_numbers_null_and_the_count_of_what_is_unknown() -> None:
    """Never 0 for what nobody measured."""
    document = bills_document([run("a", DETAILS, **FIELDS), run("b")])
    assert document["runs"][0]["cpuSeconds"] == 1.5
    assert document["runs"][0]["complete"] is True
    assert document["runs"][1]["cpuSeconds"] is None
    assert document["sum"]["cpuSeconds"] == 1.5
    assert type(document["sum"]["ramPeakBytes"]) is int
    assert document["sum"]["unknown"]["cpuSeconds"] == 1
    assert document["sum"]["diskWrittenBytes"] is None


def test_one_run_shows_how_each_figure_was_measured() -> None:
    """Method, what is not covered, and why something is lacking."""
    pairs = dict(usage_pairs(run("a", DETAILS, **FIELDS)))
    assert pairs["CPU"] == "1.50 s  (cgroup)"
    assert pairs["avg RAM"] == "1.0 MiB  (cgroup_sampled; covers 50 %)"
    assert pairs["written"] == "–  (another user's process)"
    assert pairs["complete"] is True
    assert "GPU energy" not in pairs

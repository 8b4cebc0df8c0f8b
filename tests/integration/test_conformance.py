"""The built-in handlers keep what the kit for tests of handlers checks."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance import ENVIRONMENT, HOW, NEEDS_ENGINE, built_in, main, matrix, report_of, type_of
from worker.testing import Check, HandlerReport, Verdict

PAGE = Path(__file__).resolve().parents[2] / "docs" / "conformance.md"


@pytest.mark.parametrize("way", sorted(way for way in HOW if type_of(way) not in NEEDS_ENGINE))
def test_a_built_in_handler_keeps_its_promises(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stops when asked, survives SIGKILL, gives the same output again, keeps its memory over 100 runs.

    Where a run is over before it is stopped, nothing is shown, and nothing is wrong.
    """
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    report = report_of(way)
    report.assert_ok()
    assert {"runs", "repeats its output", "keeps its memory"} <= {
        one.name for one in report.checks if one.verdict == "ok"
    }


def test_every_built_in_handler_is_checked_and_stands_on_the_page() -> None:
    """One that is added without parameters here, or without `make conformance`, is missed."""
    assert {type_of(way) for way in HOW} == built_in().keys()
    page = PAGE.read_text(encoding="utf-8")
    assert [way for way in HOW if f"| `{way}` |" not in page] == []
    assert "FAILED |" not in page


def test_the_table_has_a_row_a_handler_and_a_column_a_promise() -> None:
    """What was not looked at, because the handler did not even run, is a dash."""
    reports = [
        HandlerReport("good", (Check("runs", Verdict.OK, ""), Check("stops", Verdict.NOT_SHOWN, ""))),
        HandlerReport("bad", (Check("runs", Verdict.FAILED, "it raised"),)),
    ]
    assert matrix(reports).splitlines() == [
        "| handler | runs | stops |",
        "| --- | --- | --- |",
        "| `good` | ok | not shown |",
        "| `bad` | FAILED | – |",
    ]


def test_a_handler_without_parameters_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """Its name is told, before anything runs."""
    with pytest.raises(SystemExit):
        main(["no-such-type"])
    assert "no-such-type" in capsys.readouterr().err

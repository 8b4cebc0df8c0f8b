"""Secrets by name, in the test's process and in a real child."""

from __future__ import annotations

from typing import Any

import pytest

from millhand_pytest import RunHandler, RunHandlerInChild
from tests.unit.executor.named_secret_handlers import named, nosy
from worker import Fail, handler
from worker.sdk.handler import spec_of
from worker.testing import check_handler

GIVEN = {"HF_TOKEN": "hf_abcdefgh", "OTHER": "other-secret"}


def test_a_run_in_a_child_has_its_secrets_and_shows_none(run_handler_in_child: RunHandlerInChild) -> None:
    """Not in what it prints, logs, tells or returns; not in its environment; in `setup` too."""
    run = run_handler_in_child(named, secrets={**GIVEN, "NOT_ASKED_FOR": "not-asked-for"})
    assert run.error is None, run.text
    assert run.value == {
        "leak": "[redacted]", "length": 11, "at_setup": 11, "names": ["HF_TOKEN", "OTHER"],
        "in_environment": False, "shown": "GivenSecrets(HF_TOKEN, OTHER)",
    }  # fmt: skip
    assert "hf_abcdefgh" not in str(vars(run))
    assert "here it is: [redacted]" in str(vars(run))


def test_a_renewed_secret_counts_from_the_next_run_on(run_handler_in_child: RunHandlerInChild) -> None:
    """In a process that stays warm; the earlier one is still taken out there."""
    first = run_handler_in_child(named, secrets=GIVEN)
    second = run_handler_in_child(named, secrets={**GIVEN, "HF_TOKEN": "hf_renewed_and_longer"})
    assert (first.value["length"], second.value["length"], second.value["at_setup"]) == (11, 21, 11)
    assert first.pid == second.pid
    assert second.value["leak"] == "[redacted]"


def test_a_run_without_its_secret_never_starts(run_handler_in_child: RunHandlerInChild) -> None:
    """It fails for now: another machine may have it."""
    run = run_handler_in_child(named, secrets={"OTHER": "other-secret"})
    assert run.error is not None
    assert run.error.retryable
    assert "secret HF_TOKEN is not on this machine; put it into" in run.text
    assert "MILLHAND_SECRET_HF_TOKEN" in run.text
    assert run.pid is None


def test_what_was_not_named_is_not_given(
    run_handler_in_child: RunHandlerInChild, run_handler: RunHandler
) -> None:
    """The author reads how to ask for it."""
    run = run_handler_in_child(nosy, secrets=GIVEN)
    assert "@handler(secrets=('HF_TOKEN',))" in run.text
    with pytest.raises(KeyError, match="is no secret of this handler"):
        run_handler(nosy)


def test_a_call_in_the_tests_process_has_them_too(run_handler: RunHandler) -> None:
    """And says where the test forgot one."""
    assert run_handler(named, secrets=GIVEN).value["length"] == 11
    with pytest.raises(Fail, match=r"asks for the secret OTHER; give it: secrets=\{'OTHER': …\}"):
        run_handler(named, secrets={"HF_TOKEN": "x"})


def test_the_conformance_report_looks_for_them() -> None:
    """A handler that returns one is found out."""
    report = check_handler(named, secrets=GIVEN, runs=20, growth_bytes=1e9)
    shows = next(check for check in report.checks if check.name == "shows no secret")
    assert shows.verdict.name == "FAILED", report


@pytest.mark.parametrize(
    ("secrets", "error"),
    [("HF_TOKEN", TypeError), (("../etc/passwd",), ValueError), (("a b",), ValueError), ((1,), ValueError)],
)
def test_names_that_could_be_paths_are_refused_where_they_are_written(
    secrets: Any, error: type[Exception]
) -> None:
    """A name becomes that of a file and of a variable."""
    with pytest.raises(error, match="secret"):
        handler("x", secrets=secrets)


def test_a_handler_without_secrets_has_none() -> None:
    """And one that names one twice has it once."""

    @handler(secrets=["A", "A"])  # type: ignore[arg-type]
    def twice(ctx: Any) -> None: ...

    spec = spec_of(twice)
    assert spec is not None
    assert spec.secrets == ("A",)

"""Which process of a container a health check is about, and what it says where there is none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Cli
from worker.cli import liveness
from worker.cli.exits import CliError, ExitCode


def first(tmp_path: Path, *arguments: str) -> Path:
    """Return the command line of a first process, as the kernel writes it."""
    path = tmp_path / "cmdline"
    path.write_bytes(b"".join(argument.encode() + b"\0" for argument in arguments))
    return path


@pytest.mark.parametrize(
    "before", [(), ("dumb-init", "--single-child", "--"), ("/opt/millhand/bin/python3",)]
)
def test_the_first_process_tells_what_is_meant(before: tuple[str, ...], tmp_path: Path) -> None:
    """With its settings, whatever stands before it."""
    path = first(
        tmp_path, *before, "/opt/millhand/bin/millhand", "agent", "--http-port", "9400", "--zone", ""
    )
    assert liveness.process_1(path) == ["agent", "--http-port", "9400", "--zone", ""]


def test_a_first_process_that_is_not_ours_is_named_with_what_to_do(tmp_path: Path) -> None:
    """As on a host, or where all pods' processes are shared."""
    for path, name in ((first(tmp_path, "/sbin/init"), "'init'"), (tmp_path / "none", "cannot be read")):
        with pytest.raises(CliError, match=name) as refused:
            liveness.process_1(path)
        assert "millhand health agent" in refused.value.todo


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("agnt",), "no service 'agnt'"),
        (("serve", "--port", "x"), "'x'"),
        (("serve", "--prot", "1"), "--prot"),
        (("serve", "--port", "0"), "any free port"),
        (("agent", "--config", "/nowhere.toml"), "/nowhere.toml"),
        (("agent", "--state-dir", "/nowhere"), "no agent works in /nowhere"),
    ],
)
def test_unhealthy_is_exit_code_1_with_a_reason(arguments: tuple[str, ...], said: str, cli: Cli) -> None:
    """Docker knows 0 and 1; what is wrong with the check itself is not taken for health."""
    ran = cli("health", *arguments)
    assert (ran.code, ran.out.startswith("unhealthy: ")) == (ExitCode.FAILED, True)
    assert said in ran.out
    ran = cli("health", "--json", *arguments)
    told = json.loads(ran.out)
    assert (ran.code, told["isHealthy"]) == (ExitCode.FAILED, False)
    assert said in told["reason"]


def test_what_is_no_service_is_asked_nothing(cli: Cli) -> None:
    """A container may run `millhand submit --wait` with the check that the image has."""
    ran = cli("health", "--json", "submit", "noop", "--wait")
    assert (ran.code, json.loads(ran.out)["asked"]) == (ExitCode.OK, [])

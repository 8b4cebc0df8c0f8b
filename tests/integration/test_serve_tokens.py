"""Tokens and a server that runs: real processes, one database."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from tests.integration.serving import LIMIT_S, TOKEN, Serving, millhand, serving, wait_for
from worker.cli.exits import ExitCode


def status(server: Serving, token: str) -> int:
    """Return the status of a list of jobs."""
    with server.client(token) as client:
        return client.get("/api/jobs").status_code


def create(folder: Path) -> dict[str, str]:
    """Make a token as an operator does."""
    ran = millhand(folder, "token", "create", "--scope", "read", "--json")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    made: dict[str, str] = json.loads(ran.stdout)
    return made


def test_a_new_token_is_valid_at_once_and_a_revoked_one_soon_not_any_more(tmp_path: Path) -> None:
    """The operator needs no restart; a token that leaked is of no use within seconds."""
    with serving(tmp_path, token=None) as server:
        assert server.url
        made = create(tmp_path)
        assert status(server, made["token"]) == 200
        ran = millhand(tmp_path, "token", "revoke", made["id"])
        assert ran.returncode == 0, ran.stderr
        wait_for(lambda: status(server, made["token"]) == 401, "refused")
        assert server.end() == 0
        assert made["token"] not in server.log.read_text()


def test_the_last_use_of_a_token_is_known_after_a_stop(tmp_path: Path) -> None:
    """It is no write for each request, and a stop loses none."""
    with serving(tmp_path) as server:
        assert server.url  # it is up: a command that has the database meanwhile would keep it from starting
        made = create(tmp_path)
        assert status(server, made["token"]) == 200
        assert server.end() == 0
    tokens = json.loads(millhand(tmp_path, "token", "list", "--json").stdout)["tokens"]
    (used,) = (one for one in tokens if one["id"] == made["id"])
    assert used["createdAt"] <= used["lastUsedAt"]


def has_ipv6() -> bool:
    """Tell whether this machine has a loopback of IPv6."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no ::1")


@pytest.mark.parametrize("host", ["0.0.0.0", pytest.param("::", marks=ipv6)])
def test_nobody_listens_for_the_network_before_there_is_a_token(tmp_path: Path, host: str) -> None:
    """The message says how to make one; a token that has expired is none."""
    made = millhand(tmp_path, "token", "create", "--scope", "read", "--expires", "0.001s")
    assert made.returncode == 0, made.stderr
    with serving(tmp_path, "--host", host, token=None) as server:
        assert server.process.wait(LIMIT_S) == ExitCode.CONFIGURATION
        said = server.log.read_text()
        assert "millhand token create" in said
        assert "MILLHAND_SERVER_TOKEN" in said
        assert "listening on" not in said


@pytest.mark.parametrize("host", ["127.0.0.2", pytest.param("::1", marks=ipv6), "localhost"])
def test_loopback_is_every_address_that_no_other_machine_reaches(tmp_path: Path, host: str) -> None:
    """127.0.0.0/8 and ::1: a server may start there first, and get its tokens then."""
    with serving(tmp_path, "--host", host, token=None) as server, server.client(TOKEN) as client:
        assert client.get("/healthz").status_code == 200
        assert client.get("/api/jobs").status_code == 401


def test_a_token_in_the_database_is_enough_to_listen_for_the_network(tmp_path: Path) -> None:
    """No token in the settings is needed; and it is said that it goes over the network in clear."""
    token = millhand(tmp_path, "token", "create", "--scope", "admin").stdout.strip()
    with serving(tmp_path, "--host", "0.0.0.0", token=None) as server:
        assert status(server, token) == 200
        (warning,) = server.lines("server.in_clear")
        assert "--tls-cert" in warning["remedy"]


def test_each_part_does_its_work_with_a_token_that_allows_no_more(tmp_path: Path) -> None:
    """One who submits, an agent that works, one who looks: none of them needs every right."""
    tokens = {
        scope: millhand(tmp_path, "token", "create", "--scope", scope).stdout.strip()
        for scope in ("submit", "work", "read")
    }
    with serving(tmp_path, token=None) as server:

        def run(scope: str, *args: str) -> str:
            flags = ("--api-url", server.url, "--token", tokens[scope])
            ran = millhand(tmp_path, *args, *flags)
            assert ran.returncode == 0, ran.stderr
            return ran.stdout

        job = json.loads(run("submit", "submit", "noop", "--json"))["job"]["id"]
        run("work", "agent", "--exit-when-idle", "--state-dir", str(tmp_path / "agent"))
        (done,) = json.loads(run("read", "runs", "--job", job, "--json"))["runs"]
        assert done["resultCode"] == "Success"
        ran = millhand(tmp_path, "cancel", job, "--api-url", server.url, "--token", tokens["work"])
        assert ran.returncode != 0
        assert "submit" in ran.stderr

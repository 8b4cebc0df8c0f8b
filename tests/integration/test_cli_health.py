"""`millhand health` beside real agents and servers: that they live, and that they stand still."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme

from server.testing import running_server
from tests.acceptance.agents import running_agent, wait_until_started
from tests.integration.ports import free_port
from tests.integration.serving import millhand, serving


def asked(folder: Path, *service: str) -> dict[str, Any]:
    """Return what a check tells; its exit code says the same."""
    ran = millhand(folder, "health", "--json", *service)
    told: dict[str, Any] = json.loads(ran.stdout)
    assert ran.returncode == (0 if told["isHealthy"] else 1), ran
    return told


@contextmanager
def stood_still(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Have a process do nothing, as one whose loop is stuck."""
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("has_page", [False, True])
def test_an_agent_is_alive_until_its_loop_stands_still(tmp_path: Path, has_page: bool) -> None:
    """By its page, and by its socket; no server is needed for it."""
    page = free_port()
    agent, service = tmp_path / "agent", ["agent", "--state-dir", str(tmp_path / "agent" / "state")]
    service += ["--http-port", str(page)] if has_page else []
    settings = {"MILLHAND_HTTP_PORT": str(page)} if has_page else {}
    with running_server() as server:
        with running_agent(agent, server.url, server.token, slots=1, settings=settings) as process:
            wait_until_started(process, agent)
            told = asked(tmp_path, *service)
            assert told["isHealthy"], told
            assert (str(page) if has_page else f"(pid {process.pid})") in told["asked"][0]
            with stood_still(process):
                assert not asked(tmp_path, *service)["isHealthy"]
            assert asked(tmp_path, *service)["isHealthy"]
        assert not asked(tmp_path, *service)["isHealthy"]


def test_a_server_is_asked_on_its_own_port_and_on_its_page(tmp_path: Path) -> None:
    """With TLS it is, too: its certificate names no loopback."""
    certificate, key = tmp_path / "mill.pem", tmp_path / "mill.key"
    made = trustme.CA().issue_cert("mill.example")
    made.cert_chain_pems[0].write_to_path(certificate)
    made.private_key_pem.write_to_path(key)
    tls = ("--tls-cert", str(certificate), "--tls-key", str(key))
    page = ("--metrics-port", str(free_port()))
    with serving(tmp_path, *tls, *page, "--host", "0.0.0.0") as server:
        own = ("serve", "--host", "0.0.0.0", "--port", server.url.rpartition(":")[2])
        for service, where in (((*own, *tls), "https://127.0.0.1:"), ((*own, *page), f":{page[1]}/")):
            told = asked(tmp_path, *service)
            assert told["isHealthy"], told
            assert where in told["asked"][0]
        refused = asked(tmp_path, *own)
        assert not refused["isHealthy"], "it was asked without TLS"
        with stood_still(server.process):
            assert not asked(tmp_path, *own, *page)["isHealthy"]

"""A server for a network: TLS, its certificate changed while it runs, and logs that it opens anew."""

from __future__ import annotations

import json
import signal
import socket
import ssl
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from tests.integration.serving import LIMIT_S, TOKEN, Serving, serving, wait_for
from worker.cli.exits import ExitCode

AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Return a certificate authority that nobody trusts."""
    return trustme.CA()


def issue(authority: trustme.CA, folder: Path, name: str = "127.0.0.1") -> tuple[Path, Path]:
    """Write a certificate and its key; return where."""
    leaf = authority.issue_cert(name, "127.0.0.1")
    certificate, key = folder / "cert.pem", folder / "key.pem"
    certificate.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    key.write_bytes(leaf.private_key_pem.bytes())
    return certificate, key


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    """Return TLS settings of a client that trusts the authority alone."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(context)
    return context


def names_shown(server: Serving, authority: trustme.CA) -> set[str]:
    """Return the names in the certificate that a server shows."""
    url = httpx.URL(server.url)
    with (
        socket.create_connection((url.host, url.port or 0), LIMIT_S) as plain,
        trusting(authority).wrap_socket(plain, server_hostname=url.host) as wrapped,
    ):
        shown = wrapped.getpeercert()
    assert shown is not None
    names: Any = shown["subjectAltName"]
    return {str(name) for _, name in names}


def test_https_is_served_and_a_new_certificate_is_shown_after_sighup(
    authority: trustme.CA, tmp_path: Path
) -> None:
    """Nobody is cut off; a pair that does not fit is not taken."""
    certificate, key = issue(authority, tmp_path)
    files = ("--tls-cert", str(certificate), "--tls-key", str(key))
    with (
        serving(tmp_path, *files) as server,
        server.client(verify=trusting(authority)) as client,
    ):
        assert server.url.startswith("https://")
        assert client.get("/api/jobs").json() == {"jobs": []}
        issue(authority, tmp_path, "new.example")
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: "new.example" in names_shown(server, authority), "the new certificate")
        key.write_text("no key")
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: server.lines("tls.not_reloaded"), "the complaint")
        assert "new.example" in names_shown(server, authority)
        assert client.get("/api/jobs").status_code == 200
        assert server.end() == 0


@pytest.mark.parametrize(
    ("newest", "is_served"), [(ssl.TLSVersion.TLSv1_1, False), (ssl.TLSVersion.TLSv1_2, True)]
)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
def test_old_tls_is_refused(
    authority: trustme.CA, tmp_path: Path, newest: ssl.TLSVersion, is_served: bool
) -> None:
    """1.2 or newer."""
    certificate, key = issue(authority, tmp_path)
    with serving(tmp_path, "--tls-cert", str(certificate), "--tls-key", str(key)) as server:
        context = trusting(authority)
        context.set_ciphers("DEFAULT:@SECLEVEL=0")  # else the client itself offers nothing old
        context.minimum_version = min(newest, ssl.TLSVersion.TLSv1_2)
        context.maximum_version = newest
        with server.client(verify=context) as client:
            if is_served:
                assert client.get("/healthz").status_code == 200
            else:
                with pytest.raises(httpx.ConnectError):
                    client.get("/healthz")


def test_no_token_is_read_from_a_client_that_speaks_no_tls(authority: trustme.CA, tmp_path: Path) -> None:
    """The port of HTTPS answers nothing in clear."""
    certificate, key = issue(authority, tmp_path)
    with serving(tmp_path, "--tls-cert", str(certificate), "--tls-key", str(key)) as server:
        url = server.url.replace("https://", "http://")
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.get(f"{url}/api/jobs", headers=AUTHORIZED, timeout=LIMIT_S)


def test_files_of_tls_that_do_not_fit_are_said_with_what_to_do(authority: trustme.CA, tmp_path: Path) -> None:
    """Exit code 5, the file's name, and no question for a password."""
    certificate, key = issue(authority, tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    _, other_key = issue(authority, other)
    encrypted = tmp_path / "encrypted.pem"
    encrypted.write_bytes(
        load_pem_private_key(key.read_bytes(), None).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")
        )
    )
    (tmp_path / "text.pem").write_text("no certificate")
    for given, said in (
        (("--tls-cert", str(certificate)), "--tls-key"),
        (("--tls-key", str(key)), "--tls-cert"),
        (("--tls-cert", str(certificate), "--tls-key", str(other_key)), "is not that of the certificate"),
        (("--tls-cert", str(certificate), "--tls-key", str(encrypted)), "is encrypted"),
        (("--tls-cert", str(certificate), "--tls-key", "/nowhere.pem"), "/nowhere.pem cannot be read"),
        (("--tls-cert", str(tmp_path / "text.pem"), "--tls-key", str(key)), "give PEM files"),
        (("--trusted-proxies", "proxy.example"), "'proxy.example'"),
        (("--audit-log", "/nowhere/audit.log"), "/nowhere/audit.log"),
    ):
        with serving(tmp_path, *given) as server:
            assert server.process.wait(LIMIT_S) == ExitCode.CONFIGURATION
            log = server.log.read_text()
            assert said in log, log
            server.log.unlink()


def test_an_audit_log_that_was_moved_away_is_opened_anew_on_sighup(tmp_path: Path) -> None:
    """As logrotate does it."""
    path = tmp_path / "audit.log"
    with serving(tmp_path, "--audit-log", str(path), "--access-log") as server, server.client() as client:
        client.post("/api/jobs", json={"type": "x"})
        old = path.rename(tmp_path / "audit.1")
        server.process.send_signal(signal.SIGHUP)
        wait_for(path.exists, "a new file")
        client.post("/api/jobs", json={"type": "x"}, headers={"X-Request-Id": "second"})
        client.get(f"/api/jobs?bearer_token={TOKEN}")
        assert server.end() == 0
        assert [json.loads(one)["status"] for one in old.read_text().splitlines()] == [200]
        assert [json.loads(one)["requestId"] for one in path.read_text().splitlines()] == ["second"]
        assert [one["operation"] for one in server.lines("request.served")] == [
            "create_job", "create_job", "list_jobs",
        ]  # fmt: skip
        assert TOKEN not in server.log.read_text()

"""Any HTTP server as a store."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import socket
import ssl
from pathlib import Path

import pytest
import trustme

from tests.unit.storage.samples import PutServer, put_server, spooled
from worker.api.token import FixedToken
from worker.storage.file import SpooledFile
from worker.storage.http_put import HttpStore, seconds
from worker.storage.store import FileGone, StoreError, StoreRefused

LIMIT_S = 20.0


def put(
    url: str,
    file: SpooledFile,
    path: Path,
    token: str | None = None,
    *,
    times: int = 1,
    ca_file: Path | None = None,
) -> str:
    """Store a file; return where it says it is."""

    async def main() -> str:
        store = HttpStore(url, FixedToken(token), ca_file)
        try:
            async with asyncio.timeout(LIMIT_S):
                for _ in range(times):
                    await store.store("run-1", file, path)
        finally:
            await store.aclose()
        return store.url_of("run-1", file.name)

    return asyncio.run(main())


def test_a_file_is_put_with_its_size_type_and_digest(tmp_path: Path) -> None:
    """In one stream of known length; the same key again takes the same bytes."""
    content = b"model" * 1_000_000
    file, path = spooled(tmp_path, content, "deep/a b.glb")
    with put_server() as server:
        url = put(f"{server.url}/files/", file, path, "s3cret", times=2)
        assert server.files == {"/files/run-1/deep/a%20b.glb": content}
        sent = server.headers[0]
    assert url == f"{server.url}/files/run-1/deep/a%20b.glb"
    digest = hashlib.sha256(content)
    assert sent["content-length"] == str(len(content))
    assert sent["content-type"] == "model/gltf-binary"
    assert sent["content-digest"] == f"sha-256=:{base64.b64encode(digest.digest()).decode()}:"
    assert sent["x-checksum-sha256"] == digest.hexdigest()
    assert sent["authorization"] == "Bearer s3cret"
    assert "transfer-encoding" not in sent


@pytest.mark.parametrize("size_bytes", [0, 1, 1 << 20, (1 << 20) + 1])
def test_a_file_of_any_size_arrives_whole(tmp_path: Path, size_bytes: int) -> None:
    """Nothing, less than a piece, exactly one, more."""
    file, path = spooled(tmp_path, b"x" * size_bytes)
    with put_server() as server:
        put(server.url, file, path)
        assert server.files == {"/run-1/a.glb": b"x" * size_bytes}
        assert "authorization" not in server.headers[0]


def test_credentials_of_the_url_are_sent_and_never_seen(tmp_path: Path) -> None:
    """User and password as a header, a signature as it was written; neither in a URL nor in a message."""
    file, path = spooled(tmp_path, b"model")
    with put_server() as server:
        place = server.url.replace("http://", "http://ada:pass%20word@") + "/p?sig=a%2Fbcd%3D&se=2027"
        url = put(place, file, path)
        assert server.targets == ["/p/run-1/a.glb?sig=a%2Fbcd%3D&se=2027"]
        assert server.headers[0]["authorization"] == "Basic " + base64.b64encode(b"ada:pass word").decode()
        assert url == f"{server.url}/p/run-1/a.glb"
        server.statuses = [403]
        with pytest.raises(StoreRefused) as refused:
            put(place, file, path)
    with pytest.raises(StoreError) as away:
        put(place, file, path)
    for message in (str(refused.value), str(away.value)):
        assert f"file a.glb could not be stored at {server.url}/p/run-1/a.glb" in message
        assert not any(secret in message for secret in ("pass", "word", "bcd", "2027"))


@pytest.mark.parametrize(
    ("status", "is_refused"),
    [
        *((status, True) for status in (301, 400, 401, 403, 404, 409, 413)),
        *((status, False) for status in (408, 429, 500, 503, 507)),
    ],
)
def test_a_status_tells_whether_a_person_has_to_look(tmp_path: Path, status: int, is_refused: bool) -> None:
    """What passes by itself is asked again; a redirect is not followed, the token stays here."""
    file, path = spooled(tmp_path, b"model")
    with put_server() as server:
        server.statuses, server.retry_after = [status], "7"
        with pytest.raises(StoreError, match=f"answered {status}") as raised:
            put(server.url, file, path, "s3cret")
        assert len(server.targets) == 1
        assert server.files == {}
    assert isinstance(raised.value, StoreRefused) is is_refused
    assert raised.value.retry_after_s == 7.0


@pytest.mark.parametrize(
    ("told", "meant"),
    [("0", 0.0), (" 9 ", 9.0), ("99999999", 3600.0), ("\u00b2", None), ("soon", None), ("", None)],
)
def test_a_wait_that_a_store_asks_for_is_bounded(told: str, meant: float | None) -> None:
    """Dates and nonsense are left to the back-off."""
    assert seconds(told) == meant


def test_a_store_that_is_away_is_asked_again_later(tmp_path: Path) -> None:
    """Nobody listens."""
    file, path = spooled(tmp_path, b"model")
    with put_server() as server:
        url = server.url
    with pytest.raises(StoreError, match="ClientConnectorError") as raised:
        put(url, file, path)
    assert not isinstance(raised.value, StoreRefused)


@pytest.mark.parametrize("content", [b"mod", b"MODEL", b"model and more", None])
def test_a_changed_file_never_arrives(tmp_path: Path, content: bytes | None) -> None:
    """Shorter, other, longer or gone: the store has nothing, and the run is told."""
    file, path = spooled(tmp_path, b"model")
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    with put_server() as server:
        with pytest.raises(FileGone, match=r"a\.glb of the spool"):
            put(server.url, file, path)
        assert server.files == {}


def test_a_store_that_does_not_answer_is_given_up_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes the connection and says nothing; the limit, a minute and more, is shortened."""
    monkeypatch.setattr("worker.storage.http_put.limit_s", lambda _: 0.2)
    file, path = spooled(tmp_path, b"model")

    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(StoreError, match="took longer than"):
            put(url, file, path)


def test_a_proxy_of_the_environment_is_used_but_for_what_it_excepts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As every program of the machine does it."""
    file, path = spooled(tmp_path, b"model")
    with put_server() as server:
        monkeypatch.setenv("http_proxy", server.url)
        put("http://store.invalid/p", file, path)
        assert server.targets == ["http://store.invalid/p/run-1/a.glb"]
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        put(f"{server.url}/direct", file, path)
        assert server.targets[1:] == ["/direct/run-1/a.glb"]


def test_a_store_with_an_authority_of_ones_own_is_trusted_when_it_is_named(tmp_path: Path) -> None:
    """And never before: not a byte of the file, nor the token, goes out."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    file, path = spooled(tmp_path, b"model")
    with put_server(context=context) as server:
        with pytest.raises(StoreError, match=r"(?i)certificate"):
            put(server.url, file, path, "s3cret")
        assert server.targets == []
        put(server.url, file, path, "s3cret", ca_file=tmp_path / "ca.pem")
        assert server.files == {"/run-1/a.glb": b"model"}


def test_the_server_of_these_tests_is_closed() -> None:
    """No thread and no port stay behind."""
    with put_server() as server:
        assert isinstance(server, PutServer)
    assert server.socket.fileno() == -1

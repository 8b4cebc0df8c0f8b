"""Inputs come from paths, file URLs and downloads; each failure names the input and the reason."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from worker.sdk import Cancelled, Fail, Retry, download
from worker.sdk.testing import make_context


class Files(BaseHTTPRequestHandler):
    """Serve a few answers."""

    def do_GET(self) -> None:
        """Answer by path."""
        status = {"/missing.glb": 404, "/busy.glb": 503}.get(self.path.partition("?")[0], 200)
        body = b"x" * 3_000_000 if status == 200 else b""
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        try:
            self.wfile.write(body)
        except ConnectionError:  # the client had enough
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
        """Say nothing."""


@contextmanager
def file_server() -> Iterator[str]:
    """Give the URL of a server of files."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Files)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_local_file_is_used_where_it_lies(tmp_path: Path) -> None:
    """No copy is made of a path or file URL, spaces included."""
    path = tmp_path / "a model.glb"
    path.write_text("x")
    ctx = make_context(tmp_path)
    assert ctx.input(path) == ctx.input(str(path)) == ctx.input(path.as_uri()) == path


def test_a_local_file_that_is_not_there_names_the_machine(tmp_path: Path) -> None:
    """The person who submitted it may sit at another one."""
    ctx = make_context(tmp_path)
    with pytest.raises(Fail, match=r"none\.glb does not exist on "):
        ctx.input(tmp_path / "none.glb")
    with pytest.raises(Fail, match="no regular file"):
        ctx.input(tmp_path)


def test_an_unknown_scheme_is_refused(tmp_path: Path) -> None:
    """The message says what is known."""
    with pytest.raises(Fail, match="ftp:// is not known"):
        make_context(tmp_path).input("ftp://host/a")


def test_a_download_lands_in_the_runs_folder(tmp_path: Path) -> None:
    """Named after the URL, whole, and never over another file."""
    ctx = make_context(tmp_path)
    with file_server() as url:
        first, second = ctx.input(f"{url}/a/mesh.glb?token=secret"), ctx.input(f"{url}/b/mesh.glb")
    assert (first.name, second.name) == ("mesh.glb", "1-mesh.glb")
    assert first.is_relative_to(tmp_path)
    assert first.stat().st_size == second.stat().st_size == 3_000_000
    assert len(list(first.parent.iterdir())) == 2


def test_a_failed_download_tells_whether_to_try_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """404 is final, 503 and a refused connection are not; secrets of the URL are not shown."""
    monkeypatch.setattr(download, "PAUSES_S", (0.0,) * 4)  # they would only be waited for
    ctx = make_context(tmp_path)
    with file_server() as url:
        with pytest.raises(Fail, match="404") as missing:
            ctx.input(f"{url}/missing.glb?token=secret")
        with pytest.raises(Retry, match="503"):
            ctx.input(f"{url}/busy.glb")
        with pytest.raises(Fail, match="larger than 1000 bytes"):
            ctx.input(f"{url}/large.glb", max_bytes=1000)
    assert "secret" not in str(missing.value)
    with pytest.raises(Retry, match="could not be downloaded"):
        ctx.input(f"{url}/gone.glb")
    assert list((tmp_path / "inputs").iterdir()) == []


def test_a_stop_ends_a_download(tmp_path: Path) -> None:
    """A drain does not wait for gigabytes."""
    ctx = make_context(tmp_path)
    ctx.ask_to_stop()
    with file_server() as url, pytest.raises(Cancelled):
        ctx.input(f"{url}/large.glb")
    assert list((tmp_path / "inputs").iterdir()) == []


def test_an_object_store_without_its_extra_says_which(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message is the command to type."""
    monkeypatch.setitem(sys.modules, "obstore", None)  # as if it were not installed
    with pytest.raises(Fail, match=r"millhand\[storage\]"):
        make_context(tmp_path).input("s3://bucket/key")


@pytest.mark.parametrize("host", ["user:hunter2@ex\u2100mple.com", "user:hun/ter2@host", "user:hunter2@[::1"])
def test_a_url_that_cannot_be_read_is_not_quoted(tmp_path: Path, host: str) -> None:
    """Nobody knows which part of it is secret."""
    for scheme in ("https", "s3"):
        with pytest.raises(Fail, match="no URL that can be fetched") as raised:
            make_context(tmp_path).input(f"{scheme}://{host}/scene.bin")
        assert "hun" not in str(raised.value)
        assert raised.value.__suppress_context__


def test_a_path_that_cannot_be_is_refused_in_words(tmp_path: Path) -> None:
    """Not with an error of the system."""
    for path in ("a" * 5000, "a\0b"):
        with pytest.raises(Fail, match=r"^input a.* on ") as raised:
            make_context(tmp_path).input(path)
        assert len(str(raised.value)) < 500

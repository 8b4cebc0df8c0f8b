"""A download is whole or not there: it goes on where it broke off, and says why where it cannot."""

from __future__ import annotations

import hashlib
import shutil
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.unit.sdk.file_server import FileServer, file_server
from worker.sdk import Cancelled, Fail, Retry, download, remote
from worker.sdk.testing import ToldContext, make_context

BODY = bytes(range(256)) * 4096  # 1 MiB


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """Serve a file; pauses between tries are none."""
    monkeypatch.setattr(download, "PAUSES_S", (0.0,) * 4)
    with file_server() as serving:
        serving.files["/scene.bin"] = BODY
        yield serving


@pytest.fixture
def ctx(tmp_path: Path) -> ToldContext:
    """Give a run."""
    return make_context(tmp_path)


def no_parts(folder: Path) -> bool:
    """Tell whether nothing half is left."""
    return not [path for path in (folder / "inputs").iterdir() if path.name.startswith(".")]


def test_a_download_that_breaks_off_goes_on_where_it_was(
    server: FileServer, ctx: ToldContext, tmp_path: Path
) -> None:
    """Only the rest is asked for, as long as the file is the same."""
    server.break_after = [300_000, 200_000]
    path = ctx.input(f"{server.url}/scene.bin")
    assert path.read_bytes() == BODY
    assert server.asks("Range") == [None, "bytes=300000-", "bytes=500000-"]
    assert server.asks("If-Range")[1:] == [server.etag("/scene.bin")] * 2
    assert server.sent_bytes == len(BODY)
    assert no_parts(tmp_path)


@pytest.mark.parametrize("lack", ["has_etags", "has_ranges", "is_weak"])
def test_a_server_that_cannot_go_on_is_asked_for_all_of_it_again(
    server: FileServer, ctx: ToldContext, lack: str
) -> None:
    """Two halves of different files would be no file."""
    setattr(server, lack, lack == "is_weak")
    server.break_after = [300_000]
    assert ctx.input(f"{server.url}/scene.bin").read_bytes() == BODY
    assert len(server.asked) == 2


def test_a_file_that_changes_on_the_way_comes_whole(server: FileServer, ctx: ToldContext) -> None:
    """If-Range has the server send all of the new one."""
    other = BODY[::-1]
    server.break_after = [300_000]
    server.on_block = lambda: server.files.__setitem__("/scene.bin", other)
    assert ctx.input(f"{server.url}/scene.bin").read_bytes() == other


@pytest.mark.parametrize(
    "said",
    [
        {"ETag": '"another"'},
        {"Content-Range": f"bytes 300000-{len(BODY) - 1}/{len(BODY) + 1}"},
        {"Content-Range": "bytes 300000-/*"},
        {"Content-Range": "bytes 300000-299999/*"},
        {"Content-Range": f"bytes 300000-{len(BODY) - 1}/300001"},
        {"Content-Range": f"bytes 300000-{'9' * 5000}/*"},
        {"Content-Range": None},
        {"Content-Range": "bytes 300000-300001/*", "Content-Length": None},
    ],
)
def test_a_part_of_another_version_is_not_gone_on_with(
    server: FileServer, ctx: ToldContext, said: dict[str, str | None]
) -> None:
    """Nor one that does not say which part it is, or is another one: all of it is asked for again."""
    server.break_after = [300_000]
    server.part_headers = said
    assert ctx.input(f"{server.url}/scene.bin").read_bytes() == BODY
    assert server.asks("Range") == [None, "bytes=300000-", None]


def test_a_part_of_a_whole_of_unknown_size_is_measured_by_its_end(
    server: FileServer, ctx: ToldContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What breaks off is not whole only because nobody said how much that is."""
    server.break_after = [300_000, 100_000]
    server.part_headers = {"Content-Range": f"bytes 300000-{len(BODY) - 1}/*", "Content-Length": None}
    server.on_block = lambda: server.part_headers.clear() if len(server.asked) > 1 else None

    def untold(part: download.Part, opened: remote.Opened) -> download.Part:
        return gone_on_with(part, opened)._replace(total=None)

    gone_on_with = download.gone_on_with
    for forget in (False, True):  # what the first answer said of the whole, as if it had said nothing
        if forget:
            monkeypatch.setattr(download, "gone_on_with", untold)
            server.break_after = [300_000, 100_000]
            server.part_headers = {"Content-Range": f"bytes 300000-{len(BODY) - 1}/*", "Content-Length": None}
            server.asked.clear()
        assert ctx.input(f"{server.url}/scene.bin").read_bytes() == BODY
        assert server.asks("Range") == [None, "bytes=300000-", "bytes=400000-"]


def test_nothing_has_changed_is_no_answer_to_who_has_nothing(server: FileServer, ctx: ToldContext) -> None:
    """It fails in words."""
    server.statuses["/scene.bin"] = [304]
    with pytest.raises(Fail, match=r"scene\.bin: the server answered that nothing changed, unasked"):
        ctx.input(f"{server.url}/scene.bin")


def test_a_length_that_lies_is_seen(server: FileServer, ctx: ToldContext, tmp_path: Path) -> None:
    """A short file is no file, also where the connection ends politely."""
    server.break_after = [10] * 100
    server.has_ranges = False
    with pytest.raises(Retry, match="ended after 10 of 1048576 bytes"):
        ctx.input(f"{server.url}/scene.bin")
    assert len(server.asked) == 5
    assert list((tmp_path / "inputs").iterdir()) == []


def test_tries_end_when_nothing_new_comes(server: FileServer, ctx: ToldContext) -> None:
    """A passing problem is given five tries; what a server asks to wait is passed on."""
    server.statuses["/scene.bin"] = [503, 502, 429]
    assert ctx.input(f"{server.url}/scene.bin").read_bytes() == BODY
    server.statuses["/scene.bin"] = [503] * 100
    with pytest.raises(Retry, match="503"):
        ctx.input(f"{server.url}/scene.bin")
    assert len(server.asked) == 4 + 5
    server.headers["Retry-After"] = "120"
    with pytest.raises(Retry, match="503") as raised:
        ctx.input(f"{server.url}/scene.bin")
    assert raised.value.after_s == 120
    assert len(server.asked) == 4 + 5 + 1


def test_what_stays_wrong_is_asked_once(server: FileServer, ctx: ToldContext) -> None:
    """And secrets of the URL stand in no message."""
    with pytest.raises(Fail, match=r"/none\.bin: the server answered 404") as raised:
        ctx.input(f"{server.url}/none.bin?token=hunter2".replace("http://", "http://me:hunter3@"))
    assert "hunter" not in str(raised.value)
    assert len(server.asked) == 1


def test_credentials_of_a_url_are_sent_as_the_server_reads_them(server: FileServer, ctx: ToldContext) -> None:
    """As basic authentication, not as a part of the host; elsewhere they are not sent."""
    with file_server() as other:
        other.files["/scene.bin"] = BODY
        server.redirects["/moved.bin"] = f"{other.url}/scene.bin"
        ctx.input(f"{server.url}/moved.bin".replace("http://", "http://me:p%40ss@"))
        assert server.asks("Authorization") == ["Basic bWU6cEBzcw=="]
        assert other.asks("Authorization") == [None]


def test_redirects_are_followed_within_bounds(server: FileServer, ctx: ToldContext) -> None:
    """Relative ones too; not for ever, and not to files of this machine."""
    server.redirects |= {"/a": "/b", "/b": "scene.bin", "/loop": "/loop", "/file": "file:///etc/passwd"}
    assert ctx.input(f"{server.url}/a").read_bytes() == BODY
    with pytest.raises(Fail, match="redirects more than 10 times"):
        ctx.input(f"{server.url}/loop")
    with pytest.raises(Fail, match="redirects to file://, which is refused"):
        ctx.input(f"{server.url}/file")


def test_a_redirect_from_https_to_http_is_refused(
    server: FileServer, ctx: ToldContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was asked for in secret is not fetched in the open; a certificate nobody vouches for is told."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with file_server(context) as secure:
        secure.redirects["/a"] = f"{server.url}/scene.bin?token=hunter2"
        with pytest.raises(Fail, match="certificate is not trusted"):
            ctx.input(f"{secure.url}/a")
        with authority.cert_pem.tempfile() as file:
            monkeypatch.setenv("SSL_CERT_FILE", file)
            with pytest.raises(Fail, match="from https to http, which is refused") as raised:
                ctx.input(f"{secure.url}/a")
    assert "hunter2" not in str(raised.value)
    assert server.asked == []


def test_too_large_is_refused_before_it_comes(
    server: FileServer, ctx: ToldContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its length where the server says it, else when it is seen; so is what has no room on the disk."""
    with pytest.raises(Fail, match="larger than 1000 bytes: it has 1048576"):
        ctx.input(f"{server.url}/scene.bin", max_bytes=1000)
    assert ctx.told.progress == []
    usage: Any = type(shutil.disk_usage("/"))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, 1_000_000))
    with pytest.raises(Retry, match="has 1048576 bytes, and 1000000 are free"):
        ctx.input(f"{server.url}/scene.bin")
    monkeypatch.undo()
    server.has_length = False
    server.headers["Connection"] = "close"
    with pytest.raises(Fail, match="larger than 1000 bytes"):
        ctx.input(f"{server.url}/scene.bin", max_bytes=1000)


def test_a_checksum_is_checked_wherever_the_input_comes_from(
    server: FileServer, ctx: ToldContext, tmp_path: Path
) -> None:
    """Both are named where they differ; the file is not there then."""
    right, wrong = hashlib.sha256(BODY).hexdigest(), "0" * 64
    assert ctx.input(f"{server.url}/scene.bin", sha256=right.upper()).read_bytes() == BODY
    with pytest.raises(Fail, match=f"has the SHA-256 {right}, not {wrong}"):
        ctx.input(f"{server.url}/scene.bin", sha256=wrong)
    local = tmp_path / "local.bin"
    local.write_bytes(BODY)
    assert ctx.input(local, sha256=right) == local
    with pytest.raises(Fail, match=f"has the SHA-256 {right}, not {wrong}"):
        ctx.input(local, sha256=wrong)
    with pytest.raises(Fail, match="sha256 is 64 hex digits"):
        ctx.input(local, sha256="../../etc/passwd")
    assert [path.name for path in (tmp_path / "inputs").iterdir()] == ["scene.bin"]


def test_a_download_is_told_without_moving_the_runs_progress(server: FileServer, ctx: ToldContext) -> None:
    """Where no part of it was given: as a message at the ratio where the handler is."""
    ctx.progress(0.5, "half")
    ctx.input(f"{server.url}/scene.bin?token=hunter2")
    assert {ratio for ratio, _ in ctx.told.progress} == {0.5}
    assert ctx.told.progress[-1] == (0.5, "input scene.bin: 1.0 MiB of 1.0 MiB")


def test_a_download_fills_its_part_of_the_progress(
    server: FileServer, ctx: ToldContext, tmp_path: Path
) -> None:
    """From its beginning to its end, also where there is nothing to download or no length is told."""
    server.files["/large.bin"] = BODY * 4
    ctx.input(f"{server.url}/large.bin", progress=(0.2, 0.6))
    ratios = [ratio for ratio, _ in ctx.told.progress]
    assert ratios == sorted(ratios)
    assert len({ratio for ratio in ratios if 0.2 < ratio < 0.6}) >= 2
    assert ctx.told.progress[-1] == (0.6, "input large.bin is there")
    local = tmp_path / "local.bin"
    local.touch()
    ctx.input(local, progress=(0.6, 0.7))
    server.has_length = False
    server.headers["Connection"] = "close"
    ctx.input(f"{server.url}/scene.bin", progress=(0.7, 0.8))
    assert [ratio for ratio, _ in ctx.told.progress][-3:] == [0.7, 0.7, 0.8]
    with pytest.raises(ValueError, match=r"as \(0\.0, 0\.2\)"):
        ctx.input(local, progress=(0.5, 0.2))


def test_a_stop_ends_a_pause(server: FileServer, ctx: ToldContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """A drain waits neither for gigabytes nor for a server."""
    monkeypatch.setattr(download, "PAUSES_S", (3600.0,))
    server.statuses["/scene.bin"] = [503]
    monkeypatch.setattr(time, "sleep", lambda _: ctx.ask_to_stop())
    with pytest.raises(Cancelled):
        ctx.input(f"{server.url}/scene.bin")


def test_rubbish_for_an_answer_is_a_passing_problem(
    server: FileServer, ctx: ToldContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what is no URL is none."""
    server.headers["Content-Length"] = "many"
    server.headers["Connection"] = "close"
    assert ctx.input(f"{server.url}/scene.bin").read_bytes() == BODY
    server.headers = {"Content-Range": "bytes 7-9/10"}
    server.break_after = [1000, 1000]
    assert ctx.input(f"{server.url}/scene.bin").read_bytes() == BODY
    with pytest.raises(Fail, match="no URL that can be fetched"):
        ctx.input("http://[bad:8000000/a")
    with pytest.raises(Fail, match="no URL that can be fetched"):
        ctx.input("http://host:hunter2/a\n")


def test_names_with_spaces_and_letters_of_all_kinds_are_fetched(server: FileServer, ctx: ToldContext) -> None:
    """As people paste them."""
    server.files["/a%20sc%C3%A8ne.bin"] = b"x"
    assert ctx.input(f"{server.url}/a scène.bin").name == "a scène.bin"
    assert ctx.input(f"{server.url}/a%20sc%C3%A8ne.bin").name == "1-a scène.bin"


def test_an_object_of_a_store_goes_on_and_revalidates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the store's own ETag."""
    obstore = pytest.importorskip("obstore")
    store = obstore.store.MemoryStore()
    obstore.put(store, "a/scene.bin", BODY)
    monkeypatch.setattr(obstore.store, "from_url", lambda _: store)
    source = remote.StoreSource("s3://bucket/a/scene.bin", "it")
    with source.open(0, None, (None, None)) as opened:
        etag = opened.etag
        assert (opened.start, opened.total, b"".join(opened.chunks)) == (0, len(BODY), BODY)
    with source.open(1000, etag, (None, None)) as opened:
        assert (opened.start, opened.total, b"".join(opened.chunks)) == (1000, len(BODY), BODY[1000:])
    with pytest.raises(remote.NotModified):
        source.open(0, None, (etag, None))
    with pytest.raises(remote.Passing, match="changed while it was read") as raised:
        source.open(1000, '"other"', (None, None))
    assert raised.value.is_other
    assert make_context(tmp_path).input("s3://bucket/a/scene.bin").read_bytes() == BODY
    with pytest.raises(Fail, match=r"s3://bucket/none does not exist"):
        make_context(tmp_path).input("s3://bucket/none")

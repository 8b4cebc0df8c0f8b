"""Files of a folder in the pages of runs: shown to whom they belong, as they were stored."""

from __future__ import annotations

import hashlib
import os
import re
import socket
from email.message import Message
from pathlib import Path

import httpx
import pytest

from tests.integration.dashboard import site
from tests.integration.files import PNG, Place, assert_not_given


def test_pictures_are_shown_texts_read_and_everything_else_kept(place: Place) -> None:
    """As the agent stored them, each harmless by its headers."""
    place.store("renders/front.png", PNG)
    place.store("stdout", "drawn: ö\n".encode())
    place.store("page.html", b"<script>alert(1)</script>")
    place.store("part.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>")
    place.store("long.txt", b"x" * (1024 * 1024 + 1))
    place.tell()
    page = place.page()
    root = f"/ui/runs/{place.run['id']}/files"
    assert [one["src"] for tag, one in page.elements if tag == "img"] == [f"{root}/0"]
    assert {f"{root}/{index}" for index in range(5)} <= set(page.links)
    expected = [
        ("image/png", "inline"),
        ("text/plain; charset=utf-8", "inline"),
        ("text/plain; charset=utf-8", "inline"),
        ("application/octet-stream", "attachment"),
        ("application/octet-stream", "attachment"),
    ]
    for index, (media_type, kind) in enumerate(expected):
        answer = place.get(index)
        headers = answer.headers
        assert answer.status_code == 200
        assert hashlib.sha256(answer.content).hexdigest() == place.files[index]["sha256"]
        assert headers["content-length"] == str(place.files[index]["size"])
        assert (headers["content-type"], headers["content-disposition"].split(";")[0]) == (media_type, kind)
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"].startswith("sandbox; default-src 'none';")
        assert headers["cache-control"] == "no-store"


def test_a_large_file_is_sent_in_parts_and_its_head_without_it(place: Place) -> None:
    """Of more parts than one, to the byte; HEAD tells the same of it."""
    content = os.urandom(5 * 1024 * 1024 + 7)
    place.store("model.glb", content)
    place.tell()
    answer = place.get()
    assert answer.content == content
    head = place.browser.client.head(f"/ui/runs/{place.run['id']}/files/0")
    assert head.content == b""
    assert head.headers["content-length"] == str(len(content))


def test_an_empty_file_is_a_file(place: Place) -> None:
    """Of no bytes."""
    place.store("stderr", b"")
    place.tell()
    assert (place.get().status_code, place.get().content) == (200, b"")


@pytest.mark.parametrize(
    "name",
    [
        "plain.bin",
        "Ä ö ü 好.bin",
        'a"b;filename=c\\d.bin',
        "50%41.bin",
        "line\r\nSet-Cookie: x=1\x1b.bin",
        "'*.bin",
    ],
)
def test_a_name_is_told_as_it_is_whatever_stands_in_it(place: Place, name: str) -> None:
    """In one header, which another parser than ours reads back."""
    place.store(f"in a folder/{name}", b"content")
    place.tell()
    answer = place.get()
    assert answer.content == b"content"
    assert "set-cookie" not in answer.headers
    kind, fallback, told = answer.headers["content-disposition"].split("; ")
    for part, expected in ((told, name), (fallback, re.sub(r'[^ -~]|["\\\\%]', "_", name))):
        header = Message()
        header["Content-Disposition"] = f"{kind}; {part}"
        assert header.get_content_disposition() == "attachment"
        told_name = header.get_filename() or ""
        assert told_name in (expected, expected.encode().decode("latin-1"))


def test_a_server_without_folders_gives_none(tmp_path: Path) -> None:
    """They are named by their place, as before."""
    with site() as made:
        place = Place(made, tmp_path / "store")
        place.store("front.png", PNG)
        place.tell()
        page = place.page()
        assert place.files[0]["url"] in page.text
        assert not any("/files/" in link for link in page.links)
        assert not [tag for tag, _ in page.elements if tag == "img"]
        assert_not_given(place.get())


def test_the_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    """It is the operator's own."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "store").symlink_to(tmp_path / "disk")
    with site(files=[tmp_path / "store"]) as made:
        place = Place(made, tmp_path / "store")
        place.store("stdout", b"here")
        place.tell()
        assert place.get().content == b"here"


def test_a_reader_that_goes_away_leaves_no_file_open(place: Place) -> None:
    """Also in the middle of a file."""
    path = place.store("large.bin", os.urandom(24 * 1024 * 1024))
    place.tell()
    small = httpx.HTTPTransport(socket_options=[(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)])
    url = f"{place.here.server.url}/ui/runs/{place.run['id']}/files/0"
    with (
        httpx.Client(transport=small, cookies=place.browser.client.cookies) as client,
        client.stream("GET", url) as answer,
    ):
        assert answer.status_code == 200
        parts = answer.iter_raw()
        next(parts)
        assert path in opened_files()
    for _ in range(1000):
        if path not in opened_files():
            break
        place.here.api.get("/api/jobs")  # the server has a turn
    assert path not in opened_files()


def opened_files() -> list[Path]:
    """Return what this process, the server with it, has open."""
    found = []
    for one in Path("/proc/self/fd").iterdir():
        try:
            found.append(one.readlink())
        except OSError:
            continue
    return found

"""Files of a folder in the pages of runs: shown to whom they belong, and nothing else of the machine is."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from email.message import Message
from pathlib import Path
from typing import Any

import httpx
import pytest

from server.store.commands import EnsureOrganisation
from server.tokens import READ
from tests.integration.dashboard import Browser, Reader, Site, site
from worker.storage.file import SpooledFile, content_type_of, stored
from worker.storage.folder import FolderStore

LATER = "2026-01-01T00:00:09.000Z"
SECRET = b"root:x:0:0"
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010804000000b51c0c02"
    "0000000b4944415478da6364f80f00010501012718e3660000000049454e44ae426082"
)


class Place:
    """A server that shows a folder, the folder, and a run that stored files in it."""

    def __init__(self, here: Site, folder: Path) -> None:
        """Begin with a run without files."""
        self.here = here
        self.folder = folder
        self.run = here.run(here.task(here.job()))
        self.files: list[dict[str, Any]] = []
        self.browser = here.browser()

    def store(self, name: str, content: bytes, content_type: str | None = None) -> Path:
        """Have the agent's own code store a file, and remember what a run tells of it."""
        spooled = self.folder.parent / "spooled"
        spooled.write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        file = SpooledFile(
            name=name, path="spooled", size_bytes=len(content), sha256=digest,
            content_type=content_type_of(name, content_type),
        )  # fmt: skip
        store = FolderStore(self.folder)
        asyncio.run(store.store(self.run["id"], file, spooled))
        spooled.unlink()
        self.files.append(stored(file, store.url_of(self.run["id"], name)).as_results())
        return self.stored(name)

    def tell(self, run: dict[str, Any] | None = None) -> None:
        """Report the end of a run, with the files."""
        self.here.report(
            run or self.run, stoppedAt=LATER, resultCode="Success", results={"files": self.files}
        )

    def page(self) -> Reader:
        """Return the run's page."""
        return self.browser.look(f"/ui/runs/{self.run['id']}")

    def stored(self, name: str) -> Path:
        """Return where a file is."""
        return self.folder / str(self.run["id"]) / name

    def get(self, index: int | str = 0, browser: Browser | None = None, run: str = "") -> httpx.Response:
        """Ask for a file."""
        return (browser or self.browser).client.get(f"/ui/runs/{run or self.run['id']}/files/{index}")


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Path]]:
    """Give one server to all tests, with the folder that it shows; the store is a folder in another one."""
    folder = tmp_path_factory.mktemp("shown") / "store"
    with site(files=[folder.parent / "never there", folder]) as made:
        yield made, folder


@pytest.fixture
def place(shown: tuple[Site, Path]) -> Iterator[Place]:
    """Give a run of its own."""
    made = Place(*shown)
    yield made
    shutil.rmtree(made.folder, ignore_errors=True)


def assert_not_given(answer: httpx.Response) -> None:
    """See that nothing of a file is answered, and that people are told why."""
    assert answer.status_code == 404, answer.text
    assert SECRET not in answer.content
    assert "content-disposition" not in answer.headers
    assert len(Reader(answer.text).text) > 40


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


def link_at_the_end(path: Path, secret: Path) -> None:
    """Put a link in place of the file."""
    path.unlink()
    path.symlink_to(secret)


def link_in_the_middle(path: Path, secret: Path) -> None:
    """Put a link in place of its folder."""
    shutil.rmtree(path.parent)
    path.parent.symlink_to(secret.parent)


def link_at_the_run(path: Path, secret: Path) -> None:
    """Put a link in place of the run's folder."""
    shutil.rmtree(path.parents[1])
    (secret.parent / "a").mkdir()
    shutil.copy(secret, secret.parent / "a" / path.name)
    path.parents[1].symlink_to(secret.parent)


def pipe(path: Path, _secret: Path) -> None:
    """Put a pipe there, which nobody writes."""
    path.unlink()
    os.mkfifo(path)


def a_folder(path: Path, _secret: Path) -> None:
    """Put a folder there."""
    path.unlink()
    path.mkdir()


def a_socket(path: Path, _secret: Path) -> None:
    """Put a socket there."""
    path.unlink()
    with socket.socket(socket.AF_UNIX) as made, ExitStack() as stack:
        stack.callback(os.chdir, Path.cwd())
        os.chdir(path.parent)  # its whole path may be longer than an address can be
        made.bind(path.name)


def a_name_beside(path: Path, secret: Path) -> None:
    """Give another file that name."""
    path.unlink()
    path.hardlink_to(secret)


def another_of_its_size(path: Path, secret: Path) -> None:
    """Put another file there, no longer and no shorter, at the same time."""
    found = path.stat()
    path.write_bytes(b"y" * found.st_size)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert not secret.samefile(path)


def cut(path: Path, _secret: Path) -> None:
    """Take its end away."""
    os.truncate(path, 3)


def nothing(path: Path, _secret: Path) -> None:
    """Take it away."""
    path.unlink()


CHANGES = [
    link_at_the_end, link_in_the_middle, link_at_the_run, pipe, a_folder, a_socket, a_name_beside,
    another_of_its_size, cut, nothing,
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: str(change.__name__))
@pytest.mark.parametrize("is_known", [False, True], ids=["unseen", "seen before"])
def test_what_somebody_put_in_its_place_is_not_given(
    place: Place, tmp_path: Path, change: Callable[[Path, Path], None], is_known: bool
) -> None:
    """Links, pipes, other files: whatever lies there is not what the run told of."""
    (tmp_path / "front.log").write_bytes(SECRET)
    path = place.store("a/front.log", b"0123456789")
    place.tell()
    if is_known:
        assert place.get().content == b"0123456789"
    change(path, tmp_path / "front.log")
    assert_not_given(place.get())


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("../secret", "file:///{run}/../secret"),
        ("a/../../secret", "file:///{run}/a/../../secret"),
        ("..", "file:///{run}/.."),
        ("/secret", "file:///{run}//secret"),
        ("secret\0", "file:///{run}/secret%00"),
        ("secret", "file:///somewhere/secret"),
        ("secret", "file:///{run}/../secret"),
        ("secret", "s3://bucket/{run}/secret"),
        ("secret", "https://store.test/{run}/secret"),
        ("secret", "//{run}/secret"),
        ("x" * 300, "file:///{run}/" + "x" * 300),
        ("/".join("d" * 40), "file:///{run}/" + "/".join("d" * 40)),
    ],
)
def test_a_report_leads_to_no_file_but_those_of_its_run(place: Place, name: str, url: str) -> None:
    """Whatever it calls them, and wherever it says that they are."""
    secret = place.store("kept", SECRET).parents[1] / "secret"
    secret.write_bytes(SECRET)
    (secret.parent / place.run["id"] / "inner").mkdir()
    told = {**place.files[0], "name": name, "url": url.format(run=place.run["id"])}
    place.files = [told]
    place.tell()
    assert_not_given(place.get())


def test_a_report_that_tells_no_sum_or_another_shape_leads_to_no_file(place: Place) -> None:
    """Other workers than ours may write it; the page shows what it can."""
    place.store("kept", SECRET)
    (told,) = place.files
    odd: list[Any] = [{}, [], None, True, 10**30, -1, "0" * 64]
    place.files = [{**told, "sha256": value} for value in odd] + [{**told, "size": value} for value in odd]
    place.tell()
    place.page()
    for index in range(len(place.files)):
        assert_not_given(place.get(index))


@pytest.mark.parametrize("index", ["1", "-1", "x", "0x0", "9" * 5000, "²", "%00", "00000000"])
def test_a_file_that_the_run_has_not_is_not_found(place: Place, index: str) -> None:
    """Whatever stands in the address."""
    place.store("kept", SECRET)
    place.tell()
    assert_not_given(place.get(index))


def test_nobody_of_another_organisation_gets_a_file(place: Place) -> None:
    """Not by the address, and not by a run of their own that bears the same id and tells of it."""
    place.store("kept", SECRET)
    place.tell()
    place.here.server.apply(EnsureOrganisation(name="strangers"))
    token = place.here.server.new_token("strangers")
    stranger = place.here.browser(token)
    assert_not_given(place.get(browser=stranger))
    with httpx.Client(base_url=place.here.server.url, headers={"Authorization": f"Bearer {token}"}) as api:
        (job,) = api.post("/api/jobs", json={"type": "t"}).json()
        task = api.post("/api/jobs/tasks", json={"type": "t", "jobId": job["id"]}).json()
        run_id, begun = place.run["id"], {"taskId": task["id"], "startedAt": LATER, "podId": "p"}
        assert api.post("/api/jobs/runs", json={**begun, "id": run_id}).json()["id"] == run_id
        guessed = {**place.files[0], "sha256": hashlib.sha256(b"x" * len(SECRET)).hexdigest()}
        body = {"startedAt": LATER, "results": {"files": [guessed]}}
        assert api.put(f"/api/jobs/runs/{place.run['id']}", json=body).status_code == 200
    assert_not_given(place.get(browser=stranger))
    assert place.get().content == SECRET


def test_whoever_may_look_at_a_run_may_look_at_its_files(place: Place) -> None:
    """And nobody who is not signed in."""
    place.store("kept", b"content")
    place.tell()
    reader = place.here.browser(place.here.server.new_token("default", frozenset({READ})))
    assert place.get(browser=reader).content == b"content"
    assert place.get(browser=place.here.stranger()).status_code == 303


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

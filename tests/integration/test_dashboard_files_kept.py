"""Files that are not shown in the pages of runs: what somebody put in their place, and what is another's."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from server.store.commands import EnsureOrganisation
from server.tokens import READ
from tests.integration.files import LATER, SECRET, Place, assert_not_given


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

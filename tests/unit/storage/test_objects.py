"""Object stores by their URL."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.unit.storage.samples import spooled
from worker.storage.objects import ObjectStore
from worker.storage.opening import open_store
from worker.storage.store import FileGone, StoreError, StoreRefused

obstore = pytest.importorskip("obstore")


def test_a_file_becomes_an_object_with_its_type(tmp_path: Path) -> None:
    """In several parts at once where it is large; twice is once."""
    content = b"model" * 4_000_000
    file, path = spooled(tmp_path, content, "deep/a b.glb")
    store = open_store("memory:///")
    assert isinstance(store, ObjectStore)

    async def main() -> Any:
        await store.store("run-1", file, path)
        await store.store("run-1", file, path)
        return await obstore.get_async(store._opened, "run-1/deep/a b.glb")

    found = asyncio.run(main())
    assert found.attributes["Content-Type"] == "model/gltf-binary"
    assert bytes(found.bytes()) == content
    asyncio.run(store.aclose())


def test_the_url_of_an_object_shows_no_credentials() -> None:
    """Neither a user nor a signature."""
    store = open_store("az://key:geheim@container/prefix/?sig=abcdef")
    assert store.url_of("run-1", "a b.stl") == "az://container/prefix/run-1/a%20b.stl"


def test_a_folder_of_obstores_own_takes_files_too(tmp_path: Path) -> None:
    """It stands for stores that keep no attributes."""
    (tmp_path / "bucket").mkdir()
    file, path = spooled(tmp_path, b"model", "x.stl")
    asyncio.run(ObjectStore((tmp_path / "bucket").as_uri()).store("run-1", file, path))
    assert (tmp_path / "bucket" / "run-1" / "x.stl").read_bytes() == b"model"


def test_what_no_store_has_is_a_refusal(tmp_path: Path) -> None:
    """A scheme that nobody knows waits for a person, on one line."""
    file, path = spooled(tmp_path, b"model", "x")
    with pytest.raises(StoreRefused, match=r"file x could not be .* nowhere://bucket/run-1/x: ") as told:
        asyncio.run(open_store("nowhere://bucket?sig=abcdef").store("run-1", file, path))
    assert "\n" not in str(told.value)
    assert "abcdef" not in str(told.value)


@pytest.mark.parametrize(
    ("raised", "is_refused"),
    [
        (obstore.exceptions.PermissionDeniedError, True),
        (obstore.exceptions.NotFoundError, True),
        (obstore.exceptions.GenericError, False),
        (OSError, False),
    ],
)
def test_an_error_tells_whether_a_person_has_to_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raised: type[Exception], is_refused: bool
) -> None:
    """No bucket and no access, or a bad moment; no such store can be had here, so the library is told."""

    async def put(*_: object, **__: object) -> None:
        raise raised("PUT https://account.test/c/x?sig=abcdef failed\n\nDebug source:\nall of it")

    monkeypatch.setattr("obstore.put_async", put)
    file, path = spooled(tmp_path, b"model", "x")
    with pytest.raises(StoreError) as told:
        asyncio.run(open_store("memory:///").store("run-1", file, path))
    assert isinstance(told.value, StoreRefused) is is_refused
    assert "PUT https://account.test/c/x?*** failed" in str(told.value)
    assert "all of it" not in str(told.value)


def test_a_file_that_is_gone_from_the_spool_is_told_so(tmp_path: Path) -> None:
    """No try would bring it back."""
    file, path = spooled(tmp_path, b"model")
    path.unlink()
    with pytest.raises(FileGone):
        asyncio.run(open_store("memory:///").store("run-1", file, path))

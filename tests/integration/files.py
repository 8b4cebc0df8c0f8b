"""A server that shows files of a folder, and a run that stored some in it."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import httpx

from tests.integration.dashboard import Browser, Reader, Site
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


def assert_not_given(answer: httpx.Response) -> None:
    """See that nothing of a file is answered, and that people are told why."""
    assert answer.status_code == 404, answer.text
    assert SECRET not in answer.content
    assert "content-disposition" not in answer.headers
    assert len(Reader(answer.text).text) > 40

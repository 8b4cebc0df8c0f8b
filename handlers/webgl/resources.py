"""The files that a glTF names beside itself: only those in its own folder, or below the same address."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import quote, unquote, urlsplit
from urllib.request import url2pathname

from worker import Fail

__all__ = ["Resources"]

MAX_FILES: Final = 256
SHOWN_CHARS: Final = 120


class Resources:
    """What lies beside one model, up to a number of bytes."""

    def __init__(self, source: str, name: str, get: Callable[..., Path], left_bytes: int) -> None:
        """Take the model's path or URL, its name for messages, and what gets a file."""
        self._source = source
        self._name = name
        self._get = get
        self._left_bytes = left_bytes
        self._count = 0

    def fetch(self, uri: str) -> Path:
        """Return a file that the model names.

        Raises:
            Fail: it lies elsewhere, is not there, or is too large.
        """
        shown = repr(uri[:SHOWN_CHARS])
        self._count += 1
        if self._count > MAX_FILES:
            raise Fail(f"{self._name} asks for more than {MAX_FILES} files; pack it into a GLB")
        parts = self.parts_of(uri)
        if parts is None:
            raise Fail(
                f"{self._name} asks for {shown}, which does not lie beside it; nothing is fetched from "
                "elsewhere: pack it into a GLB"
            )
        try:
            file = self._get(self._place_of(parts, shown), max_bytes=self._left_bytes)
        except Fail as exc:
            raise Fail(f"{self._name} needs the file {shown} beside it: {exc}; pack both into a GLB") from exc
        self._left_bytes -= file.stat().st_size
        if self._left_bytes < 0:
            raise Fail(f"{self._name} and the files beside it have more bytes than the limit allows")
        return file

    def name_of(self, uri: str) -> str:
        """Return the name by which the page asks for it."""
        return unquote(uri).removeprefix("./")

    @staticmethod
    def parts_of(uri: str) -> tuple[str, ...] | None:
        """Return the parts of a relative path; None where it is none, or leads upwards."""
        if "\\" in uri or "?" in uri or "#" in uri or not uri.isprintable() or ":" in uri.partition("/")[0]:
            return None
        plain = unquote(uri)
        parts = PurePosixPath(plain).parts
        if not parts or plain.startswith("/") or ".." in parts or not plain.isprintable() or "\\" in plain:
            return None
        return parts

    def _place_of(self, parts: tuple[str, ...], shown: str) -> str:
        """Return path or URL of a file below the model's folder."""
        split = urlsplit(self._source) if "://" in self._source else None
        if split is not None and split.scheme.lower() != "file":
            folder = split.path.rpartition("/")[0]
            return split._replace(path=f"{folder}/{quote('/'.join(parts))}", query="", fragment="").geturl()
        folder_path = (
            Path(self._source if split is None else url2pathname(split.path)).absolute().parent.resolve()
        )
        file = folder_path.joinpath(*parts)
        if not file.resolve().is_relative_to(folder_path):
            raise Fail(f"{self._name} asks for {shown}, a link that leads out of its folder")
        return str(file)

"""A request as it is sent: what all of a connection share is encoded once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Self
from urllib.parse import unquote

from msgspec import Struct

from worker.api.faults import Unsendable

__all__ = ["Headers", "Origin", "Request"]

JSON: Final = "application/json"
# A URL that means what it says: no IPv6, user, escapes, dots to resolve, or letters to translate.
PLAIN: Final = re.compile(
    r"(?P<scheme>https?)://(?P<host>[a-z0-9]+(?:[.-]+[a-z0-9]+)*)(?::(?P<port>[1-9][0-9]{0,4}))?"
    r"(?P<path>(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*/)"
)
PORTS: Final = {"http": 80, "https": 443}
WRITES: Final = frozenset({"POST", "PUT", "PATCH"})  # of which a server may want a length, be it 0


class Origin(Struct, frozen=True):
    """Whom connections lead to, and below which path its API is."""

    scheme: str
    host: str  # as it is looked up: ASCII
    port: int | None  # None: the scheme's own
    netloc: str  # host and port, as the URL has them
    path: str  # encoded; ends in a slash

    @classmethod
    def of(cls, url: str) -> Self:
        """Read a URL; one that is not plain by httpx, which an agent need not load for most.

        Raises: httpx.InvalidURL
        """
        slashed = url.rstrip("/") + "/"
        if (plain := PLAIN.fullmatch(slashed)) is None:
            return cls.of_any(slashed)
        scheme, host, port, path = plain["scheme"], plain["host"], int(plain["port"] or 0), plain["path"]
        if port in (0, PORTS[scheme]):  # the scheme's own goes unsaid
            return cls(scheme, host, None, host, path)
        return cls(scheme, host, port, f"{host}:{port}", path)

    @classmethod
    def of_any(cls, url: str) -> Self:
        """Read a URL with all that one may hold."""
        import httpx  # noqa: PLC0415 - 3 MiB

        read = httpx.URL(url)
        path = read.raw_path.decode("ascii")
        return cls(read.scheme, read.raw_host.decode("ascii"), read.port, read.netloc.decode("ascii"), path)

    @property
    def key(self) -> tuple[str, str]:
        """What a connection is kept under."""
        return self.scheme, self.netloc


class Headers(Struct, frozen=True):
    """Headers that go with one request after another."""

    fields: tuple[tuple[str, str], ...]
    encoded: bytes  # lines, each with its end

    @classmethod
    def of(cls, fields: Mapping[str, str]) -> Self:
        """Encode headers.

        Raises: `worker.api.faults.Unsendable` where one would end its line, or be read as another text.
        """
        lines = [f"{name}: {value}" for name, value in fields.items()]
        if not all(line.isascii() and line.isprintable() for line in lines):
            raise Unsendable("a header of the request holds more than printable ASCII")
        return cls(tuple(fields.items()), b"".join(f"{line}\r\n".encode("ascii") for line in lines))


class Request(Struct, frozen=True):
    """One request."""

    method: str
    origin: Origin
    target: str  # path and query, encoded
    headers: Headers
    prefer: str | None = None  # RFC 7240
    content: bytes | None = None  # JSON; None: no body

    @property
    def what(self) -> str:
        """How a person is told of it: method and path, without the query."""
        return f"{self.method} {unquote(self.target.partition('?')[0])}"

    @property
    def own_fields(self) -> list[tuple[str, str]]:
        """The headers that are this request's alone."""
        fields = [] if self.prefer is None else [("prefer", self.prefer)]
        if self.content is not None:
            fields += [("content-type", JSON), ("content-length", str(len(self.content)))]
        elif self.method in WRITES:
            fields.append(("content-length", "0"))
        return fields

    def encoded(self) -> bytes:
        """Return it as it is sent."""
        own = "".join([f"{name}: {value}\r\n" for name, value in self.own_fields])
        return b"".join(
            (
                f"{self.method} {self.target} HTTP/1.1\r\n".encode("ascii"),
                self.headers.encoded,
                f"{own}\r\n".encode("ascii"),
                self.content or b"",
            )
        )

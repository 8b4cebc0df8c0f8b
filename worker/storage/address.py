"""The address of a store: what people may see of it, and what it keeps secret."""

from __future__ import annotations

import base64
import re
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from msgspec import Struct

__all__ = ["Address", "secrets_in"]

QUERY: Final = re.compile(r"\?[^\s\"'<>)]+")  # of a URL in a message: signatures stand there


class Address(Struct, frozen=True):
    """A store's URL, taken apart."""

    shown: str  # scheme, host and path: for results, logs and errors
    query: str  # sent with each request (a signature), shown nowhere
    user: str | None
    password: str | None

    @classmethod
    def read(cls, url: str) -> Address:
        """Take a URL apart."""
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        return cls(
            shown=f"{parts.scheme}://{host}{parts.path.rstrip('/')}",
            query=parts.query,
            user=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
        )

    def url_of(self, key: str) -> str:
        """Return the address of an object, as it may be shown."""
        return f"{self.shown}/{quote(key)}"

    def scrubbed(self, message: str, also: tuple[str, ...] = ()) -> str:
        """Return what a library says of a failure, on one line, without what is secret here."""
        line = " ".join(message.split("\n\nDebug source", 1)[0].split())
        for secret in sorted({*self.secrets, *also}, key=len, reverse=True):
            line = line.replace(secret, "***")
        return QUERY.sub("?***", line)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What of the URL must never be seen, in each form in which it may turn up."""
        found = [part for part in (self.password, self.query) if part]
        if self.password:
            pair = f"{self.user or ''}:{self.password}"
            found += [quote(self.password, safe=""), base64.b64encode(pair.encode()).decode()]
        found += [value for _, _, value in (pair.partition("=") for pair in self.query.split("&")) if value]
        return tuple(dict.fromkeys(one for one in found if len(one) > 3))


def secrets_in(place: str | None) -> tuple[str, ...]:
    """Return what a store's setting holds that must never be seen; nothing for a folder."""
    return Address.read(place).secrets if place and "://" in place else ()

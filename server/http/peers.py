"""Where a request came from: the other end of the connection, or what a proxy that is trusted says."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from starlette.types import Scope

__all__ = ["Network", "Peers", "network"]

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def network(text: str) -> Network:
    """Return a network or a single address.

    Raises:
        ValueError: it is none.
    """
    return ipaddress.ip_network(text.strip(), strict=False)


class Peers:
    """Knows which proxies to believe."""

    def __init__(self, trusted: Iterable[Network] = ()) -> None:
        """Believe ``X-Forwarded-For`` and ``-Proto`` of these alone; of nobody by default."""
        self._trusted = tuple(trusted)

    def address(self, scope: Scope) -> str | None:
        """Return the address that a request came from; None where there is none (a socket of its own kind).

        Each proxy adds whom it heard to the end of ``X-Forwarded-For``. So it is read from the end, for as
        long as who said it is trusted: what a client wrote itself is never believed.
        """
        if (client := scope.get("client")) is None:
            return None
        at = _address(client[0])
        said = [
            part
            for name, value in scope["headers"]
            if name == b"x-forwarded-for"
            for part in value.split(b",")
        ]
        while said and at is not None and self._is_trusted(at):
            if (before := _address(said.pop().decode("latin-1"))) is None:
                break
            at = before
        return str(client[0]) if at is None else str(at)

    def is_https(self, scope: Scope) -> bool:
        """Tell whether who asks came by HTTPS: to us, or to a trusted proxy that says so."""
        if scope["scheme"] == "https":
            return True
        at = _address(scope["client"][0]) if scope.get("client") else None
        said = [value for name, value in scope["headers"] if name == b"x-forwarded-proto"]
        return at is not None and self._is_trusted(at) and said[-1:] == [b"https"]

    def _is_trusted(self, address: Address) -> bool:
        return any(address in one for one in self._trusted)


def _address(text: str) -> Address | None:
    """Return an address, without port and zone; one of IPv4 within IPv6 as what it is."""
    text = text.strip().partition("%")[0]
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found

"""Where a request came from: what proxies say is believed of those that are trusted, and of nobody else."""

from __future__ import annotations

from typing import Any

import pytest

from server.http.peers import Peers, network

PROXY = "10.0.0.7"


def scope(client: str | None, *forwarded: str) -> dict[str, Any]:
    """Return the scope of a request."""
    return {
        "client": None if client is None else (client, 1234),
        "headers": [(b"x-forwarded-for", value.encode()) for value in forwarded],
    }


@pytest.mark.parametrize(
    ("client", "forwarded", "address"),
    [
        (PROXY, [], PROXY),
        (PROXY, ["192.0.2.1"], "192.0.2.1"),
        (PROXY, ["1.1.1.1, 192.0.2.1"], "192.0.2.1"),  # the client wrote the first one itself
        (PROXY, ["1.1.1.1", "192.0.2.1"], "192.0.2.1"),  # the same in two headers
        (PROXY, ["192.0.2.1, 10.0.0.9"], "192.0.2.1"),  # two proxies, both trusted
        (PROXY, ["192.0.2.1:4711"], "192.0.2.1"),
        (PROXY, ["[2001:db8::1]:4711"], "2001:db8::1"),
        (PROXY, ["2001:db8::1"], "2001:db8::1"),
        (PROXY, ["::ffff:192.0.2.1"], "192.0.2.1"),
        (PROXY, ["<script>"], PROXY),
        (PROXY, ["192.0.2.1, nonsense"], PROXY),
        (PROXY, [""], PROXY),
        (f"::ffff:{PROXY}", ["192.0.2.1"], "192.0.2.1"),
        ("192.0.2.99", ["127.0.0.1"], "192.0.2.99"),  # not trusted: it can say what it likes
        (None, ["192.0.2.1"], None),
    ],
)
def test_an_address_is_that_of_the_nearest_one_who_is_not_trusted(
    client: str | None, forwarded: list[str], address: str | None
) -> None:
    """Read from the end, and never an address that the client could have written."""
    assert Peers([network("10.0.0.0/24")]).address(scope(client, *forwarded)) == address


def test_nobody_is_believed_by_default() -> None:
    """A server without a proxy knows its clients by their connections alone."""
    assert Peers().address(scope("127.0.0.1", "192.0.2.1")) == "127.0.0.1"


def test_a_word_that_is_no_network_is_refused() -> None:
    """Else a proxy with a typing error would not be believed, and nobody would know why."""
    with pytest.raises(ValueError, match="does not appear to be"):
        network("proxy.example")

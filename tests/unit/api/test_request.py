"""Where requests lead to: plain URLs are read as httpx reads any."""

from __future__ import annotations

import sys

import pytest

from worker.api.request import Origin

PLAIN = [
    "http://127.0.0.1:8077",
    "http://localhost",
    "https://jobs.example.com",
    "https://jobs.example.com/",
    "https://jobs.example.com:443/api/v1",
    "http://jobs.example.com:443/a_b/c~d-e.f//",
    "http://a-b.example:80",
    "https://a.example:65535/x",
    "http://a.example:65536",
]
ODD = [
    "HTTP://EXAMPLE.com",
    "http://[::1]:8077/x",
    "https://user:word@a.example/x",
    "https://bücher.example/ü",
    "https://a.example/a/../b",
    "https://a.example/a//b",
    "https://a.example/a?b=c",
    "https://a.example/%20 x",
    "ftp://a.example",
]


@pytest.mark.parametrize("url", [*PLAIN, *ODD])
def test_a_url_is_read_as_httpx_reads_it(url: str) -> None:
    """Whoever reads it, requests go to the same place."""
    assert Origin.of(url) == Origin.of_any(url.rstrip("/") + "/")


@pytest.mark.parametrize("url", PLAIN)
def test_a_plain_url_needs_no_httpx(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes 3 MiB, which an agent need not hold; the patch makes its import fail."""
    monkeypatch.setitem(sys.modules, "httpx", None)
    Origin.of(url)

"""The servers under test: ours, and a foreign one, so that the suite tests the reference."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from server.testing import RunningServer, running_server
from tests.contract.caller import Caller
from tests.foreign import ForeignServer, foreign_server
from tests.postgres.databases import database

BOTH = ("ours", "ours-postgres", "foreign")
OURS = ("ours", "ours-postgres")

Target = tuple[str, RunningServer | ForeignServer]


@contextlib.contextmanager
def served(kind: str) -> Iterator[RunningServer | ForeignServer]:
    """Serve one of them; what comes has `url` and `token`."""
    if kind == "foreign":
        with foreign_server() as server:
            yield server
        return
    with served_by_us(kind) as server:
        yield server


@contextlib.contextmanager
def served_by_us(kind: str) -> Iterator[RunningServer]:
    """Serve ours, on SQLite or PostgreSQL."""
    if kind == "ours":
        with running_server() as server:
            yield server
        return
    with database() as url, running_server(url) as server:
        yield server


@contextlib.contextmanager
def calling(kind: str, url: str, token: str | None) -> Iterator[Caller]:
    """Call a server until the block ends."""
    caller = Caller(kind.partition("-")[0], url, token)
    try:
        yield caller
    finally:
        caller.http.close()


@pytest.fixture(scope="module", params=BOTH)
def target(request: pytest.FixtureRequest) -> Iterator[Target]:
    """A server for all tests of a module: its kind, and what serves it."""
    with served(request.param) as server:
        yield request.param, server


@pytest.fixture(scope="module")
def api(target: Target) -> Iterator[Caller]:
    """A caller with a token."""
    with calling(target[0], target[1].url, target[1].token) as caller:
        yield caller


@pytest.fixture(scope="module")
def nobody(target: Target) -> Iterator[Caller]:
    """A caller without a token."""
    with calling(target[0], target[1].url, None) as caller:
        yield caller


@pytest.fixture
def token(target: Target) -> str:
    """The token of the server."""
    return str(target[1].token)


@pytest.fixture(params=BOTH)
def fresh_api(request: pytest.FixtureRequest) -> Iterator[Caller]:
    """A caller of a server that nobody has used before."""
    with served(request.param) as server, calling(request.param, server.url, server.token) as caller:
        yield caller


@pytest.fixture(scope="module", params=OURS)
def our_server(request: pytest.FixtureRequest) -> Iterator[RunningServer]:
    """Our server alone, for what the reference leaves open."""
    with served_by_us(request.param) as server:
        yield server


@pytest.fixture(scope="module")
def ours(our_server: RunningServer) -> Iterator[Caller]:
    """A caller of our server."""
    with calling("ours", our_server.url, our_server.token) as caller:
        yield caller

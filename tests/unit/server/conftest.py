"""The kinds of stores that tests are run on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.postgres.cluster import programs
from tests.unit.server.world import Kind


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def each_store(request: pytest.FixtureRequest) -> Iterator[None]:
    """Run the tests of a module on every store: what `opened` opens is of that kind."""
    if request.param == "postgres":
        programs()  # skips where there is none
    Kind.is_postgres = request.param == "postgres"
    Kind.examples = 0
    yield
    Kind.is_postgres = False

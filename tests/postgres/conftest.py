"""Tests here need a real PostgreSQL; they skip where there is none, and CI installs it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.postgres.cluster import programs
from tests.postgres.databases import database


@pytest.fixture(autouse=True, scope="session")
def postgres() -> None:
    """Skip where there is none."""
    programs()


@pytest.fixture
def url() -> Iterator[str]:
    """Give the URL of a database with our schema, and nothing in it."""
    with database() as made:
        yield made

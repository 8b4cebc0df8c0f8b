"""Tests of what is shipped, whole: each is a make target of its own, since it takes minutes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.yard import Yard, open_yard

HERE = Path(__file__).resolve().parent


def pytest_ignore_collect(config: pytest.Config) -> bool | None:
    """Leave this folder out unless it was asked for by name."""
    asked = (Path(config.invocation_params.dir, arg.split("::")[0]).resolve() for arg in config.args)
    return None if any(path.is_relative_to(HERE) for path in asked) else True


@pytest.fixture(scope="session")
def yard() -> Iterator[Yard]:
    """Give the image, and a server and an agent of it; it is built once."""
    with open_yard() as it:
        yield it

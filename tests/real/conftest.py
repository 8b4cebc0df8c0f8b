"""Tests beside real engines are run by `make test-real` only: they install packages and must be root."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.dashboard import Site, site
from tests.real.engine import engine
from tests.real.fleet import PRICES
from tests.real.pages import Window, window

HERE = Path(__file__).resolve().parent


def pytest_ignore_collect(config: pytest.Config) -> bool | None:
    """Leave this folder out unless it was asked for by name."""
    asked = (Path(config.invocation_params.dir, arg.split("::")[0]).resolve() for arg in config.args)
    return None if any(path.is_relative_to(HERE) for path in asked) else True


@pytest.fixture(scope="module")
def program() -> Iterator[str]:
    """Have a browser."""
    with engine("with_chromium.sh", "MILLHAND_CHROMIUM") as found:
        yield found


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder whose files the server shows."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def here(store: Path) -> Iterator[Site]:
    """Give one server to all tests of a file."""
    with site(files=[store], prices=PRICES) as made:
        yield made


@pytest.fixture
def page(program: str, here: Site, tmp_path: Path) -> Iterator[Window]:
    """Give a page on which somebody has signed in; at the end it must have had nothing to complain of."""
    with window(program, tmp_path / "profile") as made:
        made.look(1280)
        made.go(f"{here.server.url}/")
        made.type("#token", here.server.token)
        made.click("form button")
        assert made.path == "/ui/"
        yield made
        assert made.complaints == []

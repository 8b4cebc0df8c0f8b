"""Tests beside real engines are run by `make test-real` only: they install packages and must be root."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest

from tests.integration.dashboard import Site, site
from tests.real.chart import FURTHER, Tools
from tests.real.engine import engine, missing
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
def chromium() -> Iterator[str]:
    """Have a browser; CI runs as root, where it becomes nobody."""
    with engine("with_chromium.sh", "MILLHAND_CHROMIUM") as program, pytest.MonkeyPatch.context() as patch:
        patch.setenv("MILLHAND_CHROMIUM", program)
        yield program


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


@pytest.fixture(scope="module")
def tools() -> Iterator[Tools]:
    """Get helm, and schemas of Kubernetes."""
    with TemporaryDirectory(prefix="millhand-chart-") as folder:
        done = subprocess.run(
            [HERE / "chart_tools.sh", folder], capture_output=True, text=True, check=False, timeout=300
        )
        if done.returncode != 0:
            missing(f"no helm, or no schemas: {done.stderr[-1000:]}")
        yield Tools(Path(folder))


@pytest.fixture
def further(tmp_path: Path) -> Path:
    """Get a file with the values of the chart that no example has."""
    path = tmp_path / "further.json"
    path.write_bytes(msgspec.json.encode(FURTHER))
    return path

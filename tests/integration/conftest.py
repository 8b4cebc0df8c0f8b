"""What tests share: a site on each store, and a folder of wheels, from which they install and ask nobody."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.integration.dashboard import Site, site
from tests.integration.files import Place
from tests.postgres.databases import database
from tests.wheels import PROJECT, build_wheel, pack_libraries, requirements_of

HOME = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def shelf() -> Iterator[Path]:
    """Millhand's wheel, built from the tree, and those of the locked libraries; gone at the end."""
    with TemporaryDirectory(prefix="millhand-wheels-") as folder:
        path = Path(folder)
        pack_libraries(
            path,
            *requirements_of(distribution(PROJECT), "server", "mesh"),
            "pytest",
            "hatchling",
            "editables",
        )
        build_wheel(HOME, path)
        yield path


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def here(request: pytest.FixtureRequest) -> Iterator[Site]:
    """Give one site on each store to all tests; each looks at what it made."""
    if request.param == "sqlite":
        with site() as made:
            yield made
        return
    with database() as url, site(db=url) as made:
        yield made


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Path]]:
    """Give one server to all tests, with the folder that it shows; the store is a folder in another one."""
    folder = tmp_path_factory.mktemp("shown") / "store"
    with site(files=[folder.parent / "never there", folder]) as made:
        yield made, folder


@pytest.fixture
def place(shown: tuple[Site, Path]) -> Iterator[Place]:
    """Give a run of its own."""
    made = Place(*shown)
    yield made
    shutil.rmtree(made.folder, ignore_errors=True)

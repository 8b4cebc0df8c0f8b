"""A folder of wheels, from which tests install as everybody does, and ask nobody."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

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

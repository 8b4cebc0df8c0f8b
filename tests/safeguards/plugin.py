"""A plugin of pytest: runs tests without the safeguard that `MILLHAND_WITHOUT` names."""

from __future__ import annotations

import os

from tests.safeguards.without import without


def pytest_configure() -> None:
    """Take it away before any test is collected."""
    without(os.environ["MILLHAND_WITHOUT"])

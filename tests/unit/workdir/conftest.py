"""What the log said, for tests of this folder."""

from collections.abc import Iterator

import pytest
import structlog
from structlog.testing import capture_logs
from structlog.typing import EventDict


@pytest.fixture
def said() -> Iterator[list[EventDict]]:
    """Give the events of the log."""
    before = structlog.get_config()
    structlog.configure(cache_logger_on_first_use=False)
    with capture_logs() as events:
        yield events
    structlog.configure(**before)

"""What every test has: logs as plain lines, shown where a test fails; no cloud is asked."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

# The metadata of the machine that the tests run on is none of their business.
os.environ["MILLHAND_CLOUD"] = "none"
# Nor is the width of the terminal in which they run, which pytest's own processes pass on.
os.environ.pop("COLUMNS", None)
os.environ.pop("LINES", None)

structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.format_exc_info,
        structlog.processors.KeyValueRenderer(key_order=["level", "event"]),
    ],
    cache_logger_on_first_use=False,
)


@pytest.fixture
def open_path() -> Iterator[Path]:
    """Give a folder that every user can pass; pytest's own are for the owner alone."""
    with tempfile.TemporaryDirectory(prefix="millhand-open-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)

"""What every test has: logs as plain lines, shown where a test fails; no cloud is asked."""

from __future__ import annotations

import os

import structlog

# The metadata of the machine that the tests run on is none of their business.
os.environ["MILLHAND_CLOUD"] = "none"

structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.format_exc_info,
        structlog.processors.KeyValueRenderer(key_order=["level", "event"]),
    ],
    cache_logger_on_first_use=False,
)

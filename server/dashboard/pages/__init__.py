"""What each page shows: from the store's records to the values of a template."""

from __future__ import annotations

from typing import Final

from server.dashboard.pages import handlers, jobs, machines, reports, runs, timeline

__all__ = ["PAGES"]

PAGES: Final = (*jobs.PAGES, *runs.PAGES, *machines.PAGES, *timeline.PAGES, *reports.PAGES, *handlers.PAGES)

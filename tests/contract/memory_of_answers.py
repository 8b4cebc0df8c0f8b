"""A process that only reads answers, and tells how much memory that took.

Arguments: name and URL of each call, in turns. One JSON line for each: what came, and by how many bytes the
most memory that the process ever had has grown since the first, which is only there to warm up.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from pathlib import Path

from tests.contract.calls import CALLS
from worker.api.connect import open_api
from worker.api.errors import ApiError
from worker.api.polls import Poll
from worker.config import ApiConfig


def peak_bytes() -> int:
    """Return the most memory that this process ever had resident."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) * 1024


async def told(name: str, url: str) -> str:
    """Make one request; return how many objects came, or which error."""
    async with open_api(ApiConfig(url=url, token="t")) as api:
        try:
            found = await CALLS[name](api)
        except ApiError as error:
            return type(error).__name__
    return str(len(found.tasks if isinstance(found, Poll) else found)) if name != "get_run" else "an object"


async def main() -> None:
    """Warm up by the first call, then measure each."""
    names, urls = sys.argv[1::2], sys.argv[2::2]
    await told(names[0], urls[0])
    before = peak_bytes()
    for name, url in zip(names[1:], urls[1:], strict=True):
        found = await told(name, url)
        print(json.dumps([found, peak_bytes() - before]), flush=True)  # noqa: T201 - the result


if __name__ == "__main__":
    asyncio.run(main())

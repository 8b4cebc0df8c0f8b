"""Many agents that wait, without their executors: `python -m tests.bench.waiters URL TOKEN COUNT`.

Each polls on a connection of its own, again when it is answered. It says `COUNT wait` once all have asked
and a moment has passed without an answer, then a line for each task that one of them was given: its id and
the time, in nanoseconds since 1970. The task is claimed and done, so that it is listed once.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from typing import Final
from urllib.parse import urlsplit

import uvloop

AT_ONCE: Final = 200  # connections that are opened at the same time
SETTLED_S: Final = 3.0
LENGTH: Final = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


class Waiter:
    """One agent and its connection."""

    def __init__(self, number: int, url: str, token: str) -> None:
        """Wait as the agent of a number."""
        self._address = urlsplit(url)
        self._agent = f"pod-{number}/bench"
        self._head = f"Host: bench\r\nAuthorization: Bearer {token}\r\nMillhand-Agent: {self._agent}\r\n"
        path = "/api/jobs/tasks?runStatus=pending&perPage=1"
        self._poll = f"GET {path} HTTP/1.1\r\n{self._head}Prefer: wait=60\r\n\r\n".encode()

    async def open(self) -> None:
        """Connect and ask."""
        self._in, self._out = await asyncio.open_connection(self._address.hostname, self._address.port)
        self._out.write(self._poll)

    async def wait(self) -> None:
        """Take what comes, for ever."""
        while True:
            for task in json.loads(await self._answer())["tasks"]:
                sys.stdout.write(f"{task['id']} {time.time_ns()}\n")
                sys.stdout.flush()
                await self._do(task["id"])
            self._out.write(self._poll)

    async def _do(self, task_id: str) -> None:
        now = "2026-01-02T03:04:05.678Z"
        run = {"taskId": task_id, "startedAt": now, "stoppedAt": now, "resultCode": "Success"}
        body = json.dumps(run).encode()
        kind = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self._out.write(f"POST /api/jobs/runs HTTP/1.1\r\n{self._head}{kind}".encode() + body)
        await self._answer()

    async def _answer(self) -> bytes:
        head = await self._in.readuntil(b"\r\n\r\n")
        found = LENGTH.search(head)
        assert found is not None, head
        assert head.startswith(b"HTTP/1.1 200"), head
        return await self._in.readexactly(int(found[1]))


async def main(url: str, token: str, count: int) -> None:
    """Wait with so many."""
    all_ = [Waiter(number, url, token) for number in range(count)]
    for begin in range(0, count, AT_ONCE):
        await asyncio.gather(*(one.open() for one in all_[begin : begin + AT_ONCE]))
    waiting = [asyncio.create_task(one.wait()) for one in all_]
    await asyncio.sleep(SETTLED_S)
    sys.stdout.write(f"{count} wait\n")
    sys.stdout.flush()
    await asyncio.gather(*waiting)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))

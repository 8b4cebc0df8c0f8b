"""Real agents try failed tasks again: as often, as late and after such errors as handler and task say."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import pytest

from server.testing import running_server
from tests.acceptance.agents import running_agent, start_agent
from tests.foreign import foreign_server
from worker.api.client import JobsApi
from worker.api.connect import open_api
from worker.api.models import Run, recency
from worker.api.wire import parse_instant
from worker.config import ApiConfig

LIMIT_S: Final = 90.0  # a bound for a hang, not a measure
HANDLERS: Final = '''
"""Handlers that fail as they are told, and that write down when they go on beside each other."""
import fcntl, os, time
from pathlib import Path
from worker import Context, Fail, Retry, RetryPolicy, handler

class Overloaded(ConnectionError):
    """The other side has too much to do."""

def count(file: str) -> int:
    with open(file, "a+") as book:
        book.write("x")
        book.flush()
        return os.fstat(book.fileno()).st_size

@handler("flaky", retry=RetryPolicy(max_attempts=5, backoff_s=1.2, retry_on=(ConnectionError,)))
def flaky(ctx: Context, *, file: str, fails: int, how: str = "overloaded") -> dict:
    """Fail so often, then succeed."""
    attempt = count(file)
    if attempt > fails:
        return {"attempt": attempt}
    raise {
        "overloaded": Overloaded("too much to do"),
        "value": ValueError("nonsense"),
        "fail": Fail("for good"),
        "retry": Retry("later", after_s=0.0),
    }[how]

def write(line: str, file: str) -> None:
    with open(file, "a") as book:
        fcntl.flock(book, fcntl.LOCK_EX)
        book.write(line + "\\n")

@handler("narrow", concurrency=2)
def narrow(ctx: Context, *, book: str, go: str) -> None:
    """Wait until one may go on."""
    write("begin", book)
    while not Path(go).exists():
        ctx.check()
        time.sleep(0.01)
    time.sleep(0.05)
    write("end", book)

@handler("wide")
def wide(ctx: Context, *, book: str) -> None:
    """Only pass by."""
    write("wide", book)
'''
QUICK: Final = {"MILLHAND_POLL_INTERVAL": "0.2", "MILLHAND_POLL_MAX": "0.5"}


class Scene:
    """A server, and what a test does with it."""

    def __init__(self, api: JobsApi, job: str, url: str, token: str, folder: Path) -> None:
        """Take them."""
        self.api, self.job, self.folder, self.access = api, job, folder, (url, token)
        (folder / "own.py").write_text(HANDLERS)
        self.settings = {**QUICK, "MILLHAND_HANDLERS": str(folder / "own.py")}
        self.settings["MILLHAND_TYPES"] = "flaky,narrow,wide"

    async def submit(self, type_: str, **parameters: Any) -> str:
        """Return the id of a new task."""
        task = await self.api.create_task({"jobId": self.job, "type": type_, "parameters": parameters})
        return task.id

    async def flaky(self, fails: int, **parameters: Any) -> str:
        """Return the id of a task that fails so often."""
        count = sum(1 for _ in self.folder.glob("book-*"))
        book = self.folder / f"book-{count}"
        book.touch()
        return await self.submit("flaky", file=str(book), fails=fails, **parameters)

    async def runs(self, task_id: str) -> list[Run]:
        """Return the runs of a task, oldest first, placeholders too."""
        return sorted(await self.api.list_runs(job_id=self.job, task_id=task_id), key=recency)

    async def attempts(self, task_id: str) -> list[Run]:
        """Return the runs of a task that were executed."""
        return [run for run in await self.runs(task_id) if run.raw.get("startedAt")]

    async def over(self, *task_ids: str) -> list[list[Run]]:
        """Wait until nothing more follows in these tasks; return the attempts at each."""
        return [await until(lambda task_id=task_id: self._over(task_id)) for task_id in task_ids]  # type: ignore[misc]

    async def _over(self, task_id: str) -> list[Run]:
        runs = await self.runs(task_id)
        is_over = bool(runs) and bool(runs[-1].raw.get("startedAt")) and bool(runs[-1].raw.get("stoppedAt"))
        return await self.attempts(task_id) if is_over else []

    def log(self, agent: str) -> list[dict[str, Any]]:
        """Return the events in an agent's log."""
        lines = (self.folder / agent / "agent.log").read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]


async def until(look: Callable[[], Awaitable[Any]]) -> Any:
    """Look again and again until there is something."""
    async with asyncio.timeout(LIMIT_S):
        while not (found := await look()):  # noqa: ASYNC110 - of other processes
            await asyncio.sleep(0.05)
    return found


@asynccontextmanager
async def scene(folder: Path, kind: str = "ours") -> AsyncIterator[Scene]:
    """Give a server: ours, or one of the documented API alone, with or without `Date`."""
    if kind == "ours":
        with running_server(f"sqlite:///{folder}/server.db") as server:
            async with open_api(ApiConfig(url=server.url, token=server.token), agent="test") as api:
                yield Scene(api, (await api.create_job({"type": "x"})).id, server.url, server.token, folder)
        return
    ids: Any = "ignore" if kind == "ignores ids" else "honour"
    with foreign_server(dated=kind != "undated", strict_fields=True, ids=ids) as foreign:
        async with open_api(ApiConfig(url=foreign.url, token=foreign.token), agent="test") as api:
            job = (await api.create_job({"type": "x"})).id
            yield Scene(api, job, foreign.url, foreign.token, folder)


def waited_s(runs: list[Run]) -> list[tuple[float, float]]:
    """Return, for each attempt but the first, how long it waited by the server's times, and was to wait."""
    waits = []
    for failed, placeholder, again in zip(runs[::2], runs[1::2], runs[2::2], strict=False):
        assert not placeholder.raw.get("startedAt")
        assert failed.raw.get("startedAt")
        passed = created(again) - created(placeholder)
        waits.append((passed.total_seconds(), failed.results["retry"]["afterS"]))
    return waits


def created(run: Run) -> datetime:
    """Return when the server made a run."""
    at = parse_instant(run.raw["createdAt"])
    assert at is not None
    return at


@pytest.mark.parametrize("kind", ["ours", "dated", "undated", "ignores ids"])
def test_a_task_that_fails_twice_succeeds_after_its_waits(kind: str, tmp_path: Path) -> None:
    """By the server's own times; each failed run says what follows, and the agent's log too."""

    async def body() -> None:
        async with scene(tmp_path, kind) as on:
            task = await on.flaky(2)
            with running_agent(tmp_path / "a", *on.access, slots=2, settings=on.settings):
                (attempts,) = await on.over(task)
            assert [run.result_code for run in attempts] == ["Failed", "Failed", "Success"]
            assert [run.results["retry"] for run in attempts[:2]] == [
                {"attempt": 1, "maxAttempts": 5, "afterS": 1.2, "reason": "attempt 1 of 5, next in 1.2 s"},
                {"attempt": 2, "maxAttempts": 5, "afterS": 2.4, "reason": "attempt 2 of 5, next in 2.4 s"},
            ]
            assert all(run.results["error"]["retryable"] for run in attempts[:2])
            assert "retry" not in attempts[2].results
            waits = waited_s(await on.runs(task))
            assert [told for _, told in waits] == [1.2, 2.4]
            assert all(waited >= told for waited, told in waits), waits
            ended = [event for event in on.log("a") if event["event"] == "run.ended"]
            assert [event["retry"] for event in ended] == [
                "attempt 1 of 5, next in 1.2 s", "attempt 2 of 5, next in 2.4 s", None,
            ]  # fmt: skip

    asyncio.run(body())


def test_errors_are_told_apart_by_their_class_and_a_task_wins_over_its_handler(tmp_path: Path) -> None:
    """What is not worth another attempt, has had all of them, or cannot be read, says so."""

    async def body() -> None:
        async with scene(tmp_path) as on:
            tasks = {
                "not retried: ValueError is not in retryOn": await on.flaky(9, how="value"),
                "not retried: the handler failed it for good": await on.flaky(9, how="fail"),
                "not retried: ConnectionError is in noRetryOn": await on.flaky(
                    9, retry={"noRetryOn": "ConnectionError"}
                ),
                "no further attempt: attempt 1 of 1": await on.flaky(9, retry={"maxAttempts": 1}),
                "no further attempt: attempt 4 of 4": await on.flaky(
                    9, how="value", retry={"retryOn": ["ValueError"], "backoff": 0, "maxAttempts": 99}
                ),
                "no further attempt: attempt 2 of 2": await on.flaky(
                    9, how="retry", retry={"maxAttempts": 2}
                ),
                "not retried: invalid_parameters is final": await on.flaky(0, retry={"attempts": 3}),
            }
            settings = on.settings | {"MILLHAND_MAX_ATTEMPTS": "4"}
            with running_agent(tmp_path / "a", *on.access, slots=4, settings=settings):
                ended = await on.over(*tasks.values())
            assert [attempts[-1].results["retry"]["reason"] for attempts in ended] == list(tasks)
            assert [len(attempts) for attempts in ended] == [1, 1, 1, 1, 4, 2, 1]
            assert "retry.attempts is not known; known are maxAttempts" in (ended[-1][0].error or "")

    asyncio.run(body())


@pytest.mark.parametrize("kind", ["ours", "dated"])
def test_two_agents_share_the_wait(kind: str, tmp_path: Path) -> None:
    """Neither of them begins before it is over, whichever of them had failed; other tasks go on."""

    async def body() -> None:
        async with scene(tmp_path, kind) as on:
            with (
                running_agent(tmp_path / "a", *on.access, slots=1, settings=on.settings),
                running_agent(tmp_path / "b", *on.access, slots=1, settings=on.settings),
            ):
                tasks = [await on.flaky(1, retry={"backoff": 2}) for _ in range(4)]
                wide = await on.submit("wide", book=str(tmp_path / "wide"))
                ended = await on.over(*tasks, wide)
            for task in tasks:
                (wait,) = waited_s(await on.runs(task))
                assert wait[0] >= wait[1] == 2.0
            assert [run.result_code for attempts in ended for run in attempts[-1:]] == ["Success"] * 5

    asyncio.run(body())


def test_a_wait_outlives_its_agent(tmp_path: Path) -> None:
    """It is killed between two attempts; another one, which knows nothing, keeps to the wait."""

    async def body() -> None:
        async with scene(tmp_path, "dated") as on:
            task = await on.flaky(1, retry={"backoff": 3})
            agent = start_agent(tmp_path / "a", *on.access, slots=1, settings=on.settings)
            try:
                await until(lambda: has_stopped(on, task))
            finally:
                os.killpg(agent.pid, signal.SIGKILL)
                agent.wait(LIMIT_S)
            assert len(await on.attempts(task)) == 1
            with running_agent(tmp_path / "b", *on.access, slots=1, settings=on.settings):
                (attempts,) = await on.over(task)
            assert [run.result_code for run in attempts] == ["Failed", "Success"]
            assert attempts[0].pod_id != attempts[1].pod_id
            (wait,) = waited_s(await on.runs(task))
            assert wait[0] >= wait[1] == 3.0

    asyncio.run(body())


async def has_stopped(on: Scene, task_id: str) -> bool:
    """Tell whether the first attempt at a task is over."""
    return any(run.raw.get("stoppedAt") for run in await on.attempts(task_id))


@pytest.mark.parametrize(("kind", "most"), [("ours", None), ("dated", None), ("ours", 3)])
def test_no_more_runs_of_a_type_go_on_than_may_while_others_do(
    kind: str, most: int | None, tmp_path: Path
) -> None:
    """By the handlers' own record; `type_concurrency` counts instead of what the handler says."""

    async def body() -> None:
        async with scene(tmp_path, kind) as on:
            book, go, wide = tmp_path / "narrow", tmp_path / "go", tmp_path / "wide"
            settings = on.settings | ({"MILLHAND_TYPE_CONCURRENCY": f"narrow={most}"} if most else {})
            narrow = [await on.submit("narrow", book=str(book), go=str(go)) for _ in range(6)]
            with running_agent(tmp_path / "a", *on.access, slots=5, settings=settings):
                await until(lambda: lines(book, most or 2))
                tasks = [await on.submit("wide", book=str(wide)) for _ in range(5)]
                await on.over(*tasks)  # while the others hold all places of their type, and slots are free
                assert book.read_text().split() == ["begin"] * (most or 2)
                go.touch()
                ended = await on.over(*narrow)
            assert [attempts[-1].result_code for attempts in ended] == ["Success"] * 6
            going, seen = 0, set()
            for line in book.read_text().split():
                going += 1 if line == "begin" else -1
                seen.add(going)
            assert max(seen) == (most or 2)

    asyncio.run(body())


async def lines(book: Path, count: int) -> bool:
    """Tell whether a record has so many lines."""
    return book.exists() and len(book.read_text().split()) >= count  # noqa: ASYNC240 - a small local file

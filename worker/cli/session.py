"""Talk to the Jobs API from a command: repeat what a person would repeat, and say what went wrong."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from random import Random
from typing import TypeVar
from urllib.parse import urlsplit

from msgspec.structs import replace

from worker import log
from worker.api.client import JobsApi
from worker.api.connect import open_api
from worker.api.errors import ApiError, Forbidden, RateLimited, Unauthorized, Unknown
from worker.api.retry import INTERACTIVE, Policy, Retrier
from worker.cli.exits import CliError, ExitCode
from worker.cli.local import token_of_up
from worker.clock import SystemClock
from worker.config import ApiConfig

__all__ = ["Session", "explain", "session", "with_session", "with_token"]

T = TypeVar("T")
M = TypeVar("M")

TODO_TOKEN = "check MILLHAND_TOKEN_FILE or MILLHAND_TOKEN"  # noqa: S105 - what to do, no token
PAGE = 100  # the most that a page may hold


class Session:
    """An open API, with requests repeated for a short while."""

    def __init__(self, api: JobsApi, config: ApiConfig, retrier: Retrier) -> None:
        """Keep what is open."""
        self.api = api
        self.config = config
        self._retrier = retrier

    async def ask(self, request: Callable[[], Awaitable[T]], policy: Policy = INTERACTIVE) -> T:
        """Return the answer, asking a few times while the server cannot."""

        async def attempt() -> T:  # tenacity awaits coroutine functions only, and callers pass lambdas
            return await request()

        return await self._retrier.call(policy, attempt)

    async def pages(self, list_page: Callable[[int, int], Awaitable[list[M]]], limit: int | None) -> list[M]:
        """Return up to `limit` entries of a list, page by page; None: all.

        A server that does not page answers everything at once, again and again: a page that
        brings nothing new ends it.
        """
        per_page = PAGE if limit is None else min(PAGE, limit)
        found: dict[str, M] = {}
        page = 1
        while limit is None or len(found) < limit:
            got = await self.ask(lambda number=page: list_page(number, per_page))  # type: ignore[misc]
            fresh = {one.id: one for one in got if one.id not in found}  # type: ignore[attr-defined]
            found.update(fresh)
            if not fresh or len(got) < per_page:
                break
            page += 1
        return list(found.values())[:limit]


def with_session(config: ApiConfig, work: Callable[[Session], Awaitable[T]]) -> T:
    """Run work against the API and return what it returns.

    Raises: CliError for everything that a request can meet.
    """
    log.configure("debug" if os.environ.get("MILLHAND_LOG_LEVEL") == "debug" else "warning")

    async def run() -> T:
        async with session(config) as opened:
            return await work(opened)

    try:
        return asyncio.run(run())
    except ApiError as exc:
        raise explain(exc, config) from exc
    except ExceptionGroup as group:
        raise lone(group, config) from group


def lone(group: ExceptionGroup[Exception], config: ApiConfig) -> Exception:
    """Return the first error that a person can act on; the group itself where it holds none."""
    for exc in group.exceptions:
        if isinstance(exc, ExceptionGroup):
            return lone(exc, config)
        if isinstance(exc, ApiError):
            return explain(exc, config)
        if isinstance(exc, CliError):
            return exc
    return group


@asynccontextmanager
async def session(config: ApiConfig) -> AsyncIterator[Session]:
    """Open the API as the settings say; without a token, with the one of `millhand up` on this machine.

    Raises: CliError where a setting cannot be used.
    """
    config = with_token(config)
    async with AsyncExitStack() as stack:
        try:
            api = await stack.enter_async_context(open_api(config))
        except ValueError as exc:
            raise CliError(
                str(exc), "check the settings of the Jobs API", code=ExitCode.CONFIGURATION
            ) from exc
        yield Session(api, config, Retrier(Random(), SystemClock()))


def with_token(config: ApiConfig) -> ApiConfig:
    """Return the configuration with a token, if there is one to be had.

    Raises: CliError where the token's file cannot be read.
    """
    if config.token_file is not None:
        check_token_file(config.token_file)
    elif not config.token and (path := token_of_up(config.url)) is not None:
        return replace(config, token_file=path)
    return config


def check_token_file(path: Path) -> None:
    """Raise CliError where the file holds no token."""
    todo = "check MILLHAND_TOKEN_FILE (or --token-file)"
    try:
        content = path.read_bytes()
    except OSError as exc:
        raise CliError(f"token file {path}: {exc.strerror}", todo, code=ExitCode.CONFIGURATION) from exc
    if not content.strip():
        raise CliError(f"token file {path} is empty", todo, code=ExitCode.CONFIGURATION)


def explain(exc: ApiError, config: ApiConfig) -> CliError:
    """Return what a failed request means to a person."""
    where = shown(config.url)
    if isinstance(exc, Unauthorized | Forbidden):
        said, _, todo = str(exc).partition("; ")
        return CliError(f"{where}: {said}", todo or TODO_TOKEN, code=ExitCode.UNAUTHORISED)
    if isinstance(exc, Unknown | RateLimited):
        todo = (
            "is the server up, and is MILLHAND_API_URL (or --api-url) right? `millhand doctor` looks closer"
        )
        if exc.status is not None:
            todo = "the server answers, but cannot do it now; its log says more. Try again later"
        return CliError(f"{where}: {reason(exc)}", todo, code=ExitCode.UNREACHABLE)
    return CliError(f"{where}: {exc}", code=ExitCode.REFUSED)


def reason(exc: ApiError) -> str:
    """Return why there was no answer, in the words of the system where it has some."""
    cause: BaseException | None = exc
    while cause is not None and not (isinstance(cause, OSError) and cause.errno):
        cause = cause.__cause__
    if isinstance(cause, OSError) and cause.errno:
        return f"no connection: {os.strerror(cause.errno).lower() if cause.errno > 0 else cause.strerror}"
    return str(exc)


def shown(url: str) -> str:
    """Return a URL without what may be secret in it."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    return f"{parts.scheme}://{host}{f':{parts.port}' if parts.port else ''}"

"""Tell a server of ours how the agent stands, so that people see it there while nothing runs on it.

Nothing rests on it: what runs is known from the runs. It is told at the start, once a minute, when
the agent begins to drain, and when it goes. A server that does not know the extension is not asked again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec
import structlog

from worker.agent.drain import Drain
from worker.agent.errands import cancel
from worker.agent.operators.survey import Survey
from worker.api.client import JobsApi
from worker.api.errors import ApiError, NotFound
from worker.executor.catalogue import Catalogue

__all__ = ["Presence", "handlers_told", "present"]

INTERVAL_S: Final = 60.0
FIRST_LOOK_S: Final = 1.0  # at whether the server is one of ours: an answer to the first poll says so
LAST_S: Final = 2.0  # for the word that the agent goes
SCHEMAS_MAX_BYTES: Final = 128 * 1024  # of all types together; beyond, only their names are told
log = structlog.get_logger()


class Presence:
    """What is told, and when."""

    def __init__(
        self,
        api: JobsApi,
        survey: Survey,
        drain: Drain,
        *,
        machine: Callable[[], Mapping[str, Any]],
        handlers: Mapping[str, Any],
    ) -> None:
        """`machine` gives the fields of a run that say what the machine is; see `handlers_told`."""
        self._api = api
        self._survey = survey
        self._drain = drain
        self._machine = machine
        self._handlers = handlers
        self._agent_id = survey.pod_id.rpartition("/")[2]
        self._is_told = False

    async def run(self) -> None:
        """Tell until cancelled, or until the server does not want to know."""
        look_s = FIRST_LOOK_S
        while not self._api.traits.claims_unique:
            await asyncio.sleep(look_s)
            look_s = min(2 * look_s, INTERVAL_S)
        while await self._tell_safely():
            await self._pause()

    async def leave(self) -> None:
        """Say that the agent goes, if the server knew that it was there."""
        if self._is_told:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_S):
                    await self._tell({"isGone": True})

    async def _pause(self) -> None:
        """Wait until the next word; the beginning of a drain does not wait."""
        if self._drain.is_requested:
            await asyncio.sleep(INTERVAL_S)
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(INTERVAL_S):
                await self._drain.requested()

    async def _tell_safely(self) -> bool:
        try:
            return await self._tell(self._body())
        except Exception:  # a fault of ours is no reason to say nothing for ever
            log.exception("presence.failed")
            return True

    async def _tell(self, body: Mapping[str, Any]) -> bool:
        """Tell once; returns whether to go on."""
        try:
            await self._api.announce_agent(self._agent_id, body)
        except NotFound as error:
            if error.is_documented:
                log.debug("presence.unknown", error=str(error))
                return False
            log.debug("presence.not_told", error=str(error))
        except ApiError as error:
            log.debug("presence.not_told", error=str(error))
        else:
            self._is_told = True
        return True

    def _body(self) -> dict[str, Any]:
        machine = {name: value for name, value in self._machine().items() if value is not None}
        status = msgspec.to_builtins(self._survey.status())
        return {"status": status, "machine": machine, "handlers": self._handlers}


def handlers_told(catalogue: Catalogue, types: frozenset[str]) -> dict[str, Any]:
    """Return what is told of the types that the agent takes: what each does, and its parameters' schema."""
    told = {
        type_: {"summary": entry.summary, "parameters": entry.schema}
        for type_ in sorted(types)
        if (entry := catalogue.get(type_)) is not None
    }
    if len(msgspec.json.encode(told)) <= SCHEMAS_MAX_BYTES:
        return told
    return {type_: {"summary": entry["summary"]} for type_, entry in told.items()}


@asynccontextmanager
async def present(presence: Presence) -> AsyncIterator[None]:
    """Tell until the end of the block."""
    telling = asyncio.create_task(presence.run())
    try:
        yield
    finally:
        await cancel(telling)
        await presence.leave()

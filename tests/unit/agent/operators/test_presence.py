"""How an agent tells a server of ours that it is there: in virtual time, against a stub."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from tests.simulation.loop import VirtualClock, run_virtual
from tests.unit.agent.stub_api import Answer, Request, StubApi, error
from worker.agent.drain import Drain
from worker.agent.operators.presence import Presence, handlers_told, present
from worker.agent.operators.survey import Survey
from worker.api.wire import ErrorKind
from worker.executor.catalogue import Catalogue, HandlerEntry


class Looked:
    """The part of a survey that presence needs."""

    pod_id = "node-1/agent-7"

    def __init__(self, drain: Drain) -> None:
        """Look at a drain."""
        self._drain = drain

    def status(self) -> dict[str, Any]:
        """Say whether the agent drains."""
        return {"drain": self._drain.is_requested}


def told(
    answer: Any, *, is_ours: bool = True, drain_at_s: float | None = None, for_s: float
) -> list[Request]:
    """Return what an agent tells a server in so many seconds, and as it goes."""
    stub = StubApi(answer if callable(answer) else lambda _: answer)

    async def main() -> None:
        drain = Drain(VirtualClock(), 300.0)
        stub.api.traits.claims_unique = is_ours
        survey = cast(Survey, Looked(drain))
        presence = Presence(
            stub.api, survey, drain, machine=lambda: {"zone": "z", "gpuType": None}, handlers={}
        )
        async with present(presence):
            if drain_at_s is not None:
                await asyncio.sleep(drain_at_s)
                drain.request(ErrorKind.DRAINED, "told")
            await asyncio.sleep(for_s - (drain_at_s or 0.0))

    run_virtual(main())
    return stub.requests


def test_an_agent_tells_at_once_then_once_a_minute_and_as_it_goes() -> None:
    """Requests of an idle agent are counted."""
    requests = told((200, {"id": "agent-7"}), for_s=179.0)
    assert [request.path for request in requests] == ["/api/agents/agent-7"] * 4
    assert {request.method for request in requests} == {"PUT"}
    assert requests[0].body == {"status": {"drain": False}, "machine": {"zone": "z"}, "handlers": {}}
    assert requests[-1].body == {"isGone": True}


def test_the_beginning_of_a_drain_is_told_at_once() -> None:
    """People want to see why nothing is taken any more."""
    requests = told((200, {"id": "agent-7"}), for_s=30.0, drain_at_s=10.0)
    assert [request.body.get("status") for request in requests] == [{"drain": False}, {"drain": True}, None]


def test_a_server_that_is_none_of_ours_is_never_told() -> None:
    """The documented API has no such path."""
    assert told((200, {}), is_ours=False, for_s=3600.0) == []


def test_a_server_that_does_not_know_the_extension_is_told_once() -> None:
    """An older one of ours; nothing is said at the end either."""
    assert len(told((404, error("not_found")), for_s=600.0)) == 1


def test_a_server_that_fails_is_told_again_and_holds_nobody_up() -> None:
    """Nothing rests on it, also not the end of an agent."""
    answers = iter([(503, error("unavailable")), (200, {"id": "agent-7"})])

    def answer(_: Request) -> Answer:
        return next(answers, (503, error("unavailable")))

    assert len(told(answer, for_s=70.0)) == 3


def test_schemas_that_are_too_large_together_are_left_out() -> None:
    """Names and summaries are not."""
    large = {"properties": {f"field {number}": {"type": "string"} for number in range(5000)}}
    entries = {
        name: HandlerEntry(type=name, target="m:f", source="s", doc=f"Do {name}.\n\nMore.", schema=schema)
        for name, schema in (("small", {"type": "object"}), ("large", large), ("unwanted", {}))
    }
    some = handlers_told(Catalogue(entries=entries), frozenset({"small"}))
    assert some == {"small": {"summary": "Do small.", "parameters": {"type": "object"}}}
    both = handlers_told(Catalogue(entries=entries), frozenset({"small", "large"}))
    assert both == {"large": {"summary": "Do large."}, "small": {"summary": "Do small."}}

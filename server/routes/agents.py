"""Endpoints of agents: what they say of themselves. An extension that no client needs."""

from __future__ import annotations

from typing import Final

import msgspec

from server.http.answer import Answer, json_answer, wrapped
from server.http.body import Body, BodyField
from server.http.kinds import BOOLEAN, OBJECT
from server.http.operation import Call, Operation
from server.routes.shared import ORG_ID
from server.store.commands import AnnounceAgent
from server.store.records import AgentName, AgentRecord
from server.tokens import READ, WORK

__all__ = ["OPERATIONS"]

ANNOUNCEMENT: Final = Body(
    name="announceAgentBody",
    code="announce_agent_error",
    fields=(
        BodyField("status", "status", OBJECT, "How the agent stands: what its own /status says"),
        BodyField("machine", "machine", OBJECT, "What its machine is: fields as those of a run"),
        BodyField("handlers", "handlers", OBJECT, "Task types that it takes, with summary and JSON Schema"),
        BodyField("isGone", "is_gone", BOOLEAN, "It ends, and is to be forgotten"),
    ),
)


async def list_agents(call: Call) -> Answer:
    """Answer with the agents that said something lately."""
    agents = [] if call.narrows_to_nothing else await call.services.store.agents(call.org_id)
    return wrapped("agents", map(msgspec.json.encode, agents))


async def announce_agent(call: Call) -> Answer:
    """Keep what an agent says of itself."""
    agent_id = call.request.path_params["agentId"]
    command = AnnounceAgent(org_id=call.org_id, id=agent_id, **call.body.values)
    await call.services.store.apply(command)
    return json_answer(AgentName(agent_id))


OPERATIONS: Final = (
    Operation(
        method="GET",
        path="/api/agents",
        name="list_agents",
        summary="List the agents that said something lately (extension)",
        handler=list_agents,
        scope=READ,
        answer=AgentRecord,
        wrapping="agents",
        query=(ORG_ID,),
        refusals={422: "A query parameter is not as described"},
    ),
    Operation(
        method="PUT",
        path="/api/agents/{agentId}",
        name="announce_agent",
        summary="Say how an agent stands (extension)",
        handler=announce_agent,
        scope=WORK,
        answer=AgentName,
        query=(ORG_ID,),
        body=ANNOUNCEMENT,
        refusals={422: "announce_agent_error: the message names the field"},
    ),
)

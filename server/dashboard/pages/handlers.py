"""The pages of task types, with the forms that submit a task."""

from __future__ import annotations

from secrets import token_urlsafe
from typing import Final

from server.dashboard.fleet import Handler, handlers_of
from server.dashboard.forms import fields_of
from server.dashboard.look import Look, NotThere, Values, View

__all__ = ["PAGES", "handler_named", "handler_page"]


async def handlers_page(look: Look) -> Values:
    """Show what can be submitted: the task types that agents take."""
    return {"title": "Task types", "handlers": await handlers(look)}


async def handler_page(look: Look) -> Values:
    """Show one task type, with a form that submits a task."""
    handler = await handler_named(look, look.id)
    return {
        "title": f"Submit {handler.type}",
        "handler": handler,
        "fields": fields_of(handler.schema),
        "schema": handler.schema,
        "filled": {},
        "problem": None,
        "nonce": token_urlsafe(16),
    }


async def handlers(look: Look) -> list[Handler]:
    """Return the task types that agents take."""
    return handlers_of(await look.store.agents(look.org_id), look.now)


async def handler_named(look: Look, type_: str) -> Handler:
    """Return one task type."""
    for handler in await handlers(look):
        if handler.type == type_:
            return handler
    raise NotThere(f"No agent that was heard of lately takes tasks of type {type_}")


PAGES: Final = (
    View("/handlers", "handlers.html", handlers_page),
    View("/handlers/{id:path}", "handler.html", handler_page),
)

"""From a path to its endpoint: two look-ups, where a list of patterns would be tried one by one."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from server.http.answer import failure
from server.http.failure import ApiError
from server.http.operation import Endpoint

__all__ = ["Paths"]


class Paths:
    """The paths of the API: fixed ones, and those that end in an id. Fixed ones go first."""

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        """Take the paths and methods of the endpoints' operations."""
        self._methods: dict[str, dict[str, Endpoint]] = {}
        self._parameters: dict[str, tuple[str, dict[str, Endpoint]]] = {}
        self.endpoints = tuple(endpoints)
        for endpoint in self.endpoints:
            self._add(endpoint)

    def _add(self, endpoint: Endpoint) -> None:
        folder, _, last = endpoint.operation.path.rpartition("/")
        if last.startswith("{"):
            _, methods = self._parameters.setdefault(folder, (last.strip("{}"), {}))
        else:
            methods = self._methods.setdefault(endpoint.operation.path, {})
        methods[endpoint.operation.method] = endpoint

    def find(self, scope: Scope) -> ASGIApp | None:
        """Return what answers a request for one of these paths; None: it is none of them."""
        path = scope["path"]
        found = self._methods.get(path)
        if found is None:
            folder, _, last = path.rpartition("/")
            name, found = self._parameters.get(folder, ("", None))
            if found is None or not last:
                return None
            scope["path_params"] = {name: last}
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        return found.get(method) or partial(_refuse_method, found)


async def _refuse_method(allowed: dict[str, Any], _scope: Scope, _receive: Receive, send: Send) -> None:
    allow = {"Allow": ", ".join(sorted(allowed))}
    await failure(ApiError(405, "method_not_allowed", "Method Not Allowed", allow)).send(send)

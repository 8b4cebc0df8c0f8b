"""A server with something to look at, and a browser without script."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx

from server.audit import Audit
from server.http.peers import Network
from server.store.commands import CreateToken, EnsureOrganisation
from server.testing import RunningServer, running_server
from server.tokens import hash_token

__all__ = ["Browser", "Reader", "Site", "announce", "failed_run", "site", "state_of", "token_of"]

AT = "2026-01-01T00:00:01.000Z"
LATER = "2026-01-01T00:00:09.000Z"
VOID = frozenset({"meta", "link", "input", "img", "br"})


class Reader(HTMLParser):
    """What stands on a page: its elements, its text, its links and its forms' hidden fields."""

    def __init__(self, text: str) -> None:
        """Read a page; every element must be closed in its order."""
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.hidden: dict[str, str] = {}
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == [], self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take an element."""
        given = dict(attrs)
        self.elements.append((tag, given))
        if given.get("type") == "hidden":
            self.hidden[str(given["name"])] = str(given["value"])
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take an element that closes itself."""
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        """See that the newest element is closed."""
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Take text."""
        self.words.append(data)

    @property
    def text(self) -> str:
        """The words, blanks folded."""
        return " ".join(" ".join(self.words).split())

    @property
    def links(self) -> list[str]:
        """Where its links lead."""
        return [str(attributes["href"]) for tag, attributes in self.elements if tag == "a"]


class Browser:
    """Somebody who looks, by one token."""

    def __init__(self, url: str) -> None:
        """Look at nothing yet."""
        self.client = httpx.Client(base_url=url)

    def sign_in(self, token: str, to: str = "") -> httpx.Response:
        """Send the form."""
        return self.client.post("/ui/sign-in", data={"token": token, "to": to})

    def look(self, path: str) -> Reader:
        """Return a page that must be there."""
        answer = self.client.get(path)
        assert answer.status_code == 200, (path, answer.status_code, answer.text)
        return Reader(answer.text)


class Site:
    """A server, and what was put on it."""

    def __init__(self, server: RunningServer) -> None:
        """Take the server."""
        self.server = server
        self.api = httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {server.token}"})
        self.clients = [self.api]

    def stranger(self) -> Browser:
        """Return somebody who is not signed in."""
        made = Browser(self.server.url)
        self.clients.append(made.client)
        return made

    def browser(self, token: str | None = None) -> Browser:
        """Return somebody who is signed in."""
        made = self.stranger()
        assert made.sign_in(token or self.server.token).status_code == 303
        return made

    def make(self, method: str, path: str, **body: Any) -> dict[str, Any]:
        """Make or change something by the API."""
        answer = self.api.request(method, path, json=body)
        assert answer.status_code == 200, answer.text
        made: dict[str, Any] = answer.json()[0] if isinstance(answer.json(), list) else answer.json()
        return made

    def job(self, **body: Any) -> dict[str, Any]:
        """Make a job."""
        return self.make("POST", "/api/jobs", **{"type": "render", **body})

    def task(self, job: dict[str, Any], **body: Any) -> dict[str, Any]:
        """Make a task."""
        return self.make("POST", "/api/jobs/tasks", **{"jobId": job["id"], "type": "render", **body})

    def run(self, task: dict[str, Any], **body: Any) -> dict[str, Any]:
        """Claim a task."""
        given = {"taskId": task["id"], "startedAt": AT, "podId": "node-1/agent", **body}
        return self.make("POST", "/api/jobs/runs", **given)

    def report(self, run: dict[str, Any], **body: Any) -> dict[str, Any]:
        """Report on a run."""
        return self.make("PUT", f"/api/jobs/runs/{run['id']}", **{"startedAt": AT, **body})


def token_of(here: Site, org: str, *scopes: str, id_: str | None = None) -> str:
    """Make a token of an organisation."""
    token = f"token of {org} for {' '.join(scopes)} {id_ or ''}".strip()
    org_id = here.server.apply(EnsureOrganisation(name=org))
    command = CreateToken(id=id_, org_id=org_id, sha256=hash_token(token), scopes=frozenset(scopes))
    here.server.apply(command)
    return token


def failed_run(here: Site, job: dict[str, Any]) -> dict[str, Any]:
    """Make a task with a run that failed."""
    run = here.run(here.task(job))
    return here.report(run, stoppedAt=LATER, resultCode="Failed", error="handler_error: ValueError: no")


def state_of(here: Site, job: dict[str, Any]) -> str:
    """Return what is wanted of a job."""
    answer = here.api.get(f"/api/jobs/{job['id']}")
    return str(json.loads(answer.text)[0]["schedulerState"])


def announce(here: Site, agent: str, **said: Any) -> None:
    """Say something of an agent."""
    answer = here.api.put(f"/api/agents/{agent}", json=said)
    assert answer.status_code == 200, answer.text


@contextmanager
def site(
    audit: Audit | None = None,
    db: str = "sqlite://",
    trusted_proxies: Sequence[Network] = (),
    files: Sequence[Path] = (),
    **options: Any,
) -> Iterator[Site]:
    """Give a server with its site, in memory unless a database is named."""
    with running_server(db, audit=audit, trusted_proxies=trusted_proxies, files=files, **options) as server:
        made = Site(server)
        try:
            yield made
        finally:
            for client in made.clients:
                client.close()

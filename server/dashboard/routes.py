"""The addresses of the dashboard, below `/ui`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Mount, Route

from server.dashboard.actions import ACTIONS, Action, NotNow, submit
from server.dashboard.answers import closing, not_known_now, static
from server.dashboard.folders import Busy, Folders, NotReadable
from server.dashboard.forms import BadField
from server.dashboard.live import Gone, Live
from server.dashboard.look import Look, NotThere, View
from server.dashboard.paced import Paced
from server.dashboard.pages import PAGES
from server.dashboard.pages.handlers import handler_page
from server.dashboard.pages.jobs import PICTURE, picture, task_clicked
from server.dashboard.pages.runs import stored_file
from server.dashboard.pictures import Pictures
from server.dashboard.render import HEADERS, main_of, page
from server.dashboard.sent_files import Handing
from server.dashboard.sent_forms import MAX_SIGN_IN_BYTES, FormRefused, form_of, is_foreign
from server.dashboard.session import COOKIE, Session, drop_cookie, keep_cookie, session_of
from server.http.failure import ApiError
from server.http.peers import Peers
from server.http.seen import seen_of
from server.prices import Prices
from server.store.records import Principal
from server.store.refusal import Refused, StoreBusy, StoreFailed
from server.store.store import Store
from worker.clock import Clock

__all__ = ["Dashboard"]

ROOT: Final = "/ui"
FOREIGN_FORM: Final = "The form was not one of this page; open it again."
EVENTS: Final = "text/event-stream"

Answering = Callable[[Request, Session], Awaitable[Response]]


class Dashboard:
    """Pages for people, with the store behind them."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        peers: Peers | None = None,
        *,
        folders: Folders | None = None,
        prices: Prices | None = None,
        admit: Callable[[Principal], AbstractContextManager[None]] = lambda _: nullcontext(),
    ) -> None:
        """Take the parts.

        Args:
            store: what is shown.
            clock: where time comes from.
            peers: know whose word counts on whether a browser came by HTTPS.
            folders: whose files are shown with the runs that stored them.
            prices: what machines cost.
            admit: counts what a token asks for while that is worked on, or refuses it by `ApiError`.
        """
        self._admit = admit
        self._store = store
        self._clock = clock
        self._peers = peers or Peers()
        self._folders = folders or Folders()
        self._handing = Handing(self._folders)
        self._paced = Paced(clock)
        self._pictures = Pictures(store, clock)
        self._prices = prices
        self.live = Live()

    def close(self) -> None:
        """Let open pages go, and look for nothing any more, because the server stops."""
        self.live.close()
        self._paced.close()

    def routes(self) -> list[BaseRoute]:
        """Return where it is served."""
        pages = [Route(view.path or "/", self._signed_in(self._shown(view))) for view in PAGES]
        actions = [
            Route(action.path, self._signed_in(self._acted(action)), methods=["GET", "POST"])
            for action in ACTIONS
        ]
        others = [
            Route("/sign-in", self._sign_in, methods=["GET", "POST"]),
            Route("/sign-out", self._sign_out, methods=["POST"]),
            Route("/static/{name}", static),
            Route(f"{PICTURE}.png", self._signed_in(self._picture)),
            Route(PICTURE, self._signed_in(self._task_there)),
            Route("/runs/{id}/files/{index}", self._signed_in(self._file)),
            Route("/handlers/{id:path}", self._signed_in(self._submitted), methods=["POST"]),
        ]
        return [Route(ROOT, with_slash), Mount(ROOT, routes=[*pages, *actions, *others])]

    def _signed_in(self, answer: Answering) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            try:
                session = await session_of(request.cookies.get(COOKIE), self._store)
            except (StoreBusy, StoreFailed) as exc:
                return not_known_now(exc)
            if session is None and wants_events(request):
                return Response(status_code=401)
            if session is None:
                here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
                return RedirectResponse(f"{root_of(request)}/sign-in?to={quote(here)}", 303)
            seen_of(request.scope).principal = session.principal
            try:
                with self._admit(session.principal):
                    return await answer(request, session)
            except ApiError as exc:
                told = self._told(request, session, "Not now", exc.message, exc.status)
                told.headers.update(exc.headers)
                return told
            except NotThere as exc:
                return self._told(request, session, "Not found", str(exc), 404)
            except NotReadable as exc:
                return self._told(request, session, "This file cannot be shown", str(exc), 404)
            except Busy as exc:
                return self._told(request, session, "Try again in a moment", str(exc), 503)
            except (NotNow, Refused) as exc:
                return self._told(request, session, "That was not done", str(exc), 409)
            except FormRefused as exc:
                return closing(self._told(request, session, "Not taken", str(exc), exc.status))
            except (StoreBusy, StoreFailed) as exc:
                return self._told(request, session, "Try again in a moment", f"The database: {exc}", 503)

        return endpoint

    def _shown(self, view: View) -> Answering:
        async def answer(request: Request, session: Session) -> Response:
            values = await self._values(view, request, session)
            if not wants_events(request):
                return await asyncio.to_thread(page, view.template, values)
            if self.live.is_full:
                return Response(status_code=503, headers={"Retry-After": "30"})

            async def render() -> str:
                try:
                    still = await session_of(session.token, self._store)
                    if still is None:
                        raise Gone
                    return await asyncio.to_thread(
                        main_of, view.template, await self._values(view, request, still)
                    )
                except (NotThere, StoreBusy, StoreFailed) as exc:
                    raise Gone from exc

            key = (session.principal.org_id, session.may_act, request.url.path, request.url.query)
            first = await asyncio.to_thread(main_of, view.template, values)  # a large page takes a second
            events = self.live.follow(key, render, first)
            return StreamingResponse(
                events, media_type=EVENTS, headers={**HEADERS, "X-Accel-Buffering": "no"}
            )

        return answer

    async def _values(self, view: View, request: Request, session: Session) -> dict[str, Any]:
        look = self._look(request, session)
        return {**surroundings(request, session), "now": look.now, **await view.build(look)}

    def _look(self, request: Request, session: Session) -> Look:
        return Look(
            session=session,
            store=self._store,
            request=request,
            now=self._clock.now(),
            paced=self._paced,
            pictures=self._pictures,
            serves_files=bool(self._folders),
            prices=self._prices,
        )

    def _acted(self, action: Action) -> Answering:
        async def answer(request: Request, session: Session) -> Response:
            note_write(request, action.name)
            if not session.may_act:
                return self._told(request, session, "Not allowed", "This token may only look.", 403)
            look = self._look(request, session)
            question = await action.ask(look)
            if request.method != "POST":
                return page("question.html", {**surroundings(request, session), "question": question})
            form = await form_of(request)
            if not session.sent(request, form.get("proof", "")):
                return self._told(request, session, "Not done", FOREIGN_FORM, 403)
            await action.do(look)
            return RedirectResponse(root_of(request) + question.back, 303)

        return answer

    async def _picture(self, request: Request, session: Session) -> Response:
        file = await picture(self._look(request, session))
        headers = {**HEADERS, "Cache-Control": "private, max-age=60"}  # its address says when the job changed
        return Response(file, headers=headers, media_type="image/png")

    async def _task_there(self, request: Request, session: Session) -> Response:
        task_id = await task_clicked(self._look(request, session))
        return RedirectResponse(f"{root_of(request)}/tasks/{quote(task_id)}", 303)

    async def _file(self, request: Request, session: Session) -> Response:
        file, stored = await stored_file(self._look(request, session), request.path_params["index"])
        return await self._handing.answer(request, file.name, stored)

    async def _submitted(self, request: Request, session: Session) -> Response:
        note_write(request, "submit")
        if not session.may_act:
            return self._told(request, session, "Not allowed", "This token may only look.", 403)
        form = await form_of(request)
        if not session.sent(request, form.get("proof", "")):
            return self._told(request, session, "Not done", FOREIGN_FORM, 403)
        look = self._look(request, session)
        try:
            where = await submit(look, form)
            seen_of(request.scope).ids["jobId"] = where.rpartition("/")[2]
        except BadField as exc:
            values = await handler_page(look) | {"filled": form, "problem": str(exc)}
            return page("handler.html", {**surroundings(request, session), "now": look.now, **values}, 422)
        return RedirectResponse(root_of(request) + where, 303)

    def _told(self, request: Request, session: Session, title: str, text: str, status: int) -> Response:
        values = {**surroundings(request, session), "title": title, "text": text}
        return page("message.html", values, status)

    async def _sign_in(self, request: Request) -> Response:
        root, values = root_of(request), {"to": request.query_params.get("to", ""), "problem": None}
        if request.method != "POST":
            return page("sign_in.html", {"root": root, **values})
        try:
            form = await form_of(request, MAX_SIGN_IN_BYTES)
        except FormRefused as exc:
            values = {"root": root, "to": "", "problem": str(exc)}
            return closing(page("sign_in.html", values, exc.status))
        if is_foreign(request):  # another site would sign the browser in as somebody else
            return page("sign_in.html", {"root": root, "to": "", "problem": FOREIGN_FORM}, 403)
        token, to = form.get("token", "").strip(), form.get("to", "")
        try:
            session = await session_of(token, self._store)
        except (StoreBusy, StoreFailed) as exc:
            return not_known_now(exc)
        if session is None:
            problem = "This token is not valid: it was mistyped, has expired or was revoked."
            return page("sign_in.html", {"root": root, "to": to, "problem": problem}, 403)
        is_ours = to.startswith(f"{root}/") and "\\" not in to and to.isprintable()
        response = RedirectResponse(to if is_ours else f"{root}/", 303)
        keep_cookie(response, token, root, is_secure=self._peers.is_https(request.scope))
        return response

    async def _sign_out(self, request: Request) -> Response:
        response = RedirectResponse(f"{root_of(request)}/sign-in", 303)
        try:
            session = await session_of(request.cookies.get(COOKIE), self._store)
            proof = "" if session is None else (await form_of(request)).get("proof", "")
        except FormRefused as exc:
            return closing(Response(str(exc), exc.status))
        except (StoreBusy, StoreFailed) as exc:
            return not_known_now(exc)
        if session is None or session.sent(request, proof):
            drop_cookie(response, root_of(request))
        return response


async def with_slash(_request: Request) -> Response:
    """Lead to the front page, by whichever scheme and host the browser came."""
    return RedirectResponse(f"{ROOT.removeprefix('/')}/")


def wants_events(request: Request) -> bool:
    """Tell whether a page that is open already asks for its changes."""
    return EVENTS in request.headers.get("accept", "")


def root_of(request: Request) -> str:
    """Return where the dashboard is mounted."""
    return str(request.scope.get("app_root_path", "")) + ROOT


def surroundings(request: Request, session: Session) -> dict[str, Any]:
    """Return what every page needs."""
    return {"root": root_of(request), "session": session, "path": request.url.path}


def note_write(request: Request, action: str) -> None:
    """Have a change stand in the audit log, as those by the API do; also one that is refused."""
    seen = seen_of(request.scope)
    seen.operation, seen.is_write = f"page_{action}", request.method == "POST"
    seen.ids = {"id": str(request.path_params["id"])}

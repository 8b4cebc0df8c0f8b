"""A real server on a real loopback socket, for tests."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine, Iterator
from typing import Any, Final, TypeVar

import uvloop

from server.api_server import ApiServer
from server.app import LEASE_S, MAX_BODY_BYTES, App, create_app
from server.connection import HEAD_S, ConnectionLimits
from server.ids import IdSource
from server.listen import listen, url_of
from server.serve import MOST_CONNECTIONS, log_plainly
from server.store.commands import Command, CreateToken, EnsureOrganisation
from server.tokens import ADMIN, DEFAULT_ORG_ID, hash_token, new_token
from worker.clock import Clock

__all__ = ["TOKEN", "RunningServer", "running_server"]

TOKEN: Final = "test-token"  # noqa: S105 - of servers that live as long as a test
READY_S: Final = 10.0
STOPPED_S: Final = 10.0

AnswerT = TypeVar("AnswerT")


class RunningServer:
    """A server that answers at `url` to `token`, in a thread of its own."""

    def __init__(self, app: App, token: str, limits: ConnectionLimits) -> None:
        """Bind a free port; `start` begins."""
        self.app = app
        self._limits = limits
        self.token = token
        self.org_id = DEFAULT_ORG_ID
        self._listening = listen("127.0.0.1", 0)
        self.url = url_of(self._listening)
        self._loop = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="test-server", daemon=True)

    def start(self) -> None:
        """Return once requests are answered.

        Raises:
            DatabaseError: the database cannot be opened.
        """
        log_plainly()
        self._thread.start()
        if not self._ready.wait(READY_S):
            raise TimeoutError(f"the server did not start within {READY_S} s")
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Stop it as SIGTERM would and wait until it is gone."""
        with contextlib.suppress(RuntimeError):  # it stopped by itself
            self._loop.get_loop().call_soon_threadsafe(self._server.stop)
        self._thread.join(STOPPED_S)
        if self._thread.is_alive():
            raise TimeoutError(f"the server did not stop within {STOPPED_S} s")

    def apply(self, command: Command[AnswerT]) -> AnswerT:
        """Give the store a command and return its answer."""
        return self.call(self.app.store.apply(command))

    def call(self, coroutine: Coroutine[Any, Any, AnswerT]) -> AnswerT:
        """Run a coroutine on the server's event loop and return what it returns."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop.get_loop()).result(READY_S)

    def new_token(self, organisation: str, scopes: frozenset[str] = frozenset({ADMIN})) -> str:
        """Return a new token of an organisation, which is made if there is none of that name."""
        org_id = self.apply(EnsureOrganisation(name=organisation))
        token = new_token()
        self.apply(CreateToken(org_id=org_id, sha256=hash_token(token), scopes=scopes))
        return token

    def _run(self) -> None:
        try:
            with self._listening, self._loop as runner:
                runner.run(self._serve())
        except BaseException as exc:  # noqa: BLE001 - raised again in the test's thread
            self._failure = exc
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._server = ApiServer(self.app, self._limits, on_stop=self.app.stop)
        async with self.app.router.lifespan_context(self.app):
            await self._server.serve_on(self._listening, self._ready.set)


@contextlib.contextmanager
def running_server(
    db: str = "sqlite://",
    *,
    token: str = TOKEN,
    clock: Clock | None = None,
    new_id: IdSource | None = None,
    max_body_bytes: int = MAX_BODY_BYTES,
    lease_s: float = LEASE_S,
    max_connections: int = MOST_CONNECTIONS,
    head_s: float = HEAD_S,
    **options: Any,
) -> Iterator[RunningServer]:
    """Serve on a free loopback port until the block ends: ``server.url``, ``server.token``.

    `max_connections` and `head_s` are those of `ConnectionLimits`, all others those of `create_app`.
    """
    app = create_app(
        db,
        token=token,
        max_body_bytes=max_body_bytes,
        lease_s=lease_s,
        clock=clock,
        new_id=new_id,
        **options,
    )
    server = RunningServer(app, token, ConnectionLimits(max_connections, app.activity, head_s=head_s))
    server.start()
    try:
        yield server
    finally:
        server.stop()

"""The settings of the way to the API: an own CA, a client certificate, a proxy; over real sockets."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme

from tests.accepting import stop_accepting
from worker.api.connect import open_api
from worker.api.errors import TransportError
from worker.config import ApiConfig

ANSWER = b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 12\r\n\r\n{"id": "r1"}'


class Server:
    """A server that answers every request with one run, and keeps the heads of the requests."""

    def __init__(self) -> None:
        """Start with nothing seen."""
        self.heads: list[str] = []
        self.port = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer on one connection until the other side closes it."""
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.heads.append(head.decode())
                writer.write(ANSWER)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


@asynccontextmanager
async def serving(context: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    """Serve on a free port of this machine."""
    server = Server()
    listening = await asyncio.start_server(server.answer, "127.0.0.1", 0, ssl=context)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        await stop_accepting(listening)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Return a certificate authority that nobody trusts."""
    return trustme.CA()


def server_context(authority: trustme.CA, *, asks_client: bool = False) -> ssl.SSLContext:
    """Return the TLS settings of a server for 127.0.0.1."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    if asks_client:
        context.verify_mode = ssl.CERT_REQUIRED
        authority.configure_trust(context)
    return context


async def read_run(config: ApiConfig) -> str:
    """Make one request."""
    async with open_api(config) as api:
        return (await api.get_run("r1")).id


def test_an_own_authority_is_trusted_when_it_is_named_and_never_before(
    authority: trustme.CA, tmp_path: Path
) -> None:
    """`ca_file` replaces the system's authorities."""
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")

    async def main() -> None:
        async with serving(server_context(authority)) as server:
            url = f"https://127.0.0.1:{server.port}"
            with pytest.raises(TransportError, match=r"(?i)certificate"):
                await read_run(ApiConfig(url=url, token="t"))
            assert server.heads == []
            assert await read_run(ApiConfig(url=url, token="t", ca_file=tmp_path / "ca.pem")) == "r1"
            assert "authorization: bearer t" in server.heads[0].lower()

    asyncio.run(main())


def test_a_client_certificate_is_shown_where_the_server_asks_for_one(
    authority: trustme.CA, tmp_path: Path
) -> None:
    """In one file with its key, or in two."""
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    client = authority.issue_cert("agent@millhand.test")
    client.private_key_and_cert_chain_pem.write_to_path(tmp_path / "both.pem")
    client.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    client.private_key_pem.write_to_path(tmp_path / "key.pem")

    async def main() -> None:
        async with serving(server_context(authority, asks_client=True)) as server:
            config = ApiConfig(url=f"https://127.0.0.1:{server.port}", ca_file=tmp_path / "ca.pem")
            with pytest.raises(TransportError):
                await read_run(config)
            for cert, key in (("both.pem", None), ("cert.pem", tmp_path / "key.pem")):
                shown = ApiConfig(
                    url=config.url, ca_file=config.ca_file, client_cert=tmp_path / cert, client_key=key
                )
                assert await read_run(shown) == "r1"

    asyncio.run(main())


def test_requests_go_through_the_proxy_that_is_set_and_through_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With its credentials; the environment's proxies are not for the API."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # nothing listens there

    async def main() -> None:
        async with serving() as proxy, serving() as server:
            direct = f"http://127.0.0.1:{server.port}"
            assert await read_run(ApiConfig(url=direct)) == "r1"
            assert proxy.heads == []
            through = ApiConfig(
                url="http://jobs.internal:8077", proxy=f"http://user:word@127.0.0.1:{proxy.port}"
            )
            assert await read_run(through) == "r1"
            assert proxy.heads[0].startswith("GET http://jobs.internal:8077/api/jobs/runs/r1 HTTP/1.1")
            assert "proxy-authorization: basic dxnlcjp3b3jk" in proxy.heads[0].lower()

    asyncio.run(main())

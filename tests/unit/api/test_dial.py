"""Reaching a host: one of its addresses is enough, and whatever happens on the way no socket stays open."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from worker.api import dial as dialling
from worker.api.dial import dial, in_turns

V4, V6 = int(socket.AF_INET), int(socket.AF_INET6)
STEPS = 16  # of the loop; a connection on this machine is there after fewer


@contextmanager
def listening(host: str = "127.0.0.1", port: int = 0, backlog: int = 64) -> Iterator[int]:
    """Give the port of a socket that nobody accepts at."""
    with socket.create_server((host, port), backlog=backlog) as server:
        yield server.getsockname()[1]


@contextmanager
def silent(host: str) -> Iterator[int]:
    """Give a port where no connection is made and none refused: its queue is full."""
    with listening(host, backlog=0) as port, ExitStack() as held:
        while True:
            caller = held.enter_context(socket.socket())
            caller.settimeout(0.2)
            try:
                caller.connect((host, port))
            except TimeoutError:
                break
        yield port


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> list[dialling.Address]:
    """Have every host stand at the addresses in this list."""
    addresses: list[dialling.Address] = []

    async def addresses_of(host: str, port: int) -> list[dialling.Address]:
        return addresses

    monkeypatch.setattr(dialling, "addresses_of", addresses_of)
    return addresses


def open_files() -> int:
    """Count what this process has open."""
    return len([*Path("/proc/self/fd").iterdir()])


async def cancelled_after(steps: int) -> None:
    """Dial, and cancel it after some steps of the loop; what it gave before that is closed."""
    attempt = asyncio.ensure_future(dial("a.example", 1))
    for _ in range(steps):
        await asyncio.sleep(0)
    attempt.cancel()
    with suppress(asyncio.CancelledError):
        (await attempt).close()
    for _ in range(STEPS):
        await asyncio.sleep(0)


@pytest.mark.parametrize("addresses", [1, 3])
def test_no_socket_is_lost_whenever_it_is_cancelled(at: list[dialling.Address], addresses: int) -> None:
    """In the very step too in which an address answers; nobody waits for garbage to be collected."""

    async def main() -> None:
        before = open_files()
        for steps in range(STEPS):
            await cancelled_after(steps)
            assert open_files() == before, f"cancelled after {steps} steps"

    with listening() as port:
        at += [(V4, ("127.0.0.1", port))] * addresses
        gc.disable()
        try:
            asyncio.run(main())
        finally:
            gc.enable()


def test_the_next_address_is_tried_at_once_where_one_refuses(at: list[dialling.Address]) -> None:
    """However long it would wait for one that is slow."""
    with listening("127.0.0.2") as port:
        at += [(V4, ("127.0.0.1", port)), (V4, ("127.0.0.2", port))]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(dialling, "EYEBALLS_S", 3600.0)
            with asyncio.run(dial("a.example", port)) as sock:
                assert sock.getpeername() == ("127.0.0.2", port)
                assert not sock.getblocking()


def test_an_address_that_is_silent_is_not_waited_for(at: list[dialling.Address]) -> None:
    """The next one is tried beside it; and it is given up when that one answers."""

    async def main() -> None:
        before = open_files()
        with await dial("a.example", 1) as sock:
            assert sock.getpeername() == at[1][1]
        for _ in range(STEPS):
            await asyncio.sleep(0)
        assert open_files() == before

    with silent("127.0.0.1") as nobody, listening("127.0.0.2") as port:
        at += [(V4, ("127.0.0.1", nobody)), (V4, ("127.0.0.2", port))]
        asyncio.run(main())


def test_where_none_answers_each_reason_is_told(at: list[dialling.Address]) -> None:
    """Once where it is the same for all."""
    at += [(V4, ("127.0.0.1", 1)), (V4, ("255.255.255.255", 1))]
    with pytest.raises(OSError, match=r"Connect call failed.*; .*unreachable"):
        asyncio.run(dial("a.example", 1))
    at[1:] = [at[0]]
    with pytest.raises(ConnectionRefusedError):
        asyncio.run(dial("a.example", 1))


def test_families_take_turns_in_the_order_of_the_resolver() -> None:
    """One family that is broken delays by one attempt, not by all of its addresses."""
    four, six = [(V4, (f"10.0.0.{n}", 1)) for n in range(2)], [(V6, (f"::{n}", 1, 0, 0)) for n in range(3)]
    assert in_turns([*six, *four]) == [six[0], four[0], six[1], four[1], six[2]]
    assert in_turns(four) == four


def test_names_are_looked_up_and_addresses_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address costs no thread."""

    async def main(host: str, port: int) -> None:
        with await dial(host, port) as sock:
            assert sock.getpeername() == ("127.0.0.1", port)

    with listening() as port:
        asyncio.run(main("localhost", port))
        monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", None)
        asyncio.run(main("127.0.0.1", port))

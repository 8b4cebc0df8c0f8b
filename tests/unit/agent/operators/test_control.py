"""Orders by the socket in the state directory: what they do, who may give them, and their bounds."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.simulation.machine import Machine
from tests.simulation.world import World
from worker.agent.assemble import Agent
from worker.agent.operators.control import serving
from worker.agent.operators.control.orders import Orders
from worker.agent.operators.control.pause import FILE_NAME, Pause
from worker.agent.operators.control.peers import Peer, ancestors, refusal
from worker.agent.operators.control.place import ADDRESS_BYTES_MAX, SOCKET_NAME, connected, listening_in
from worker.clock import SystemClock

LIMIT_S = 60.0  # a bound for a hang, not a measure
ASKING = """
import socket, sys
with socket.socket(socket.AF_UNIX) as sock:
    sock.connect(sys.argv[1])
    sock.sendall(b'{"do": "drain"}\\n')
    sys.stdout.buffer.write(b"".join(iter(lambda: sock.recv(4096), b"")))
"""


class Caller:
    """Somebody who asks the agent of a folder."""

    def __init__(self, folder: Path, agent: Agent, pause: Pause) -> None:
        """Ask in a folder."""
        self.folder, self.agent, self.pause = folder, agent, pause

    async def send(self, line: bytes) -> dict[str, Any]:
        """Return the answer to a line."""
        return await asyncio.to_thread(self._send, line)

    def _send(self, line: bytes) -> dict[str, Any]:
        with connected(self.folder, LIMIT_S) as connection:
            connection.sendall(line)
            said = b"".join(iter(lambda: connection.recv(4096), b""))
        return dict(json.loads(said))

    async def ask(self, do: str, **given: Any) -> dict[str, Any]:
        """Give an order."""
        return await self.send(json.dumps({"do": do, **given}).encode() + b"\n")


def called(folder: Path, main: Callable[[Caller], Awaitable[None]]) -> None:
    """Have an agent that does nothing take orders in a folder."""

    async def live() -> None:
        agent = await Machine(World(1, "key", 0.0, 0), "node/agent-1").agent()
        pause = Pause(agent.survey.holds, folder, SystemClock())
        orders = Orders(
            agent.survey, agent.drain, pause, stacks=lambda: "stacks", metrics=lambda: "metrics 1"
        )
        async with asyncio.timeout(LIMIT_S), serving.taking_orders(folder, orders):
            await main(Caller(folder, agent, pause))

    asyncio.run(live())
    assert not (folder / SOCKET_NAME).exists()


def test_the_status_is_what_the_page_tells(tmp_path: Path) -> None:
    """With the pid, so that a person can tell two agents apart; stacks and metrics are texts."""

    async def main(caller: Caller) -> None:
        answer = await caller.ask("status")
        assert (answer["pid"], answer["status"]["podId"]) == (os.getpid(), "node/agent-1")
        assert (await caller.ask("stacks"))["text"] == "stacks"
        assert (await caller.ask("metrics"))["text"] == "metrics 1"

    called(tmp_path, main)


def test_the_socket_is_the_owners_alone_from_its_first_moment(tmp_path: Path) -> None:
    """Whatever the umask is."""
    before = os.umask(0)
    try:
        with listening_in(tmp_path):
            assert stat.S_IMODE((tmp_path / SOCKET_NAME).lstat().st_mode) == 0o600
    finally:
        os.umask(before)


def test_a_folder_with_a_long_name_is_reached_as_well(tmp_path: Path) -> None:
    """The kernel takes 107 bytes for the path of a socket; state directories may be deeper."""
    folder = tmp_path / ("x" * 100) / ("y" * 100)
    folder.mkdir(parents=True)
    assert len(str(folder)) > ADDRESS_BYTES_MAX

    async def main(caller: Caller) -> None:
        assert "status" in await caller.ask("status")

    called(folder, main)


def test_the_socket_of_a_killed_agent_is_replaced(tmp_path: Path) -> None:
    """It lies there still; who holds the lock of the folder may take its place."""
    listening_in(tmp_path).close()  # as a killed process does: the name stays
    assert (tmp_path / SOCKET_NAME).exists()

    async def main(caller: Caller) -> None:
        assert "status" in await caller.ask("status")

    called(tmp_path, main)


def test_an_agent_works_without_a_socket_where_none_can_be_made(tmp_path: Path) -> None:
    """Something else has its name: that is logged, and stays as it is."""
    (tmp_path / SOCKET_NAME).write_text("mine")

    async def live() -> None:
        agent = await Machine(World(1, "key", 0.0, 0), "node/agent-1").agent()
        pause = Pause(agent.survey.holds, tmp_path, SystemClock())
        orders = Orders(agent.survey, agent.drain, pause, stacks=str, metrics=str)
        async with serving.taking_orders(tmp_path, orders):
            pass

    with capture_logs() as logs:
        asyncio.run(live())
    assert [line["event"] for line in logs if line["log_level"] == "warning"] == ["control.unavailable"]
    assert (tmp_path / SOCKET_NAME).read_text() == "mine"


def test_a_process_below_the_agent_is_sent_away(tmp_path: Path) -> None:
    """A handler runs as the same user, and its orphans stay below the agent: it may not end its agent."""

    async def main(caller: Caller) -> None:
        command = [sys.executable, "-I", "-S", "-c", ASKING, str(tmp_path / SOCKET_NAME)]
        ran = await asyncio.to_thread(
            subprocess.run, command, capture_output=True, timeout=LIMIT_S, check=True
        )
        assert "handler" in json.loads(ran.stdout)["error"]
        assert not caller.agent.drain.is_requested

    with capture_logs() as logs:
        called(tmp_path, main)
    assert "control.refused" in {line["event"] for line in logs}


def test_who_may_give_orders() -> None:
    """The agent's user and root; nobody else, and no process that is gone before it was looked at."""
    own, init = os.getpid(), 1
    assert refusal(Peer(init, 1000, 1000), 1000, own) is None
    assert refusal(Peer(own, 1000, 1000), 1000, own) is None  # itself, as in these tests
    assert refusal(Peer(init, 0, 0), 1000, own) is None
    assert refusal(Peer(0, 0, 0), 0, own) is None  # from outside of this container
    assert "user 65534" in str(refusal(Peer(init, 65534, 65534), 1000, own))
    assert "user 65534" in str(refusal(Peer(init, 65534, 65534), 0, own))
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert refusal(Peer(gone.pid, 1000, 1000), 1000, own) is not None


def test_parents_are_found_up_to_the_first() -> None:
    """Whatever a program calls itself: brackets and spaces in its name are no fields."""
    program = "import sys; open('/proc/self/comm', 'w').write(') 1 (x'); print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert os.getpid() in ancestors(child.pid, Path("/proc"))
        child.communicate(timeout=LIMIT_S)


@pytest.mark.parametrize(
    "line",
    [b"", b"\n", b"{}\n", b'{"do": "fly"}\n', b"\xff\xfe\n", b"[" * 3000 + b"\n", b"x" * 100_000],
    ids=["nothing", "empty", "no order", "unknown", "no text", "deep", "long"],
)
def test_what_is_no_order_is_answered_with_an_error(tmp_path: Path, line: bytes) -> None:
    """And the next one is heard."""

    async def main(caller: Caller) -> None:
        def send() -> bytes:
            with connected(tmp_path, LIMIT_S) as connection:
                try:
                    connection.sendall(line)
                    connection.shutdown(socket.SHUT_WR)
                    return connection.recv(1 << 16)
                except (BrokenPipeError, ConnectionResetError):
                    return b""

        said = await asyncio.to_thread(send)
        assert b"does not know the order" in said or (len(line) > serving.ORDER_BYTES_MAX and not said)
        assert "status" in await caller.ask("status")

    called(tmp_path, main)


def test_who_says_nothing_is_cut_off_and_more_than_the_most_are_sent_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A time limit that is short here, so that nobody has to wait for it."""
    monkeypatch.setattr(serving, "CONNECTION_S", 0.3)

    async def main(caller: Caller) -> None:
        path = str(tmp_path / SOCKET_NAME)
        silent = [await asyncio.open_unix_connection(path) for _ in range(2 * serving.CONNECTIONS_MAX)]
        assert {await reader.read() for reader, _ in silent} == {b""}
        for _, writer in silent:
            writer.close()
        monkeypatch.undo()  # who asks as one should may take its time
        assert "status" in await caller.ask("status")

    called(tmp_path, main)


def test_a_drain_has_the_time_that_is_given_and_only_comes_nearer(tmp_path: Path) -> None:
    """More than the agent's own setting too; a second one that is later says that it changes nothing."""

    async def main(caller: Caller) -> None:
        answer = await caller.ask("drain", withinS=3600.0)
        assert answer["status"]["drain"]["leftS"] > 3000.0
        assert next(hold["by"] for hold in answer["status"]["holds"]) == "drain"
        assert "nothing puts that off" in (await caller.ask("drain", withinS=7200.0))["note"]
        assert "nothing puts that off" in (await caller.ask("drain"))["note"]
        assert (await caller.ask("drain", withinS=60.0))["status"]["drain"]["leftS"] <= 60.0
        assert not caller.agent.drain.is_hurried
        assert (await caller.ask("drain", isNow=True))["status"]["drain"]["leftS"] <= 5.0
        assert caller.agent.drain.is_hurried
        assert "drains" in (await caller.ask("pause"))["error"]
        assert "drains" in (await caller.ask("resume"))["error"]

    called(tmp_path, main)


@pytest.mark.parametrize("within_s", [-1, 1e300, "soon"])
def test_a_time_that_is_none_is_refused(tmp_path: Path, within_s: object) -> None:
    """Nothing is begun by it."""

    async def main(caller: Caller) -> None:
        assert "error" in await caller.ask("drain", withinS=within_s)
        assert not caller.agent.drain.is_requested

    called(tmp_path, main)


def test_a_pause_holds_claims_until_it_is_taken_back_also_over_a_restart(tmp_path: Path) -> None:
    """Who paused an agent means it, however the agent ends in between."""

    async def first(caller: Caller) -> None:
        answer = await caller.ask("pause", reason="GPU 1 looks odd")
        (hold,) = (hold for hold in answer["status"]["holds"] if hold["by"] == "operator")
        assert hold["reason"].endswith(": GPU 1 looks odd")
        assert caller.agent.survey.holds.is_held

    async def second(caller: Caller) -> None:
        assert not caller.agent.survey.is_ready
        caller.pause.restore()
        assert caller.agent.survey.is_ready  # it asks the server nothing; a pod must not wait for that
        assert caller.agent.survey.holds.reasons["operator"].endswith(": GPU 1 looks odd")
        assert "note" not in await caller.ask("resume")
        assert not caller.agent.survey.holds.is_held

    async def third(caller: Caller) -> None:
        caller.pause.restore()
        assert not caller.agent.survey.holds.is_held
        assert "note" not in await caller.ask("resume")

    for main in (first, second, third):
        called(tmp_path, main)


def test_a_pause_that_cannot_be_kept_holds_and_says_so(tmp_path: Path) -> None:
    """A full disk is when one wants to pause: the agent holds, and the answer says what a restart does."""
    (tmp_path / FILE_NAME).mkdir()

    async def main(caller: Caller) -> None:
        answer = await caller.ask("pause")
        assert "the next start of the agent claims again" in answer["note"]
        assert caller.agent.survey.holds.is_held
        assert "paused again" in (await caller.ask("resume"))["note"]
        assert not caller.agent.survey.holds.is_held

    called(tmp_path, main)


@pytest.mark.parametrize("content", [b"", b"{", b"[1]"])
def test_a_pause_whose_file_is_damaged_holds(tmp_path: Path, content: bytes) -> None:
    """Somebody paused it: what exactly was said does not matter for that."""
    (tmp_path / FILE_NAME).write_bytes(content)

    async def main(caller: Caller) -> None:
        caller.pause.restore()
        assert "cannot be read" in caller.agent.survey.holds.reasons["operator"]

    called(tmp_path, main)

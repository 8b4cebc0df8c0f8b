"""What a handler can get at, under each option: a thief tries every way it knows (`thief.py`).

This is the evidence for the table of docs/isolation.md.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.confine.conftest import needs_landlock, needs_root
from tests.unit.confine.scene import Scene, gains, nobody
from worker.minder import landlock

BY_NAME = {
    "token file", "token file by ..", "token file by a symbolic link", "token file by a hard link",
    "token file by /proc/self/root", "token file in namespaces", "journal", "move the token file",
}  # fmt: skip
INSIDE = {
    "environment", "own descriptors", "the agent's environ", "the agent's cmdline", "the agent's auxv",
    "the agent's memory", "the agent's memory by vm_readv", "the agent's descriptors",
    "the agent's descriptors by pidfd", "ptrace", "other ancestors", "token file by the agent's root",
    "token file by the agent's cwd",
}  # fmt: skip
CHANGES = {
    "cut the journal", "write the journal", "add to the journal", "rename the journal", "remove the journal",
    "change the agent's code",
}  # fmt: skip
FROM_ABI = {"signal": 6, "abstract socket": 6, "cut the journal": 3}


def hiding(scene: Scene) -> dict[str, Any]:
    """Return the wish that hides what is secret, as `worker.agent.isolation` makes it."""
    return {
        "hide": [str(scene.secret), str(scene.state)],
        "keep": [str(scene.state / "runs")],
        "read": [str(scene.code), "/proc", "/sys"],
    }


def beyond_this_kernel() -> set[str]:
    """Return the ways that this kernel's Landlock does not know yet."""
    return {way for way, abi in FROM_ABI.items() if landlock.abi() < abi}


@needs_root
def test_task_user_gets_at_nothing(base: Path, python: str) -> None:
    """A handler that runs as another user finds the token nowhere, changes nothing and stays who it is."""
    scene = Scene(base)
    scene.lend_playground(nobody())
    told = scene.play({"user": nobody().wish(), "no_new_privs": True}, python=python, is_talkative=True)
    assert (
        gains(told, but=["abstract socket"]) == {}
    )  # who listens there must ask who comes: we do not listen
    standing = told["standing"]
    assert set(standing["uids"]) == {nobody().uid}
    assert (standing["capabilities"], standing["bounding"], standing["no_new_privs"]) == (0, 0, 1)


@needs_root
def test_task_user_gets_at_nothing_of_an_agent_that_can_be_dumped(base: Path, python: str) -> None:
    """The other user alone keeps a handler out: it does not rest on the agent closing its own process."""
    scene = Scene(base)
    scene.lend_playground(nobody())
    told = scene.play({"user": nobody().wish()}, python=python, is_guarded=False)
    assert gains(told, but=["the agent's cmdline"]) == {}  # arguments are everybody's until they are wiped


@needs_landlock
def test_landlocked_handler_of_the_same_user_gets_at_nothing(base: Path) -> None:
    """Under Landlock, as the very user that runs the agent (root too), nothing secret is found or changed."""
    scene = Scene(base)
    told = scene.play(hiding(scene), python=sys.executable, is_talkative=True)
    assert (
        gains(told, but=beyond_this_kernel()) == {}
    )  # Landlock knows no socket in a folder: the agent asks who comes
    assert told["ways"]["socket in the state folder"] == "nothing"


@needs_root
@needs_landlock
def test_landlocked_handler_of_an_unprivileged_agent_gets_at_nothing(base: Path, python: str) -> None:
    """The same holds where neither agent nor handler is root."""
    scene = Scene(base, nobody())
    told = scene.play(hiding(scene), python=python, is_talkative=True)
    assert gains(told, but=beyond_this_kernel()) == {}
    assert set(told["standing"]["uids"]) == {nobody().uid}


@needs_root
@needs_landlock
def test_task_user_under_landlock_gets_at_nothing(base: Path, python: str) -> None:
    """Both together hold too, the sockets of the agent included."""
    scene = Scene(base)
    scene.lend_playground(nobody())
    told = scene.play({"user": nobody().wish(), **hiding(scene)}, python=python, is_talkative=True)
    assert gains(told, but=beyond_this_kernel()) == {}


@needs_landlock
def test_root_under_landlock_keeps_no_capability_that_leads_around_it(base: Path) -> None:
    """Disks, kernel modules, mounts and other processes' memory are out of root's reach as well."""
    told = Scene(base).play({"hide": []}, python=sys.executable)
    standing = told["standing"]
    sys_module, sys_ptrace, sys_admin, mknod = 1 << 16, 1 << 19, 1 << 21, 1 << 27
    assert standing["no_new_privs"] == 1
    assert not standing["capabilities"] & (sys_module | sys_ptrace | sys_admin | mknod)
    assert told["ways"]["disks"] != "done"


@needs_root
def test_same_user_without_landlock_reads_files_but_not_the_agent(base: Path, python: str) -> None:
    """Without either, files are the handler's as well; memory, environment and descriptors are not."""
    scene = Scene(base, nobody())
    told = scene.play({"no_new_privs": True}, python=python)
    found = gains(told)
    assert not found.keys() & INSIDE
    assert BY_NAME - {"token file in namespaces"} <= found.keys() | {"move the token file"}
    assert found.keys() & CHANGES


@needs_root
def test_agent_that_does_not_close_itself_gives_its_memory_away(base: Path, python: str) -> None:
    """The thief is able: an agent that leaves its process open is read by its own user."""
    told = Scene(base, nobody()).play({}, python=python, is_guarded=False)
    assert {"the agent's environ", "the agent's cmdline", "the agent's memory"} <= gains(told).keys()


@needs_root
def test_root_without_landlock_gets_at_everything(base: Path) -> None:
    """A handler that is root is held by nothing else: `millhand doctor` warns of it."""
    found = gains(Scene(base).play({"no_new_privs": True}, python=sys.executable))
    assert {"token file", "the agent's memory", "ptrace", "journal"} <= found.keys()


@needs_landlock
@pytest.mark.parametrize("place", ["file", "folder"])
def test_what_is_hidden_may_be_a_file_or_come_later(base: Path, place: str) -> None:
    """A single file is hidden too, and one that is made only after the handler started."""
    scene = Scene(base)
    wish = hiding(scene)
    wish["hide"][0] = str(scene.token_file if place == "file" else scene.secret / "later" / "..")
    told = scene.play(wish, python=sys.executable)
    assert not gains(told, but=beyond_this_kernel()).keys() & (BY_NAME | INSIDE)

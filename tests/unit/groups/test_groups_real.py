"""Real groups of this machine: limits that the kernel holds, kills, what killed agents leave behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.groups.real import in_group, opened, until
from worker.minder.base import PREFIX, pids_below
from worker.minder.groups import Groups

MIB = 1 << 20
EAT = "held = b'x' * ({mib} << 20)\nprint('ate', flush=True)\ninput()\n"
SLEEP = "print('here', flush=True)\ninput()\n"
OWNER = """
import os
from worker.minder.groups import Groups
groups = Groups.open("killed")
group = groups.make(1)
pid = os.fork()
if pid == 0:
    for path in group.join_files:
        with open(path, "w") as file: file.write("0")
    folders = map(os.path.dirname, group.folders)
    os.execv("/bin/sh", ["sh", "-c", 'echo "$@"; read line', "sh", str(os.getpid()), *folders])
os.waitpid(pid, 0)
"""


@pytest.fixture
def groups() -> Iterator[Groups]:
    """Open groups of this test."""
    with opened("test") as groups:
        yield groups


def spoken(process: subprocess.Popen[str]) -> str:
    """Return the next line that a program prints."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def end(process: subprocess.Popen[str]) -> int:
    """Let a program end; return its exit code."""
    process.communicate("\n", timeout=60)
    return process.returncode


def test_who_eats_beyond_the_limit_is_killed_and_it_is_told(groups: Groups) -> None:
    """The kernel kills within the group, counts it there, and leaves everybody else alone."""
    group, other = groups.make("eater"), groups.make("other")
    assert group.limit(64 * MIB, None)
    bystander = in_group(other, SLEEP)
    assert spoken(bystander) == "here"
    eater = in_group(group, EAT.format(mib=400))
    assert spoken(eater) == ""
    assert end(eater) == -signal.SIGKILL
    assert other.oom_kills() == 0
    assert group.oom_kills() in (1, 2)  # a kernel that kills a group as a whole may count its victim twice
    assert end(bystander) == 0
    for made in (group, other):
        made.remove()


def test_what_a_group_holds_is_measured(groups: Groups) -> None:
    """Anonymous memory of all its processes, near to what was taken."""
    group = groups.make("holder")
    holder = in_group(group, EAT.format(mib=80))
    assert spoken(holder) == "ate"
    held_bytes = group.memory_bytes()
    assert held_bytes is not None
    assert 80 * MIB <= held_bytes < 120 * MIB
    assert end(holder) == 0
    group.remove()


def test_a_limit_can_be_lowered_raised_and_lifted_while_somebody_lives_there(groups: Groups) -> None:
    """A warm child has another limit with each run; one below its use is refused, and kills nobody."""
    group = groups.make("warm")
    holder = in_group(group, EAT.format(mib=80))
    assert spoken(holder) == "ate"
    assert [group.limit(size_mib * MIB, None) for size_mib in (400, 200, 300)] == [True, True, True]
    assert group.limit(10 * MIB, None) is False
    assert group.limit(None, None)
    assert group.oom_kills() == 0
    assert end(holder) == 0
    group.remove()


def test_a_fork_bomb_stops_at_the_bound_and_dies_at_once(groups: Groups) -> None:
    """The bound counts all processes; the group is killed with all that is in it."""
    group = groups.make("bomb")
    assert group.limit(None, 20)
    program = """
import os, time
while True:
    try: os.fork()
    except OSError:
        print('full', flush=True)
        time.sleep(600)
"""
    bomb = in_group(group, program)
    assert spoken(bomb) == "full"
    assert len(group.pids()) == 20
    if groups.can_kill:
        assert group.kill()
    else:
        for pid in group.pids():
            os.kill(pid, signal.SIGKILL)
    until(lambda: not group.pids())
    assert group.kill() is False  # nobody is there
    assert end(bomb) == -signal.SIGKILL
    group.remove()


def test_the_bound_of_processes_outlives_a_change_of_memory(groups: Groups) -> None:
    """The bound is set at birth, the memory with each run, and the kernel's limit lies a little above."""
    group = groups.make("bound")
    assert group.limit(None, 7)
    assert group.limit(64 * MIB, None)
    folders = [Path(folder) for folder in group.folders]
    bounds = [path.read_text() for folder in folders if (path := folder / "pids.max").exists()]
    assert bounds == ["7\n"]
    names = ("memory.limit_in_bytes", "memory.max")
    limits = [path.read_text() for folder in folders for name in names if (path := folder / name).exists()]
    assert limits == [f"{128 * MIB}\n"]
    group.remove()


def test_a_group_that_is_busy_goes_when_the_next_is_made(groups: Groups) -> None:
    """Removing does not wait for the living; nothing is left in the end."""
    group = groups.make("busy")
    folders = [Path(folder) for folder in group.folders]
    sleeper = in_group(group, SLEEP)
    assert spoken(sleeper) == "here"
    group.remove()
    assert all(folder.is_dir() for folder in folders)
    assert end(sleeper) == 0
    groups.make("next").remove()
    assert not any(folder.exists() for folder in folders)


def test_groups_that_a_handler_made_below_its_own_are_removed_too(groups: Groups) -> None:
    """Root may make groups anywhere; its processes there are counted and its folders go."""
    group = groups.make("nested")
    for folder in group.folders:
        (Path(folder) / "inner").mkdir()
    folders = group.folders
    group.remove()
    assert not any(Path(folder).exists() for folder in folders)


def test_a_second_agent_disturbs_the_first_in_nothing(groups: Groups) -> None:
    """Same own group, both alive: each has its folder, and the second's start removes nothing."""
    group = groups.make("first")
    sleeper = in_group(group, SLEEP)
    assert spoken(sleeper) == "here"
    with opened("second") as second:
        other = second.make("first")
        assert set(other.folders).isdisjoint(group.folders)
        other.remove()
    assert sleeper.pid in group.pids()
    assert end(sleeper) == 0
    group.remove()


def test_what_a_killed_agent_left_is_ended_and_removed_by_the_next() -> None:
    """Its lock went with it: processes in its groups are killed, the folders go."""
    with opened("probe"):
        pass
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    words = spoken(owner).split()
    with opened("next") as groups:
        sleeper_pid, folders = int(words[0]), words[1:]
        assert all(sleeper_pid in pids_below(folder) for folder in folders)
        owner.kill()
        owner.wait(timeout=60)
    assert all(Path(folder).is_dir() for folder in folders)
    with opened("next") as groups:
        until(lambda: not any(Path(folder).exists() for folder in folders))
        assert groups.reason == ""
        owner.communicate(timeout=60)


def test_folders_of_others_are_not_touched(groups: Groups) -> None:
    """Only names that are an agent's are looked at."""
    group = groups.make("x")
    own = Path(group.folders[0]).parents[1]
    foreign = own / f"not-{PREFIX}1"
    foreign.mkdir()
    try:
        with opened("other"):
            assert foreign.is_dir()
    finally:
        foreign.rmdir()
        group.remove()


def test_opening_and_closing_leaves_nothing(groups: Groups) -> None:
    """The own folders go with the last group."""
    made = [groups.make(number) for number in range(3)]
    tops = {Path(folder).parent for group in made for folder in group.folders}
    assert all(top.is_dir() for top in tops)
    groups.close()
    assert not any(top.exists() for top in tops)

"""The look for what is left, tested on a process that was there before and on one that is left."""

import subprocess

from tests.faults.cage import reap
from tests.faults.processes import adopting_orphans, descendants

SLEEP = ["sleep", "600"]


def test_a_bystander_is_neither_counted_nor_killed() -> None:
    """Such is the resource tracker of a process pool that an earlier test has used."""
    with subprocess.Popen(SLEEP) as bystander:
        try:
            with adopting_orphans():
                assert descendants() == []
                left = subprocess.Popen(SLEEP)
                assert [one.pid for one in descendants()] == [left.pid]
                reap()
                assert descendants() == []
            assert bystander.pid in {one.pid for one in descendants()}
            assert bystander.poll() is None
        finally:
            bystander.kill()
    assert left.poll() is not None


def test_orphans_are_found_and_reaped() -> None:
    """An orphan in a session of its own comes to be a child here."""
    with adopting_orphans():
        subprocess.run(["sh", "-c", "setsid sleep 600 & :"], check=True)
        found = descendants()
        assert [one.parent_pid for one in found], found
        reap()
        assert descendants() == []

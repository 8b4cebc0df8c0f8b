"""What the minder is told and tells: starts that fail, bills, packets; and how small it stays."""

from __future__ import annotations

import json
import os
import resource
from pathlib import Path

import pytest

from tests.unit.minder.cradle import cradle, within_limit
from worker.minder.wire import MAX_PACKET_BYTES, pack

MIB = 1024**2


def test_a_start_that_fails_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    """A program that is not there, and an environment that is too large, are errors of that start alone."""

    async def scenario() -> None:
        async with cradle(tmp_path) as it:
            with pytest.raises(OSError, match="No such file"):
                await it.start("", argv=[str(tmp_path / "missing")])
            with pytest.raises(OSError, match="environment is too large"):
                await it.start("", env={"A": "x" * MAX_PACKET_BYTES})
            before = descriptors()
            life = await it.start("told('fine')")
            await it.told("fine")
            assert (await life.end()).code in (0, None)
            assert descriptors() == before
            assert it.processes() == []

    within_limit(scenario())


def test_the_minder_is_small(tmp_path: Path) -> None:
    """It maps no third-party code, and its own memory is a few MiB."""

    async def scenario() -> None:
        async with cradle(tmp_path) as it:
            await it.start("told('on')")
            await it.told("on")
            maps = proc_text(it.minder.pid, "maps")
            assert "site-packages" not in maps
            status = proc_text(it.minder.pid, "status")
            anonymous_kib = int(status.partition("RssAnon:")[2].split()[0])
            assert anonymous_kib < 16 * 1024
            environment = proc_text(it.minder.pid, "environ")
            assert environment == "" or environment.startswith("LD_LIBRARY_PATH=")

    within_limit(scenario())


def test_a_bill_is_what_wait4_said(tmp_path: Path) -> None:
    """CPU and peak of an ended child arrive as the kernel has them; the peak is not the agent's own."""
    held = bytearray(300 * MIB)  # a child of this process would inherit this as its peak

    async def scenario() -> None:
        async with cradle(tmp_path) as it:
            life = await it.start(
                "end = time.process_time() + 0.1\nwhile time.process_time() < end: pass\ntold('done')"
            )
            await it.told("done")
            rusage = (await life.end()).rusage
            assert rusage is not None
            assert 0.1 <= rusage.ru_utime + rusage.ru_stime < 30
            assert 0 < rusage.ru_maxrss * 1024 < 100 * MIB

    within_limit(scenario())
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 > len(held)


def descriptors() -> set[str]:
    """Return the descriptors of this process."""
    return {path.name for path in Path("/proc/self/fd").iterdir()}


def proc_text(pid: int, name: str) -> str:
    """Return a file of a process."""
    return Path(f"/proc/{pid}/{name}").read_text()


def test_a_packet_is_json_with_a_bound() -> None:
    """What is sent can be read by anything that reads JSON, and is never cut."""
    assert json.loads(pack({"do": "end", "id": 7})) == {"do": "end", "id": 7}
    with pytest.raises(OSError, match=str(MAX_PACKET_BYTES)):
        pack({"env": os.urandom(MAX_PACKET_BYTES).hex()})

"""The watch of the GPUs: real helpers, the real bindings, over a stand-in for NVML's library."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil
import pytest

from tests.nvml import GIB, FakeNvml, gpu
from worker.clock import SystemClock
from worker.machine.gpu_look import DeviceLook, GpuProcess, Look
from worker.machine.gpu_watch import ENDED, WATCH, GpuWatch

LIMIT_S = 60.0  # a bound for a hang, not a measure
BUSY = gpu(0, "duty 100000 40", "energy 1000 0", "proc 42 1000 40", "graphics 43")


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> FakeNvml:
    """Build the stand-in once."""
    return FakeNvml(tmp_path_factory.mktemp("nvml"))


def watched(fake: FakeNvml, main: Callable[[GpuWatch], Awaitable[None]], *, limit_s: float = LIMIT_S) -> None:
    """Let a watch run while `main` does; then none of its processes may be left."""

    async def live() -> None:
        watch = GpuWatch(
            fake.environment_here(), SystemClock(), interval_s=0.01, limit_s=limit_s, pause_s=0.01
        )
        running = asyncio.create_task(watch.run())
        await asyncio.sleep(0)
        try:
            async with asyncio.timeout(LIMIT_S):
                await main(watch)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        assert await watch.look_now() is None

    asyncio.run(live())
    assert helpers() == []


def helpers() -> list[psutil.Process]:
    """Return the helpers that live below this process."""
    return [one for one in psutil.Process().children(recursive=True) if WATCH[-1] in one.cmdline()]


async def until(is_so: Callable[[], bool]) -> None:
    """Wait for something that another process brings about."""
    while not is_so():  # noqa: ASYNC110 - another process writes it
        await asyncio.sleep(0.01)


async def look(watch: GpuWatch) -> Look:
    """Return a look that is there; a slow machine may need another helper."""
    while (found := await watch.look_now(LIMIT_S)) is None:  # noqa: ASYNC110 - another process answers
        await asyncio.sleep(0.01)
    return found


async def first(watch: GpuWatch) -> DeviceLook:
    """Return the first GPU of a look."""
    return (await look(watch)).devices[0]


def test_a_look_tells_everything_of_a_gpu(fake: FakeNvml) -> None:
    """Memory, processes, samples since the look before, energy."""
    fake.put(BUSY)

    async def main(watch: GpuWatch) -> None:
        before = await first(watch)
        while not (device := await first(watch)).samples:
            before = device
        assert (device.uuid, device.error, device.xid, device.is_instance) == ("GPU-1", None, None, False)
        assert (device.memory_used_bytes, device.memory_total_bytes) == (0, 24 * GIB)
        assert device.processes == (GpuProcess(42, 1000), GpuProcess(43, None, is_graphics=True))
        times = [at for at, _ in device.samples or ()]
        assert all(at % 100_000 == 0 and at > device.since_us for at in times)
        assert {percent for _, percent in device.samples or ()} == {40}
        assert device.process_samples is not None
        assert all((pid, percent) == (42, 40) for pid, _, percent in device.process_samples)
        assert device.energy_mj == 1000
        assert device.looked_before_us >= before.at_us
        assert device.reasons == {}

    watched(fake, main)


def test_no_sample_is_lost_and_none_comes_twice(fake: FakeNvml) -> None:
    """However the looks fall: each step of the duty once, in order."""
    fake.put(BUSY)
    seen: list[int] = []

    async def main(watch: GpuWatch) -> None:
        end = watch.listen(lambda one: seen.extend(at for at, _ in one.devices[0].samples or ()))
        await until(lambda: len(seen) >= 8)
        end()

    watched(fake, main)
    assert seen == list(range(seen[0], seen[0] + len(seen) * 100_000, 100_000))


def test_what_a_gpu_does_not_tell_has_a_reason(fake: FakeNvml) -> None:
    """None and why, never 0."""
    fake.put(gpu(0, "no_process_samples").replace("gpu 0 memory 25769803776 0\n", ""))

    async def main(watch: GpuWatch) -> None:
        device = await first(watch)
        told = (device.samples, device.process_samples, device.energy_mj, device.memory_used_bytes)
        assert told == (None, None, None, None)
        assert set(device.reasons) == {"memory", "samples", "process_samples", "energy_mj"}
        assert device.reasons["samples"] == "Not Supported"

    watched(fake, main)


def test_what_a_run_can_do_without_is_no_fault_of_the_gpu(fake: FakeNvml) -> None:
    """Whatever error a driver returns for it, but that the GPU is lost."""
    fake.put(gpu(0, "energy_error 999", "duty 100000 40"))

    async def main(watch: GpuWatch) -> None:
        device = await first(watch)
        assert (device.error, device.energy_mj, device.reasons["energy_mj"]) == (None, None, "Unknown Error")
        fake.add("gpu 0 energy_error 15")
        assert (await first(watch)).error == "GPU is lost"

    watched(fake, main)


def test_instances_are_looked_at_one_by_one(fake: FakeNvml) -> None:
    """Each has its memory; how busy one is NVML does not say."""
    fake.put(gpu(0, "mig 0 MIG-1 3 40000", "mig 3 MIG-2 2 20000", "duty 100000 40"))

    async def main(watch: GpuWatch) -> None:
        one, two = (await look(watch)).devices
        assert (one.uuid, two.uuid, one.is_instance) == ("MIG-1", "MIG-2", True)
        assert (one.memory_total_bytes, one.samples) == (40000 << 20, None)

    watched(fake, main)


def test_a_lost_gpu_is_named_and_comes_back(fake: FakeNvml) -> None:
    """Beside the other, which goes on; an error is no end of the watch."""
    fake.put(gpu(0) + gpu(1))

    async def main(watch: GpuWatch) -> None:
        assert [one.error for one in (await look(watch)).devices] == [None, None]
        fake.add("gpu 1 error 15")
        assert [one.error for one in (await look(watch)).devices] == [None, "GPU is lost"]
        fake.take_back("gpu 1 error 15")
        assert [one.error for one in (await look(watch)).devices] == [None, None]

    watched(fake, main)


def test_a_critical_event_is_kept(fake: FakeNvml) -> None:
    """The driver tells it once."""
    fake.put(gpu(0) + gpu(1))

    async def main(watch: GpuWatch) -> None:
        await look(watch)
        fake.add("gpu 1 xid 79")
        for _ in range(3):
            assert [one.xid for one in (await look(watch)).devices] == [None, 79]

    watched(fake, main)


def test_an_event_that_a_program_caused_does_not_hide_one_of_a_sick_gpu(fake: FakeNvml) -> None:
    """A GPU that falls off the bus takes its programs with it, and they have events of their own."""
    fake.put(gpu(0))

    async def main(watch: GpuWatch) -> None:
        await look(watch)
        seen = []
        for line in ("gpu 0 xid 31", "gpu 0 xid 79", "gpu 0 xid 43", "gpu 0 xid 48"):
            fake.add(line)
            seen.append((await first(watch)).xid)
        assert seen == [31, 79, 79, 48]

    watched(fake, main)


@pytest.mark.parametrize("is_from_the_start", [True, False])
def test_a_gpu_that_fails_at_each_look_costs_no_event_of_another(
    fake: FakeNvml, is_from_the_start: bool
) -> None:
    """NVML is not started anew for it each time: what happens while it is shut down is told to nobody."""
    lost = "gpu 0 error 15"
    fake.put(gpu(0) + gpu(1) + (f"{lost}\n" if is_from_the_start else ""))

    async def main(watch: GpuWatch) -> None:
        await look(watch)
        if not is_from_the_start:
            fake.add(lost)
        for _ in range(2):  # the second starts NVML anew
            await look(watch)
        fake.add("gpu 1 xid 79")
        assert (await look(watch)).devices[-1].xid == 79

    watched(fake, main)


def test_events_are_taken_before_nvml_is_started_anew(fake: FakeNvml) -> None:
    """The one that came since the look that failed is told."""
    fake.put(gpu(0) + gpu(1))

    async def main(watch: GpuWatch) -> None:
        await look(watch)
        fake.put(gpu(0, "error 999") + gpu(1))
        while (await look(watch)).devices[0].error is None:
            pass
        fake.put(gpu(0) + gpu(1, "xid 79"))
        assert [one.xid for one in (await look(watch)).devices] == [None, 79]

    watched(fake, main)


@pytest.mark.parametrize(("code", "word"), [(9, "Driver Not Loaded"), (18, "mismatch"), (4, "Permission")])
def test_an_nvml_that_does_not_start_says_why_and_is_tried_again(
    fake: FakeNvml, code: int, word: str
) -> None:
    """The GPUs are not known then, which is not that there is none."""
    fake.put(f"init_error {code}\n" + gpu(0))

    async def main(watch: GpuWatch) -> None:
        await until(lambda: word in str(watch.error))
        assert await watch.look_now(LIMIT_S) is None
        assert watch.latest is None
        fake.put(gpu(0))
        await until(lambda: watch.error is None)
        assert watch.latest is not None

    watched(fake, main)


@pytest.mark.parametrize("line", ["hang", "gpu 0 hang"])
def test_a_helper_that_hangs_is_killed_and_another_one_looks(fake: FakeNvml, line: str) -> None:
    """At the first call, or at one of many."""
    fake.put(gpu(0))

    async def main(watch: GpuWatch) -> None:
        await look(watch)
        (before,) = helpers()
        fake.add(line)
        await until(lambda: watch.error == "NVML did not answer within 2 s")
        assert watch.latest is not None  # and old: `latest_mono` says so
        await until(lambda: not before.is_running())
        fake.take_back(line)
        await until(lambda: watch.error is None)
        assert helpers() != [before]

    watched(fake, main, limit_s=2.0)


def test_a_helper_that_is_killed_is_replaced(fake: FakeNvml) -> None:
    """By whomever; who waits for a look is told that there is none."""
    fake.put(gpu(0))

    async def main(watch: GpuWatch) -> None:
        await look(watch)
        helpers()[0].kill()
        await until(lambda: watch.error == ENDED)
        await until(lambda: watch.error is None)

    watched(fake, main)


@pytest.mark.parametrize(
    ("program", "word"),
    [
        (["/nonexistent/helper"], "No such file"),
        ([sys.executable, "-c", "input(); print('[]')"], "nonsense"),
        ([sys.executable, "-c", "raise SystemExit(3)"], "ended"),
    ],
    ids=["missing", "babbles", "dies"],
)
def test_a_helper_that_is_none_is_an_error_and_no_crash(program: list[str], word: str) -> None:
    """And who asks is answered at once."""

    async def live() -> None:
        watch = GpuWatch(os.environ, SystemClock(), program=program, pause_s=0.01)
        running = asyncio.create_task(watch.run())
        async with asyncio.timeout(LIMIT_S):
            await until(lambda: word in str(watch.error))
        assert await watch.look_now() is None
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(live())


@pytest.mark.parametrize("state", [gpu(0), "hang\n"], ids=["idle", "hangs"])
def test_a_helper_does_not_outlive_who_asks(fake: FakeNvml, tmp_path: Path, state: str) -> None:
    """Killed as hard as can be; also while NVML hangs."""
    fake.put(state)
    script = (
        "import asyncio, os\n"
        "from worker.machine.gpu_watch import GpuWatch\n"
        "from worker.clock import SystemClock\n"
        "async def main():\n"
        "    asyncio.create_task(GpuWatch(os.environ, SystemClock()).run())\n"
        "    await asyncio.sleep(600)\n"
        "asyncio.run(main())\n"
    )
    owner = subprocess.Popen([sys.executable, "-c", script], env=fake.environment_here())
    try:
        until_there = asyncio.wait_for(until(lambda: any(helpers())), LIMIT_S)
        asyncio.run(until_there)
        (helper,) = helpers()
    finally:
        os.kill(owner.pid, signal.SIGKILL)
        owner.wait(LIMIT_S)
    helper.wait(LIMIT_S)

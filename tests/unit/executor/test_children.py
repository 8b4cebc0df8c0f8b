"""Children as processes: warm and fresh ones, what they see, what is left of them."""

import asyncio
import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.executor.bench import bench, is_running, open_descriptors, within_limit
from worker.api.wire import ErrorKind, ResultCode
from worker.executor.executor import Event, ProgressEvent
from worker.usage.process_files import ProcessFiles


def test_a_warm_child_serves_again(tmp_path: Path) -> None:
    """Runs of one type share a process, which is not the agent's."""

    async def scenario() -> None:
        async with bench(tmp_path) as it:
            first, second = (await it.run("identity")).value, (await it.run("identity")).value
            assert first["pid"] == second["pid"] != os.getpid()
            assert (first["run"], second["run"]) == ("run-1", "run-2")

    within_limit(scenario())


def test_a_run_finds_an_empty_folder_and_the_main_thread(tmp_path: Path) -> None:
    """The working directory is the run's own; a sync handler may use signals and GUI toolkits."""

    async def scenario() -> None:
        async with bench(tmp_path) as it:
            seen = (await it.run("identity")).value
            assert seen["cwd"] == seen["workdir"] == str((tmp_path / "runs" / "run-1").resolve())
            assert seen["files"] == []
            assert seen["is_main_thread"]
            assert seen["session"] == seen["pid"]
            assert it.is_tidy

    within_limit(scenario())


def test_no_token_is_in_a_childs_environment(tmp_path: Path) -> None:
    """The environment is an allow-list; tokens and unknown names stay out."""
    ours = os.environ | {
        "MILLHAND_TOKEN": "secret",
        "MILLHAND_TOKEN_FILE": "/t",
        "AWS_SECRET_ACCESS_KEY": "s",
    }

    async def scenario() -> None:
        async with bench(tmp_path, environment=ours | {"MILLHAND_COMMANDS": "ffmpeg", "LC_TIME": "C"}) as it:
            seen = (await it.run("identity")).value["environment"]
            assert not {"MILLHAND_TOKEN", "MILLHAND_TOKEN_FILE", "AWS_SECRET_ACCESS_KEY"} & seen.keys()
            assert (seen["MILLHAND_COMMANDS"], seen["LC_TIME"]) == ("ffmpeg", "C")
            assert "secret" not in str(seen)

    within_limit(scenario())


def test_a_child_sees_its_gpus_and_no_others(tmp_path: Path) -> None:
    """CUDA is shown what was assigned; another assignment gets another process."""

    async def scenario() -> None:
        async with bench(tmp_path) as it:
            none = (await it.run("identity")).value
            one = (await it.run("identity", gpus=("GPU-1",))).value
            assert none["environment"]["CUDA_VISIBLE_DEVICES"] == ""
            assert one["environment"]["CUDA_VISIBLE_DEVICES"] == "GPU-1"
            assert none["pid"] != one["pid"]

    within_limit(scenario())


def test_a_fresh_handler_never_shares_a_process(tmp_path: Path) -> None:
    """`isolation="fresh"` gives every run its own, which is gone when the run is over."""

    async def scenario() -> None:
        async with bench(tmp_path) as it:
            pids = [(await it.run("once")).value["value"] for _ in range(2)]
            assert pids[0] != pids[1]
            assert not any(is_running(pid) for pid in pids)

    within_limit(scenario())


def test_a_child_is_replaced_after_its_number_of_runs(tmp_path: Path) -> None:
    """What a leaking handler piles up is bounded."""

    async def scenario() -> None:
        async with bench(tmp_path, max_runs=2) as it:
            pids = [(await it.run("identity")).value["pid"] for _ in range(3)]
            assert pids[0] == pids[1] != pids[2]

    within_limit(scenario())


def test_a_changed_file_is_imported_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An author sees an edit with the next task, without a restart."""
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    path = tmp_path / "edited.py"
    source = "from worker import handler\n@handler()\ndef version(ctx):\n    return {number}\n"

    async def scenario() -> None:
        async with bench(tmp_path, handlers=path) as it:
            for number in (1, 2):
                path.write_text(source.format(number=number))
                os.utime(path, ns=(number, number))
                assert (await it.run("version")).value == {"value": number}

    within_limit(scenario())


def test_an_idle_child_that_dies_is_reaped_and_replaced(tmp_path: Path) -> None:
    """Somebody may kill a child while it is idle; the next run does not notice."""

    async def scenario() -> None:
        async with bench(tmp_path) as it:
            pid = (await it.run("identity")).value["pid"]
            os.kill(pid, 9)
            await it.wait_for_children(0)
            assert (await it.run("identity")).code is ResultCode.SUCCESS

    within_limit(scenario())


def test_idle_children_can_be_let_go_and_those_with_a_run_stay(tmp_path: Path) -> None:
    """Before their time; the next run of their type gets a new one."""

    async def scenario() -> None:
        async with bench(tmp_path) as it:
            first = (await it.run("identity")).value
            seen: list[int] = []

            def let_go(event: Event) -> None:
                if not seen and isinstance(event, ProgressEvent):
                    it.executor.let_idle_go()
                    seen.append(it.spawner.pids[-1])

            running = await it.run("tell", on_event=let_go)
            assert (running.code, len(seen)) == (ResultCode.SUCCESS, 1)
            await it.wait_for_children(1)
            assert it.spawner.left == seen
            it.executor.let_idle_go()
            await it.wait_for_children(0)
            assert (await it.run("identity")).value["pid"] not in {first["pid"], *seen}

    within_limit(scenario())


def test_idle_children_are_bounded(tmp_path: Path) -> None:
    """No more than `concurrency` are kept, whatever types came."""

    async def scenario() -> None:
        async with bench(tmp_path, concurrency=1) as it:
            await asyncio.gather(it.run("noop"), it.run("identity"), it.run("add", a=1))
            await it.wait_for_children(1)
            assert len(it.spawner.pids) == 3

    within_limit(scenario())


@pytest.mark.parametrize("then", ["return", "crash"])
@pytest.mark.parametrize("is_listed", [True, False])
def test_no_process_of_a_run_outlives_it(
    tmp_path: Path, then: str, is_listed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plain children, other sessions and orphans are gone when it is over; also where none are listed."""
    if not is_listed:  # as where the kernel has no lists of children
        monkeypatch.setattr(
            ProcessFiles, "listed", property(lambda _: None, lambda _, listed: None), raising=False
        )

    async def scenario() -> None:
        async with bench(tmp_path) as it:
            outcome = await it.run("spawn-strays", then=then)
            told = [event.message for event in it.events if isinstance(event, ProgressEvent)]
            assert told[0] is not None
            pids = [int(pid) for pid in told[0].split()]
            assert len(pids) == 4
            assert [pid for pid in pids if is_running(pid)] == []
            assert (outcome.error.kind if outcome.error else None) == (
                ErrorKind.CRASHED if then == "crash" else None
            )

    within_limit(scenario())


def test_a_cancelled_execution_leaves_nothing(tmp_path: Path) -> None:
    """Who cancels the call gets its CancelledError after the tree is gone."""

    async def scenario() -> None:
        async with bench(tmp_path) as it:
            started = asyncio.Event()
            strays: list[str] = []

            def on_event(event: object) -> None:
                if isinstance(event, ProgressEvent) and event.message:
                    strays.append(event.message)
                    started.set()

            run = asyncio.create_task(it.run("spawn-strays", then="hang", on_event=on_event))
            await started.wait()
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run
            pids = [int(pid) for pid in strays[0].split()] + it.spawner.pids
            assert [pid for pid in pids if is_running(pid)] == []
            assert it.is_tidy

    within_limit(scenario())


def test_many_runs_leak_nothing(tmp_path: Path) -> None:
    """A thousand runs on one warm child: no descriptor, task or folder more."""

    async def scenario() -> None:
        async with bench(tmp_path, max_runs=10_000) as it:
            for _ in range(3):  # what is kept open for later runs is open then
                await it.run("noop")
            descriptors, tasks = open_descriptors(), len(asyncio.all_tasks())
            for _ in range(1000):
                assert (await it.run("noop")).code is ResultCode.SUCCESS
            assert len(it.spawner.pids) == 1
            assert open_descriptors() == descriptors
            assert len(asyncio.all_tasks()) == tasks
            assert it.is_tidy

    before = open_descriptors()
    within_limit(scenario())
    assert open_descriptors() == before


def test_a_copy_that_a_handler_forked_does_not_end_the_run(tmp_path: Path) -> None:
    """Both return; only the run's own process has a receipt."""

    async def scenario() -> None:
        async with bench(tmp_path) as it:
            assert (await it.run("fork-and-return")).value == {"is_copy": False}
            assert (await it.run("fork-and-return")).value == {"is_copy": False}

    within_limit(scenario())


def test_children_end_with_an_agent_that_was_killed(tmp_path: Path) -> None:
    """SIGKILL leaves no time for anything: the kernel ends the child."""
    program = f"""
import asyncio, sys
sys.path.insert(0, {str(Path(__file__).parents[3])!r})
from pathlib import Path
from tests.unit.executor.bench import bench
async def main():
    async with bench(Path({str(tmp_path)!r})) as it:
        tell = lambda event: print(*it.spawner.pids, flush=True)
        await it.run("deaf", on_event=tell)
asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as agent:
        assert agent.stdout is not None
        pid = int(agent.stdout.readline())
        assert is_running(pid)
        descriptor = os.pidfd_open(pid)
        agent.kill()
    try:
        assert select.select([descriptor], [], [], 20)[0] == [descriptor]
    finally:
        os.close(descriptor)


def test_runs_go_on_side_by_side(tmp_path: Path) -> None:
    """Several runs at once have a child each."""

    async def scenario() -> None:
        async with bench(tmp_path, concurrency=3) as it:
            outcomes = await asyncio.gather(*(it.run("identity") for _ in range(3)))
            assert len({outcome.value["pid"] for outcome in outcomes}) == 3

    within_limit(scenario())


def test_every_outcome_has_its_bill(tmp_path: Path) -> None:
    """Usage comes with successes and crashes alike; a crash may hide a peak of RAM, and says so."""

    async def scenario() -> None:
        async with bench(tmp_path) as it:
            for type_ in ("noop", "noop", "kill-self"):
                usage = (await it.run(type_)).usage
                assert usage.complete == ("ram_peak_bytes" not in usage.reasons)
                assert usage.complete or type_ == "kill-self"
                assert usage.cpu_s is not None
                assert usage.wall_s is not None
                assert usage.ram_peak_bytes is not None

    within_limit(scenario())

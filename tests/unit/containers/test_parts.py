"""Orders, owners, leftovers and figures of containers, each by itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from handlers.containers.arguments import mount
from handlers.containers.consumption import ContainerMeter, Groups, find_groups, read_groups
from handlers.containers.engine import find_engine
from handlers.containers.leftovers import Leftover, remove_leftovers
from handlers.containers.order import check_variables, choose_command, choose_image, read_limits
from handlers.containers.owner import Owner, agent_of, is_dead, labels, this_process
from tests.unit.containers.conftest import FakeEngine, context, run
from worker import Fail

MIB = 1 << 20


def test_image_and_command_come_from_the_task_or_its_parameters() -> None:
    """The fields of the API's tasks and parameters are two ways to say it; a contradiction is refused."""
    assert choose_image("a", None) == choose_image(None, "a") == choose_image("a", "a") == "a"
    with pytest.raises(Fail, match="field says 'a', its parameter 'b'; give one"):
        choose_image("a", "b")
    for nothing in (None, "", 7, ["a"]):
        with pytest.raises(Fail, match="the task must name one"):
            choose_image(nothing, None)
    assert choose_command(None, None) == []
    assert choose_command("echo 'a b' $HOME;", None) == ["echo", "a b", "$HOME;"]
    assert choose_command(None, ["echo", "a b"]) == ["echo", "a b"]
    with pytest.raises(Fail, match="give one of them"):
        choose_command("a", ["a"])
    for bad in ("a 'b", ["a", 1], {"a": 1}, ["a\0"]):
        with pytest.raises(Fail, match="cmd"):
            choose_command(bad, None)


def test_the_fields_of_a_task_are_used(engine: FakeEngine, tmp_path: Path) -> None:
    """As the API's own tasks have them."""
    ctx = context(tmp_path, task={"image": "acme/render", "cmd": "render --all"})
    ctx.parameters.pop("image")
    run(ctx)
    assert engine.calls("create")[0][-2:] == ["render", "--all"]


@pytest.mark.parametrize(
    ("env", "secrets"),
    [({"A B": ""}, {}), ({"": ""}, {}), ({"A=B": ""}, {}), ({"A": "\0"}, {}), ({"MILLHAND_TREE": "x"}, {}),
     ({"NVIDIA_VISIBLE_DEVICES": "all"}, {}), ({}, {"../x": ""}), ({}, {"a/b": ""}),
     ({}, {".x": ""}), ({}, {"": ""})],
)  # fmt: skip
def test_variables_and_secrets_have_plain_names(env: dict[str, str], secrets: dict[str, str]) -> None:
    """None leaves its folder, gets at other GPUs, or changes whose the run is."""
    with pytest.raises(Fail):
        check_variables(env, secrets)
    check_variables({"A_1": "x=y"}, {"db.password": "x"})


def test_variables_together_are_bounded() -> None:
    """Each may fit and all of them not: the mark of the run's tree must be found beside them."""
    check_variables({"A": "x" * 100_000, "B": "x" * 100_000}, {})
    with pytest.raises(Fail, match="together have 300012 bytes, 262144 are allowed; give a file as an input"):
        check_variables({name * 2: "x" * 100_000 for name in "ABC"}, {})


def test_the_mark_of_the_tree_comes_before_what_a_task_sets(engine: FakeEngine, tmp_path: Path) -> None:
    """Whoever looks for it reads from the front."""
    run(context(tmp_path, {"env": {"AAA": "x"}}))
    names = [one.split("=")[1] for one in engine.calls("create")[0] if one.startswith("--env=")]
    assert names.index("MILLHAND_TREE") < names.index("AAA")


def test_limits_are_read_and_bounded() -> None:
    """The run's own limit is the most."""
    assert read_limits(None, None, 5, None) == (None, None, 5)
    assert read_limits(0.5, "1.5GiB", 5, None).memory_bytes == 1536 * MIB
    assert read_limits(1, "1GB", 5, None).memory_bytes == 10**9
    assert read_limits(1, 512 * MIB, 5, 64 * MIB).memory_bytes == 64 * MIB
    assert read_limits(1, None, 5, 64 * MIB).memory_bytes == 64 * MIB
    bad: list[tuple[float, int | str | None, int]] = [
        (0, None, 1), (-1, None, 1), (float("nan"), None, 1), (1, "much", 1), (1, "-5M", 1), (1, 1000, 1),
        (1, None, 0), (1, None, 10**9),
    ]  # fmt: skip
    for cpus, memory, pids in bad:
        with pytest.raises(Fail, match=r"must be|at least"):
            read_limits(cpus, memory, pids, None)


def test_a_path_with_a_comma_is_one_field() -> None:
    """Docker reads mounts as CSV: a comma would begin another option."""
    assert mount(Path('/a,readonly=false"b'), "/x", True) == (
        'type=bind,"source=/a,readonly=false""b",target=/x,readonly'
    )


def test_an_owner_is_dead_only_where_that_is_proven() -> None:
    """Another boot, or no such process any more; of another namespace nothing is known."""
    here = this_process()
    assert Owner.read(str(here)) == here
    assert not is_dead(here, here)
    assert is_dead(here._replace(boot="other"), here)
    assert is_dead(here._replace(started_ticks=here.started_ticks + 1), here)  # the pid is another's by now
    assert not is_dead(here._replace(namespace="pid:[1]", pid=1 << 22), here)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert is_dead(here._replace(pid=ended.pid), here)
    for text in ("", "a b c", "a b x 1", "a b 1 2 3", "a b -1 2"):
        assert Owner.read(text) is None


def listed(engine: FakeEngine, found: dict[str, str], **more: Any) -> None:
    """Have an engine list one container with labels."""
    engine.says("ps", out="0123456789ab\n")
    engine.says(
        "container inspect",
        out=json.dumps([{"Id": "0123456789ab", "Name": "/millhand-r", "Config": {"Labels": found}, **more}]),
    )


def test_only_leftovers_of_this_agent_are_removed(engine: FakeEngine) -> None:
    """Of its own agent and of a dead owner: everything else stays, whatever its labels say."""
    found = find_engine(None, os.environ)
    here = this_process()
    dead = here._replace(pid=os.getppid(), started_ticks=1)
    living = here._replace(pid=os.getppid(), started_ticks=started(os.getppid()))
    ours = {"MILLHAND_TREE": "agent-of-test/older-child"}
    kept: list[dict[str, str]] = [
        labels("r", ours, living),
        labels("r", {"MILLHAND_TREE": "other/child"}, dead),
        {**labels("r", ours, dead), "millhand.owner": "?"},
        {"millhand.owner": str(dead)},
        {},
    ]
    for one in kept:
        listed(engine, one)
        assert remove_leftovers(found, os.environ) == []
    assert engine.calls("rm") == []
    listed(engine, labels("r", ours, dead))
    assert remove_leftovers(found, os.environ) == [("0123456789ab", "r", None)]
    listed(
        engine, labels("r2", ours, here), Name="millhand-r2"
    )  # an earlier run of this very process, podman
    assert remove_leftovers(found, os.environ) == [("0123456789ab", "r2", None)]
    assert [argv[-1] for argv in engine.calls("rm")] == ["0123456789ab"] * 2
    assert engine.calls("ps")[0][-1] == "--filter=label=millhand.agent=agent-of-test"


def test_a_leftover_that_somebody_else_removes_is_fine(engine: FakeEngine) -> None:
    """Two children of an agent look at once."""
    dead = this_process()._replace(boot="before")
    listed(engine, labels("r", os.environ, dead))
    engine.says("rm", code=1, err="Error: No such container: 0123456789ab\n")
    assert remove_leftovers(find_engine(None, os.environ), os.environ) == [("0123456789ab", "r", None)]


@pytest.mark.parametrize("name", ["/theirs", "/millhand-r2", "", None])
def test_labels_alone_are_no_proof(engine: FakeEngine, name: str | None) -> None:
    """An image brings labels of its own: only a container that has our name, too, is ours."""
    listed(engine, labels("r", os.environ, this_process()._replace(boot="before")), Name=name)
    assert remove_leftovers(find_engine(None, os.environ), os.environ) == []
    assert engine.calls("rm") == []


def test_a_leftover_that_cannot_be_removed_hinders_no_run(engine: FakeEngine) -> None:
    """It is told, each by itself; the others go."""
    listed(engine, labels("r", os.environ, this_process()._replace(boot="before")))
    engine.says("ps", out="0123456789ab\nba9876543210\n")
    engine.says("rm", code=1, err="Error: unable to remove filesystem: device or resource busy\n")
    left = remove_leftovers(find_engine(None, os.environ), os.environ)
    assert [(one.id, one.run) for one in left] == [("0123456789ab", "r"), ("ba9876543210", "r")]
    assert all("device or resource busy" in str(one.problem) for one in left)
    engine.says("container inspect", out="<html>")
    left = remove_leftovers(find_engine(None, os.environ), os.environ)
    assert all("no JSON" in str(one.problem) for one in left)
    assert len(left) == 2


def test_a_stuck_leftover_is_a_warning_of_the_run(
    engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run itself ends as it does."""
    stuck = [Leftover("0123456789ab", "older", "busy"), Leftover("ba9876543210", "oldest", None)]
    monkeypatch.setattr("handlers.container.remove_leftovers", lambda *_: stuck)
    ctx = context(tmp_path)
    assert run(ctx)["exitCode"] == 0
    warnings = [fields for level, _, fields in ctx.told.logs if level == "warning"]
    assert warnings == [
        {"run": "older", "container": "0123456789ab", "error": "busy"},
        {"run": "oldest"},
    ]


def test_an_owner_that_proc_hides_is_alive_while_the_kernel_knows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With hidepid another user's processes are not in /proc; EPERM of a signal proves that it lives."""
    here = this_process()
    assert not is_dead(here, here, tmp_path)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert is_dead(here._replace(pid=ended.pid), here, tmp_path)
    assert is_dead(here._replace(pid=10**30), here, tmp_path)

    def refused(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", refused)
    assert not is_dead(here._replace(pid=ended.pid), here, tmp_path)
    monkeypatch.setattr(Path, "read_text", refused)
    assert not is_dead(here, here)


def started(pid: int) -> int:
    """Return when a process was started."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


def write(folder: Path, files: dict[str, str]) -> None:
    """Write files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)


V2 = {
    "cpu.stat": "usage_usec 3500000\nuser_usec 3000000\nsystem_usec 500000\n",
    "memory.stat": "anon 1000\nfile 99999\nshmem 24\n",
    "memory.events": "low 0\noom 1\noom_kill 2\n",
    "cgroup.procs": "40\n30\n",
}


def test_figures_of_cgroup_v2(tmp_path: Path) -> None:
    """The group is found by the container's id, wherever a driver puts it; page cache is no memory."""
    (tmp_path / "cgroup.controllers").touch()
    group = tmp_path / "system.slice" / f"docker-{'a' * 64}.scope"
    write(tmp_path / "machine.slice" / f"libpod-conmon-{'a' * 64}.scope", V2)
    write(group, V2)
    found = find_groups("a" * 64, tmp_path)
    assert found == Groups(2, group, group)
    assert read_groups(found) == (3.0, 0.5, 1024, 2)
    assert found.method == "container_cgroup_v2"
    assert find_groups("b" * 64, tmp_path) is None


def test_processes_in_a_child_group_are_the_containers(tmp_path: Path) -> None:
    """As crun does it on cgroup v2: its figures are the group's, its processes below it."""
    (tmp_path / "cgroup.controllers").touch()
    group = tmp_path / "machine.slice" / f"libpod-{'a' * 64}.scope"
    write(group, {**V2, "cgroup.procs": ""})
    write(group / "container", {**V2, "cgroup.procs": "0\n50\n45\n"})
    write(group / "container" / "init.scope", {**V2, "cgroup.procs": "44\n"})
    meter = ContainerMeter("a" * 64, find=lambda name: find_groups(name, tmp_path))
    assert meter.pid() is None
    assert meter.look()
    assert meter.groups == Groups(2, group, group)
    assert meter.pid() == 44


def test_figures_of_cgroup_v1(tmp_path: Path) -> None:
    """The total is exact, and its parts add up to it."""
    cpu, memory = (tmp_path / name / "docker" / ("a" * 64) for name in ("cpuacct", "memory"))
    write(cpu, {"cpuacct.usage": "3500000000\n", "cpuacct.stat": "user 300\nsystem 40\n"})
    write(memory, {"memory.stat": "cache 5\ntotal_rss 1000\ntotal_shmem 24\n",
                   "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"})  # fmt: skip
    found = find_groups("a" * 64, tmp_path)
    assert found is not None
    look = read_groups(found)
    assert look is not None
    assert look.cpu_user_s + look.cpu_system_s == pytest.approx(3.5)
    assert look[2:] == (1024, 1)


def test_a_meter_looks_when_it_is_due_and_never_counts_down(tmp_path: Path) -> None:
    """A group that went leaves what was seen last."""
    write(tmp_path, V2)
    now = [0.0]
    meter = ContainerMeter("x", mono=lambda: now[0], find=lambda _: Groups(2, tmp_path, tmp_path))
    assert meter.look()
    assert not meter.look()
    assert meter.pid() == 30
    write(
        tmp_path, {"cpu.stat": "user_usec 2000000\nsystem_usec 600000\n", "memory.stat": "anon 5\nshmem 0\n"}
    )
    now[0] = 1.0
    assert meter.look()
    assert (meter.cpu_user_s, meter.cpu_system_s) == (3.0, 0.5)
    assert (meter.peak_bytes, meter.held_bytes, meter.oom_kills) == (1024, 5, 2)
    (tmp_path / "cpu.stat").unlink()
    now[0] = 2.0
    assert not meter.look()
    assert meter.cpu_user_s == 3.0


def test_runs_without_an_agent_look_after_each_other() -> None:
    """`millhand run` has no id that outlives it; an agent's is its own."""
    assert (
        agent_of({"MILLHAND_TREE": "local-1/a"}) == agent_of({"MILLHAND_TREE": "local-2/b"}) == agent_of({})
    )
    assert agent_of({"MILLHAND_TREE": "agent-1/a"}) == "agent-1"

"""Where groups can be made, told from recorded machines: v1, v2, both, containers, junk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.unit.machine.recorded import V2_MOUNT, record
from worker.minder.groups import Groups, find_places
from worker.minder.unified import AGENT_GROUP, prepare

MEMORY_AND_PIDS = frozenset({"memory", "pids"})


def v1_mount(controllers: str, within: str = "/") -> str:
    """Return the line of a v1 hierarchy."""
    return f"32 31 0:29 {within} /sys/fs/cgroup/{controllers} rw,relatime - cgroup cgroup rw,{controllers}\n"


def test_each_controller_is_found_in_its_own_v1_hierarchy(tmp_path: Path) -> None:
    """Memory and pids are two places; without a v2 mount there is no third."""
    record(
        tmp_path,
        {
            "proc/self/cgroup": "4:memory:/a\n8:pids:/b\n",
            "proc/self/mountinfo": v1_mount("memory") + v1_mount("pids"),
            "sys/fs/cgroup/memory/a/cgroup.procs": "",
            "sys/fs/cgroup/pids/b/cgroup.procs": "",
        },
    )
    places, reasons = find_places(str(tmp_path))
    top = f"{tmp_path}/sys/fs/cgroup"
    assert reasons == []
    assert places == [
        (1, [f"{top}/memory/a", f"{top}/memory"], frozenset({"memory"})),
        (1, [f"{top}/pids/b", f"{top}/pids"], frozenset({"pids"})),
    ]


def test_controllers_that_share_a_hierarchy_share_a_place(tmp_path: Path) -> None:
    """One folder carries both limits."""
    record(
        tmp_path,
        {
            "proc/self/cgroup": "4:memory,pids:/\n",
            "proc/self/mountinfo": v1_mount("memory,pids"),
            "sys/fs/cgroup/memory,pids/cgroup.procs": "",
        },
    )
    places, reasons = find_places(str(tmp_path))
    assert (reasons, places) == ([], [(1, [f"{tmp_path}/sys/fs/cgroup/memory,pids"], MEMORY_AND_PIDS)])


def test_hybrid_hosts_have_limits_in_v1_and_the_kill_in_v2(tmp_path: Path) -> None:
    """The unified hierarchy without controllers is a place too."""
    record(
        tmp_path,
        {
            "proc/self/cgroup": "4:memory:/\n0::/x\n",
            "proc/self/mountinfo": v1_mount("memory") + V2_MOUNT.replace("/cgroup ", "/cgroup/unified "),
            "sys/fs/cgroup/memory/cgroup.procs": "",
            "sys/fs/cgroup/unified/x/cgroup.procs": "",
        },
    )
    places, reasons = find_places(str(tmp_path))
    assert reasons == []
    assert [(version, sorted(controllers)) for version, _, controllers in places] == [
        (1, ["memory"]),
        (2, ["pids"]),
    ]


def test_a_v1_container_that_is_told_the_hosts_path_uses_the_mounts_root(tmp_path: Path) -> None:
    """/proc/self/cgroup names /docker/<id>, which does not exist below the container's mount."""
    record(
        tmp_path,
        {
            "proc/self/cgroup": "4:memory:/docker/0123\n8:pids:/docker/0123\n",
            "proc/self/mountinfo": v1_mount("memory", "/docker/0123") + v1_mount("pids", "/docker/0123"),
            "sys/fs/cgroup/memory/cgroup.procs": "",
            "sys/fs/cgroup/pids/cgroup.procs": "",
        },
    )
    places, reasons = find_places(str(tmp_path))
    top = f"{tmp_path}/sys/fs/cgroup"
    assert reasons == []
    assert [folders for _, folders, _ in places] == [[f"{top}/memory"], [f"{top}/pids"]]


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"proc/self/cgroup": "", "proc/self/mountinfo": ""},
        {"proc/self/cgroup": "junk\n\x00:::\n0:\n", "proc/self/mountinfo": "a b - cgroup2\n - - -\n"},
        {"proc/self/cgroup": "0::/../..\n", "proc/self/mountinfo": V2_MOUNT},
        {"proc/self/cgroup": "0::/gone\n", "proc/self/mountinfo": V2_MOUNT},
        {"proc/self/cgroup": "4:memory:/\n", "proc/self/mountinfo": v1_mount("memory", "/../..")},
    ],
    ids=["no-proc", "empty", "junk", "outside", "nothing-mounted", "above-the-namespace"],
)
def test_machines_without_usable_groups_give_a_reason_and_no_error(
    tmp_path: Path, files: dict[str, str]
) -> None:
    """Whatever the files say, opening answers; runs then go without groups."""
    groups = Groups.open("agent", str(record(tmp_path, files)))
    assert groups.controllers == frozenset()
    assert groups.reason
    group = groups.make(1)
    assert group.join_files == []
    assert group.limit(1 << 30, None) is False
    assert group.limit(None, 5) is False
    assert group.limit(None, None) is True
    assert (group.memory_bytes(), group.oom_kills(), group.kill(), group.pids()) == (None, None, False, [])
    group.remove()
    groups.close()


def v2_machine(root: Path, *, path: str = "/svc", pids: str = "", **own: str) -> str:
    """Record a v2 machine with our own group at `path`."""
    folder = f"sys/fs/cgroup{path}"
    controllers = {"cgroup.controllers": "cpu memory pids\n", "cgroup.subtree_control": "\n"}
    return str(
        record(
            root,
            {
                "proc/self/cgroup": f"0::{path}\n",
                "proc/self/mountinfo": V2_MOUNT,
                f"{folder}/cgroup.type": "domain\n",
                f"{folder}/cgroup.procs": pids,
                **{f"{folder}/{name}": text for name, text in {**controllers, **own}.items()},
            },
        )
    )


def test_strangers_in_the_own_group_are_not_moved(tmp_path: Path) -> None:
    """In a login session the shell and others live beside the agent: nothing is changed, and it is said."""
    stranger = next(pid for pid in (1, 2) if pid != os.getppid())
    groups = Groups.open("agent", v2_machine(tmp_path, pids=f"{os.getpid()}\n{stranger}\n"))
    assert "has processes of others (1)" in groups.reason
    assert "Delegate=yes" in groups.reason
    assert groups.controllers == frozenset()
    assert not (tmp_path / "sys/fs/cgroup/svc" / AGENT_GROUP).exists()
    groups.close()


def test_the_agent_and_what_belongs_to_it_are_no_strangers(tmp_path: Path) -> None:
    """Parent, self and nobody else: then the group may be arranged."""
    pids = f"{os.getpid()}\n{os.getppid()}\n"
    groups = Groups.open("agent", v2_machine(tmp_path, pids=pids))
    assert "could not be moved" in groups.reason  # a recorded group has no files below it
    assert (tmp_path / "sys/fs/cgroup/svc" / AGENT_GROUP).exists()
    groups.close()


def test_controllers_that_the_parent_keeps_are_named(tmp_path: Path) -> None:
    """Delegation of some controllers only: the rest is said to be missing."""
    root = v2_machine(tmp_path, **{"cgroup.controllers": "cpu\n", "cgroup.subtree_control": "cpu\n"})
    own = f"{root}/sys/fs/cgroup/svc"
    assert prepare([own], MEMORY_AND_PIDS) == (
        own,
        frozenset(),
        f"{own} is not given memory, pids by the group above it",
    )


def test_a_group_that_passes_controllers_on_already_is_left_as_it_is(tmp_path: Path) -> None:
    """The second agent of a container finds everything done, and starts beside the first one's group."""
    root = v2_machine(tmp_path, path=f"/svc/{AGENT_GROUP}", pids="1\n")
    own = tmp_path / "sys/fs/cgroup/svc"
    record(own, {"cgroup.controllers": "memory pids\n", "cgroup.subtree_control": "memory pids\n"})
    folders = [f"{own}/{AGENT_GROUP}", str(own), f"{root}/sys/fs/cgroup"]
    assert prepare(folders, MEMORY_AND_PIDS) == (str(own), MEMORY_AND_PIDS, "")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody who may not write")
def test_a_group_of_somebody_else_gives_a_reason(open_path: Path) -> None:
    """Without the right to write: the reason names the folder and the user."""
    root = v2_machine(open_path, pids="1\n")
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setresuid(65534, 65534, 65534)
            os.write(writing, Groups.open("agent", root).reason.encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, encoding="utf-8") as pipe:  # noqa: PTH123 - a descriptor
        reason = pipe.read()
    os.waitpid(pid, 0)
    assert "may not be written by user 65534" in reason

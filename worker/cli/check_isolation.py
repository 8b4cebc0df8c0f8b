"""Checks of isolation: what keeps handlers from the token and from each other here, and what ends them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from worker.cli.checks import Check, fail, ok, warn
from worker.config import AgentConfig
from worker.minder import landlock

__all__ = ["check_isolation"]

ROOT: Final = Path("/")
LIMIT_S: Final = 30.0  # for two processes to start and end, on a machine that swaps
FEW_PROCESSES: Final = 256  # a handler with a few pools and threads has more

# An orphan must become the child of the subreaper above it, not of init.
ORPHANED: Final = """
import os, sys
sys.path.insert(0, sys.argv[1])
from worker.minder.birth import become_subreaper
become_subreaper()
reading, writing = os.pipe()
if os.fork() == 0:
    if os.fork() == 0:
        os.close(reading)
        os.read(0, 1)
        os.write(writing, str(os.getppid()).encode())
    os._exit(0)
os.wait()
os.close(writing)
os.write(int(sys.argv[2]), b"x")
print(int(os.read(reading, 16) or 0) == os.getpid())
"""


def check_isolation(config: AgentConfig, root: Path = ROOT) -> list[Check]:
    """Look at everything that confines handlers, or ends them."""
    return [
        check_minder(),
        check_groups(config, root),
        check_processes(config, root),
        check_landlock(config, landlock.abi()),
        check_privileges(config),
        check_task_user(config),
        check_reach(config),
        check_process_privacy(root),
        check_cores(root),
        check_namespaces(root),
    ]


def check_minder() -> Check:
    """Try whether an orphan of an orphan comes to the minder, so that nothing of a tree escapes it."""
    home = str(Path(__file__).resolve().parents[2])
    reading, writing = os.pipe()
    try:
        ran = subprocess.run(
            [sys.executable, "-I", "-S", "-c", ORPHANED, home, str(writing)],
            stdin=reading, pass_fds=[writing], capture_output=True, text=True, timeout=LIMIT_S, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as exc:
        return fail("minder", f"it cannot be started: {exc}", "look at limits of processes and memory")
    finally:
        os.close(reading)
        os.close(writing)
    if ran.stdout.strip() == "True":
        return ok("minder", "orphans of handlers come to it, and are ended with their run")
    said = (ran.stderr.strip().splitlines() or ["orphans go to another process"])[-1]
    return fail("minder", said, "a kernel or filter without PR_SET_CHILD_SUBREAPER: use another one")


def check_groups(config: AgentConfig, root: Path) -> Check:
    """Look what of the control groups can be written: limits that the kernel holds, and kills at once."""
    from worker.minder.groups import find_places

    places, reasons = find_places(str(root))
    if not places:
        said = f"none ({'; '.join(reasons)}): limits of memory are not known"
        return warn("control groups", said, "mount /sys/fs/cgroup")
    versions = " and ".join(f"v{version}" for version in sorted({version for version, _, _ in places}))
    writable = [place for place in places if may_make_groups(place[1][0])]
    if config.cgroups == "off":
        return ok("control groups", f"{versions}, not used (cgroups is off): the minder holds the limits")
    if not writable:
        said = "read only: usage is measured by the process tree, and the minder holds the limits"
        return ok("control groups", f"{versions}, {said}")
    held = sorted({name for _, _, names in writable for name in names})
    kills = any(version == 2 and can_kill(Path(folders[0])) for version, folders, _ in writable)
    ended = "killed at once (cgroup.kill)" if kills else "no cgroup.kill: ended process by process"
    return ok("control groups", f"{versions}, a group for each run: {limits_said(held)}; {ended}")


def can_kill(folder: Path) -> bool:
    """Tell whether groups below a folder can be killed; the first of all has no such file itself."""
    below = (path / "cgroup.kill" for path in folder.iterdir() if path.is_dir())
    return (folder / "cgroup.kill").exists() or any(path.exists() for path in below)


def may_make_groups(folder: str) -> bool:
    """Tell whether a group can be made below a folder, and joined."""
    return os.access(folder, os.W_OK | os.X_OK) and os.access(f"{folder}/cgroup.procs", os.W_OK)


def limits_said(controllers: list[str]) -> str:
    """Say what the kernel holds."""
    names = {"memory": "memory", "pids": "number of processes"}
    held = [names[name] for name in controllers if name in names]
    return f"the kernel limits {' and '.join(held)}" if held else "without limits of the kernel"


def check_processes(config: AgentConfig, root: Path) -> Check:
    """Look how many processes there may be: a handler that forks without end takes them all."""
    from worker.machine.hierarchy import NoCgroup, find_hierarchy

    try:
        folders = find_hierarchy("pids", root).folders
    except NoCgroup:
        folders = ()
    limits = [limit for folder in folders for limit in number_in(folder / "pids.max")]
    if limits and min(limits) < FEW_PROCESSES:
        return warn(
            "processes", f"at most {min(limits)} for agent and handlers", "raise the limit of processes"
        )
    if config.cgroups != "off" and folders and may_make_groups(str(folders[0])):
        return ok("processes", f"at most {min([config.max_processes, *limits])} in a run")
    if limits:
        return ok("processes", f"at most {min(limits)} for agent and handlers together")
    return warn(
        "processes",
        "nothing bounds their number: a handler that forks without end takes the machine with it",
        "set a limit around the agent: podPidsLimit (kubelet), --pids-limit (docker), TasksMax= (systemd)",
    )


def number_in(path: Path) -> list[int]:
    """Return the number that a file holds; nothing where it is none ("max")."""
    text = text_of(path)
    return [int(text)] if text.isdecimal() else []


def check_landlock(config: AgentConfig, abi: int) -> Check:
    """Look what Landlock can do here, and whether it is used."""
    if abi < landlock.MIN_ABI:
        said = "not offered by this kernel or container" if not abi else f"only version {abi}: not used"
        if "landlock" in config.hardening:
            return fail("landlock", said, landlock.TODO)
        return ok("landlock", said)
    lacks = [
        *(["cutting hidden files (3)"] if abi < 3 else []),
        *(["signals and abstract sockets (6)"] if abi < 6 else []),
    ]
    missing = f"; it does not hold back {' and '.join(lacks)}" if lacks else ""
    used = "used" if "landlock" in config.hardening else "not used"
    return ok("landlock", f"version {abi}, {used}{missing}")


def check_privileges(config: AgentConfig) -> Check:
    """Look whether handlers could gain privileges by programs such as sudo."""
    if "none" in config.hardening:
        return warn(
            "no_new_privs",
            "off: handlers can use set-user-ID programs such as sudo",
            "leave hardening at its default",
        )
    return ok("no_new_privs", "on: no set-user-ID program gives handlers more than they have")


def check_task_user(config: AgentConfig) -> Check:
    """Look whether handlers run as another user, or could."""
    from worker.agent.isolation import task_user_of
    from worker.agent.task_user import missing_capabilities

    if config.task_user is not None:
        try:
            user = task_user_of(config)
        except ValueError as exc:
            return fail("task user", str(exc).removeprefix("task_user: "), "mend it, or leave task_user out")
        return ok("task user", f"{user.name} ({user.uid}), home {user.home}")
    if missing := missing_capabilities():
        return ok("task user", f"none, and this user could not change to one: it lacks {', '.join(missing)}")
    return ok("task user", "none; this user may change to one: --task-user")


def check_reach(config: AgentConfig) -> Check:
    """Say whether the token is out of reach of handlers."""
    if config.task_user is not None:
        return ok("token's reach", f"out of reach of handlers: they run as {config.task_user}")
    is_root = os.geteuid() == 0
    if "landlock" in config.hardening and landlock.abi() >= landlock.MIN_ABI:
        if is_root:
            return warn(
                "token's reach",
                "hidden from handlers by landlock; but root finds ways around it sooner or later",
                "run the agent as another user, or handlers: --task-user",
            )
        return ok("token's reach", "hidden from handlers by landlock")
    hidden = " (and looks into the agent's memory, as root)" if is_root else ""
    return warn(
        "token's reach",
        f"a handler reads what this user reads, the token's file too{hidden}",
        reach_todo(config),
    )


def reach_todo(config: AgentConfig) -> str:
    """Say what would keep handlers from the token, of what works here."""
    from worker.agent.task_user import missing_capabilities

    ways = []
    if not missing_capabilities():
        ways.append("--task-user NAME")
    if landlock.abi() >= landlock.MIN_ABI:
        ways.append("--hardening landlock")
    return " or ".join(ways) or "start the agent as root with --task-user NAME, if handlers are not trusted"


def check_process_privacy(root: Path) -> Check:
    """Look how far processes of one user can look into each other."""
    scope = text_of(root / "proc/sys/kernel/yama/ptrace_scope")
    said = {
        "0": "ptrace_scope 0: processes of one user can look into each other",
        "1": "ptrace_scope 1: only into processes below",
        "2": "ptrace_scope 2: root only",
        "3": "ptrace_scope 3: nobody",
    }.get(scope, "no Yama: processes of one user can look into each other")
    option = next((part for part in proc_options(root) if part.startswith("hidepid=")), "hidepid=0")
    listed = "are hidden" if option not in {"hidepid=0", "hidepid=off"} else "can be listed"
    closed = "the agent closes its own process"
    return ok("process privacy", f"{said}; {closed}; others' processes {listed} ({option})")


def proc_options(root: Path) -> Iterator[str]:
    """Yield the mount options of /proc."""
    for line in text_of(root / "proc/self/mountinfo").splitlines():
        left, _, right = line.partition(" - ")
        if left.split(" ")[4:5] == ["/proc"]:
            yield from right.split(" ")[-1].split(",")


def check_cores(root: Path) -> Check:
    """Look where crashes leave memory: the agent's and handlers' never does."""
    pattern = text_of(root / "proc/sys/kernel/core_pattern")
    where = "to a program" if pattern.startswith("|") else f"to files named {pattern!r}"
    return ok("core dumps", f"off for agent and handlers; others' go {where}" if pattern else "off")


def check_namespaces(root: Path) -> Check:
    """Look whether handlers can make namespaces: browsers' sandboxes need them, attackers like them."""
    switches = {
        "proc/sys/user/max_user_namespaces": "0",
        "proc/sys/kernel/unprivileged_userns_clone": "0",
        "proc/sys/kernel/apparmor_restrict_unprivileged_userns": "1",
    }
    off = [path for path, closed in switches.items() if text_of(root / path) == closed]
    if off:
        return ok("user namespaces", f"closed to handlers by {off[0].rpartition('/')[2]}")
    return ok(
        "user namespaces", "open: browsers' own sandboxes work; a larger part of the kernel is in reach"
    )


def text_of(path: Path) -> str:
    """Return a short file's text; nothing where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""

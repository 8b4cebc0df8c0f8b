"""The parts of a support bundle: each a text, and where one cannot be had, the reason in its place."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, Final

from worker.cli.agent_here import AgentHere
from worker.cli.agent_settings import AGENT_SETTINGS
from worker.cli.api_settings import API_SETTINGS
from worker.cli.settings import LOG_SETTINGS
from worker.cli.terminal import jsonable
from worker.redaction import Redactor

__all__ = ["Part", "gathered", "journal_part", "limits", "log_part", "settings_part", "versions"]

LOG_BYTES_MAX: Final = 2 << 20  # of a log, its end
JOURNALCTL_S: Final = 20.0
ENTRIES_MAX: Final = 1000
CGROUP_FILES: Final = (
    "memory.max", "memory.high", "memory.current", "memory.events", "memory.pressure", "cpu.max", "cpu.stat",
    "cpu.pressure", "pids.max", "pids.current",
)  # fmt: skip
Part = Callable[[], str]


def gathered(name: str, part: Part, redactor: Redactor) -> tuple[str, bytes]:
    """Return the name and the content of a part, without secrets; a part that fails says why."""
    try:
        content = part()
    except Exception as exc:  # noqa: BLE001 - the rest is worth having
        name, content = f"{name}.failed", f"{type(exc).__name__}: {exc}\n"
    return name, cleaned(content.encode("utf-8", "replace"), redactor)


def cleaned(content: bytes, redactor: Redactor) -> bytes:
    """Return a text without secrets, line by line: what is made to be slow to search costs its line alone."""
    stream = redactor.stream()
    return b"".join([*map(stream.feed, content.splitlines(keepends=True)), stream.finish()])


def as_json(value: Any) -> str:
    """Return a document that a person can read."""
    return json.dumps(value, indent=2, ensure_ascii=False, default=jsonable) + "\n"


def settings_part(given: Mapping[str, Any], source_of: Callable[[str], Any], redactor: Redactor) -> str:
    """Return every setting of an agent with where it comes from; of secrets, only whether they are set."""
    said = {}
    for setting in API_SETTINGS + AGENT_SETTINGS + LOG_SETTINGS:
        value, source = given.get(setting.name), source_of(setting.name)
        shown = ("set" if value else None) if setting.is_secret else redactor.value(plain(value))
        said[setting.name] = {"value": shown, "from": source.name.lower() if source else None}
    return as_json(said)


def plain(value: Any) -> Any:
    """Return a value of the command line as JSON has it."""
    return json.loads(json.dumps(value, default=jsonable))


def journal_part(folder: Path, redactor: Redactor) -> str:
    """Return what is open, without results."""
    from worker.reporting.export import summary
    from worker.reporting.onlook import look

    seen = look(folder / "journal")
    entries = sorted(seen.entries.values(), key=lambda entry: entry.started_at)
    return as_json({
        "entries": len(entries), "damaged": seen.damaged, "torn": seen.torn, "setAside": seen.set_aside,
        "oldest": [redactor.value(summary(entry)) for entry in entries[:ENTRIES_MAX]],
    })  # fmt: skip


def log_part(file: Path | None, lines: int, agent: AgentHere) -> str:
    """Return the last lines of the log: of a file, else of the system's journal."""
    if file is not None:
        return last_lines(end_of(file), lines)
    pid = agent.pid
    for match in (["-u", "millhand-*"], [f"_PID={pid}"] if pid else []):
        if match and (said := journalctl(*match, lines=lines)).strip():
            return said
    raise LookupError("no log of millhand in the system's journal; name a file by --log")


def end_of(file: Path) -> str:
    """Return the end of a file, from the beginning of a line: a secret that the cut halves is not found."""
    with file.open("rb") as opened:
        cut = max(0, opened.seek(0, os.SEEK_END) - LOG_BYTES_MAX)
        opened.seek(cut)
        content = opened.read(LOG_BYTES_MAX)
    if cut:
        content = content.partition(b"\n")[2]
    return content.decode("utf-8", "replace")


def last_lines(text: str, lines: int) -> str:
    """Return the last lines of a text."""
    return "".join(text.splitlines(keepends=True)[-lines:])


def journalctl(*match: str, lines: int) -> str:
    """Return what the system's journal has; nothing where there is no such program."""
    if (program := shutil.which("journalctl")) is None:
        return ""
    command = [program, "--no-pager", "--quiet", "-o", "short-iso-precise", "-n", str(lines), *match]
    ran = subprocess.run(
        command, capture_output=True, timeout=JOURNALCTL_S, check=False, stdin=subprocess.DEVNULL
    )
    return ran.stdout[-LOG_BYTES_MAX:].decode("utf-8", "replace")


def versions() -> str:
    """Return what is installed, and on what it runs."""
    packages = sorted({f"{one.name} {one.version}" for one in distributions()}, key=str.lower)
    release = read(Path("/etc/os-release")) or ""
    return as_json({
        "python": sys.version, "executable": sys.executable, "platform": platform.platform(),
        "system": release.splitlines(), "uid": os.getuid(), "packages": packages,
    })  # fmt: skip


def limits(folder: Path, pid: int | None) -> str:
    """Return the limits of the agent's process and control group, and the room in its folder."""
    place = Path("/proc") / str(pid or "self")
    said: dict[str, Any] = {"pid": pid, "limits": (read(place / "limits") or "").splitlines()}
    said["controlGroups"] = dict(groups(read(place / "cgroup") or ""))
    try:
        disk = shutil.disk_usage(folder)
        said["stateFolder"] = {
            "path": folder, "totalBytes": disk.total, "freeBytes": disk.free,
            "files": {path.name: path.lstat().st_size for path in sorted(folder.iterdir())},
        }  # fmt: skip
    except OSError as exc:
        said["stateFolder"] = {"path": folder, "problem": str(exc)}
    return as_json(said)


def groups(lines: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the files of the control group on cgroup v2; of v1 only its name."""
    for line in lines.splitlines():
        controllers, _, name = line.partition(":")[2].partition(":")
        folder = Path("/sys/fs/cgroup") / name.lstrip("/")
        found = {} if controllers else {file: read(folder / file) for file in CGROUP_FILES}
        yield line, {file: text.strip() for file, text in found.items() if text}


def read(path: Path) -> str | None:
    """Return a small file of the system; None where it cannot be read."""
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return None

"""What strace saw, read: was a report durable before its first byte left? Pure.

Lines are those of `strace -f -ttt -yy -s N -e trace=…`: `PID TIME CALL(ARGUMENTS) = RESULT`. A call that
others interrupt stands in two lines, `… <unfinished ...>` and `<... CALL resumed>…`; it has begun with the
first and returned with the second.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from msgspec import Struct

__all__ = ["Call", "calls_in", "undurable_sends"]

SENDING: Final = frozenset({"write", "writev", "sendto", "sendmsg", "sendmmsg", "sendfile", "send"})
WRITING: Final = frozenset({"pwrite64", "pwritev", "pwritev2", "write", "writev"})
SOCKETS: Final = ("TCP", "socket:")
SYNCING: Final = frozenset({"fdatasync", "fsync"})
LINE: Final = re.compile(r"^(?P<pid>\d+) +(?:\d+\.\d+ +)?(?P<rest>.*)$")
RESUMED: Final = re.compile(r"^<\.\.\. (?P<name>\w+) resumed>(?P<rest>.*)$")
NAMED: Final = re.compile(r"^(?P<name>\w+)\((?P<rest>.*)$")
RESULT: Final = re.compile(r" = (?P<result>-?\d+|\?)(?: .*)?$")
FILE: Final = re.compile(r"^\d+<(?P<path>[^>]*)>")


class Call(Struct, frozen=True):
    """One call of the kernel that has returned; lines are counted from 0."""

    name: str
    text: str  # its arguments and its result
    began: int  # the line
    returned: int
    result: int | None

    @property
    def path(self) -> str:
        """What its first descriptor is."""
        found = FILE.match(self.text)
        return found["path"] if found else ""

    @property
    def is_done(self) -> bool:
        """Tell whether it succeeded."""
        return self.result is not None and self.result >= 0


def calls_in(lines: Iterable[str]) -> Iterator[Call]:
    """Return the calls in the order in which they returned; what never did is left out."""
    open_: dict[str, tuple[str, str, int]] = {}  # by process: name, text so far, line
    for number, line in enumerate(lines):
        if (told := LINE.match(line.rstrip("\n"))) is None:
            continue
        pid, rest, began = told["pid"], told["rest"], number
        if resumed := RESUMED.match(rest):
            name, text, began = open_.pop(pid, (resumed["name"], "", number))
            text += resumed["rest"]
        elif named := NAMED.match(rest):
            name, text = named["name"], named["rest"]
            if text.endswith("<unfinished ...>"):
                open_[pid] = (name, text.removesuffix("<unfinished ...>"), number)
                continue
        else:
            continue
        yield Call(name, text, began, number, result_of(text))


def result_of(text: str) -> int | None:
    """Return what a call returned."""
    found = RESULT.search(text)
    return int(found["result"]) if found and found["result"] != "?" else None


def undurable_sends(lines: Iterable[str], journal: str, run_id: str) -> list[str]:
    """Tell what of a run's terminal report left before it was durable; empty where all is as promised.

    Durable: a write into a file below `journal` that holds the run's id and `stoppedAt` has returned, and a
    sync of that file that began afterwards has returned too. Sent: the first call on a socket has begun that
    holds the head of the `PUT` whose body, then or later, holds `stoppedAt`.
    """
    written: dict[str, int] = {}  # by path: the line where the report's write returned
    heads: dict[str, Call] = {}  # by socket: its last PUT of this run
    synced: list[int] = []
    sent: list[int] = []
    for call in sorted(calls_in(lines), key=lambda call: call.began):
        if is_below(call.path, journal):
            if call.name in WRITING and call.is_done and run_id in call.text and "stoppedAt" in call.text:
                written.setdefault(call.path, call.returned)
            elif call.name in SYNCING and call.is_done and call.began > written.get(call.path, call.began):
                synced.append(call.returned)
        elif call.name in SENDING and call.path.startswith(SOCKETS):
            if f"PUT /api/jobs/runs/{run_id} " in call.text:
                heads[call.path] = call
            if "stoppedAt" in call.text and call.path in heads:
                sent.append(heads[call.path].began)
    return violations(bool(written), min(synced, default=None), min(sent, default=None))


def violations(is_written: bool, synced: int | None, sent: int | None) -> list[str]:
    """Compare the lines of the first sync and of the first send."""
    if sent is None:
        return ["the report was never sent"]
    if not is_written:
        return ["the report was sent, and never written into the journal"]
    if synced is None:
        return ["the report was sent, and the journal was never synced after it was written"]
    if synced >= sent:
        return [f"the report was sent in line {sent}, and the sync returned in line {synced}"]
    return []


def is_below(path: str, folder: str) -> bool:
    """Tell whether a path lies in a folder."""
    return path.startswith(folder.rstrip("/") + "/")

"""Serve one agent: start children, hold their limits, end their trees, tell what happened."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time

from worker.minder.birth import give_birth
from worker.minder.child import NEVER_S, Child, adopted
from worker.minder.ending import Ending
from worker.minder.freezing import freeze_tree, thaw_tree
from worker.minder.guard import Pool, TreeMemory, look_again_s, measure_tree
from worker.minder.kin import Trees, marked
from worker.minder.orphans import Orphans
from worker.minder.trees import WANT
from worker.minder.wire import pack, receive, send

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from worker.minder.groups import Groups

__all__ = ["Minder"]

WANT_PAUSE_S = 0.05
RELIEF_S = 5.0  # what a killed tree holds comes free, unless it hangs
LONGEST_WAIT_S = 10.0  # poll's clock stands still while the machine sleeps; a deadline's does not


class Minder:
    """The state of this process. Times are seconds of CLOCK_BOOTTIME, which counts a sleeping machine too."""

    def __init__(self, sock: socket.socket, groups: Groups | None, pool: Pool) -> None:
        """Take the socket to the agent, where groups can be made, and the memory that all share."""
        self._socket = sock
        self._groups = groups
        self._pool = pool
        self._children: dict[int, Child] = {}
        self._unsent: list[bytes] = []
        self._is_alone = False  # the agent is gone
        self._memory_at_s = NEVER_S
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        self._orphans = Orphans(self._poll)

    def serve(self) -> None:
        """Serve until the agent is gone and nothing of its children is left."""
        while self._children or not self._is_alone:
            ready = dict(self._poll.poll(self._wait_ms()))
            if not self._is_alone and self._socket.fileno() in ready:
                self._talk(ready[self._socket.fileno()])
            for child in list(self._children.values()):
                if child.pid_fd in ready:
                    self._note_death(child)
            self._orphans.hear(ready)
            try:
                self._look_after_all()
            except OSError as exc:
                if exc.errno not in WANT:
                    raise
                time.sleep(WANT_PAUSE_S)  # what could not be looked at is looked at again

    def _look_after_all(self) -> None:
        self._watch_deadlines()
        self._watch_memory()
        self._go_on_ending()
        self._orphans.reap(now_s(), self._marks())

    def _wait_ms(self) -> int | None:
        """Return how long nothing is to be done unless somebody speaks or dies; None: for ever."""
        due_s = min(self._memory_at_s, self._orphans.due_s)
        for child in self._children.values():
            due_s = min(due_s, child.due_s())
        wait_s = min(LONGEST_WAIT_S, max(0.0, due_s - now_s()))
        return None if due_s == NEVER_S else int(wait_s * 1000 + 0.999)

    def _talk(self, events: int) -> None:
        if events & select.POLLOUT:
            self._send_unsent()
        if events & ~select.POLLOUT:
            self._listen()

    def _listen(self) -> None:
        try:
            came = receive(self._socket)
        except BlockingIOError:
            return
        except OSError:
            came = None
        if came is None:
            self._go_alone()
            return
        order, descriptors = came
        try:
            self._obey(order, descriptors)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _go_alone(self) -> None:
        """Kill everything: without the agent nothing may go on."""
        self._is_alone = True
        self._poll.unregister(self._socket)
        for child in self._children.values():
            self._begin_end(child)

    def _obey(self, order: dict[str, Any], descriptors: list[int]) -> None:
        if order["do"] == "spawn":
            self._spawn(order, descriptors)
            return
        if order["do"] == "ping":
            self._tell({"told": "pong"})
            return
        child = self._children.get(order["id"])
        if child is None:
            return  # it was reaped while the order was under way
        if order["do"] == "guard":
            self._guard(child, order["deadline_s"], order["memory_bytes"], order["freeze_s"])
        elif order["do"] == "signal":
            with contextlib.suppress(PermissionError):  # it became another user's
                os.kill(child.pid, order["number"])  # not reaped, so the pid is nobody else's
        elif order["do"] == "end":
            self._begin_end(child)

    def _spawn(self, order: dict[str, Any], descriptors: list[int]) -> None:
        group = None
        try:
            if self._groups is not None:
                group = self._groups.make(order["id"])
                group.limit(None, order.get("processes"))
            mark = os.urandom(16).hex()
            pid = give_birth(
                {**order, "env": marked(order["env"], mark)}, descriptors, group.join_files if group else ()
            )
            child = adopted(order["id"], pid, group, mark)
        except OSError as exc:
            if group is not None:
                group.remove()
            self._tell({"told": "refused", "id": order["id"], "error": str(exc)})
            return
        self._children[child.id] = child
        self._poll.register(child.pid_fd, select.POLLIN)
        self._memory_at_s = now_s()
        self._tell({
            "told": "spawned", "id": child.id, "pid": pid,
            "memory": group and group.memory_place, "cpu": group and group.cpu_place,
        })  # fmt: skip

    def _guard(
        self, child: Child, deadline_s: float | None, memory_bytes: int | None, freeze_s: float | None
    ) -> None:
        child.deadline_s = NEVER_S if deadline_s is None else deadline_s
        child.freeze_s = NEVER_S if freeze_s is None else freeze_s
        child.thaw_at_s = now_s() if child.has_frozen and now_s() < child.freeze_s else NEVER_S
        if memory_bytes != child.memory_bytes and child.group is not None:
            child.group.limit(memory_bytes, None)
        child.memory_bytes = memory_bytes
        self._memory_at_s = now_s()

    def _note_death(self, child: Child) -> None:
        self._poll.unregister(child.pid_fd)
        child.is_dead = True
        if child.ending is None:
            self._tell({"told": "died", "id": child.id})
        else:
            child.look_at_s = now_s()

    def _watch_deadlines(self) -> None:
        now = now_s()
        for child in self._children.values():
            if child.ending is None and child.is_dead and now >= child.deadline_s:
                self._begin_end(child)  # it ended before: what is left below it is what the time is over for
            elif child.ending is None and now >= child.deadline_s:
                self._overrun(child, "deadline")
            elif child.ending is None and now >= child.thaw_at_s:
                self._thaw(child)
            elif child.ending is None and not child.is_frozen and now >= child.freeze_s:
                freeze_tree(child.pid, self._marks(), child.frozen)
                child.is_frozen = True
                self._tell({"told": "frozen", "id": child.id})

    def _thaw(self, child: Child) -> None:
        thaw_tree(child.frozen)
        child.thaw_at_s = NEVER_S
        if child.is_frozen:
            child.is_frozen = False
            self._tell({"told": "thawed", "id": child.id})

    def _watch_memory(self) -> None:
        """Kill who passed its limit; and where all together are about to pass theirs, the biggest."""
        if now_s() < self._memory_at_s:
            return
        began_s, trees = now_s(), Trees(self._marks())
        guarded = [one for one in self._children.values() if one.ending is None and not one.is_dead]
        headrooms = [self._check_memory(child, trees) for child in guarded if child.memory_bytes is not None]
        if guarded and (left_bytes := self._pool.headroom_bytes()) is not None:
            headrooms.append(left_bytes)
            if left_bytes + self._relief_bytes() <= 0:
                self._kill_biggest(guarded, trees)
        again_s = look_again_s(min(headrooms)) if headrooms else NEVER_S
        self._memory_at_s = now_s() + max(again_s, now_s() - began_s)  # half of a core is enough for it

    def _check_memory(self, child: Child, trees: Trees) -> int:
        """Return how much a child may still take; kill it where that is nothing."""
        limit_bytes = child.memory_bytes or 0
        if child.new_oom_kills():  # a part of a run is no run: what the kernel began is done
            self._overrun(child, "kernel", None, limit_bytes)
            return limit_bytes
        in_group = child.group.memory_bytes() if child.group is not None else None
        if in_group is not None and in_group <= limit_bytes:
            return limit_bytes - in_group
        seen = measure_tree(trees.of(child.pid), limit_bytes)
        if seen.used_bytes > limit_bytes:
            self._overrun(child, "memory", seen, limit_bytes)
        return limit_bytes - seen.used_bytes

    def _kill_biggest(self, children: list[Child], trees: Trees) -> None:
        sized = [(measure_tree(trees.of(one.pid), 0), one) for one in children if one.ending is None]
        if sized:
            seen, child = max(sized, key=lambda pair: pair[0].used_bytes)
            self._overrun(child, "pool", seen, self._pool.limit_bytes)

    def _relief_bytes(self) -> int:
        """Return what comes free as soon as those are gone who were killed for their memory just now."""
        after_s = now_s() - RELIEF_S
        return sum(one.relief_bytes for one in self._children.values() if one.overrun_at_s > after_s)

    def _overrun(
        self, child: Child, why: str, seen: TreeMemory | None = None, limit_bytes: int | None = None
    ) -> None:
        facts = seen.facts() if seen is not None else {}
        child.overrun_at_s = now_s()
        child.relief_bytes = seen.used_bytes if seen is not None else 0
        self._tell({"told": "overrun", "id": child.id, "why": why, "limit_bytes": limit_bytes, **facts})
        self._begin_end(child)

    def _begin_end(self, child: Child) -> None:
        if child.ending is None:
            child.ending = Ending(child.pid, child.kill_group)
            child.look_at_s = now_s()

    def _go_on_ending(self) -> None:
        for child in list(self._children.values()):
            while child.ending is not None and now_s() >= child.look_at_s:
                pause_s = child.ending.step(is_dead=child.is_dead, marks=self._marks())
                if pause_s is None:
                    self._bury(child)
                    break
                child.look_at_s = now_s() + pause_s
                if pause_s:
                    break

    def _marks(self) -> dict[int, str]:
        """Return the pids of all children, each with its mark."""
        return {child.pid: child.mark for child in self._children.values()}

    def _bury(self, child: Child) -> None:
        """Reap a child of whose tree nothing is left."""
        _, status, rusage = os.wait4(child.pid, 0)
        os.close(child.pid_fd)
        del self._children[child.id]
        counts = child.counts()
        if child.group is not None:
            child.group.remove()
        self._tell({
            "told": "ended",
            "id": child.id,
            "status": status,
            "rusage": [
                rusage.ru_utime, rusage.ru_stime, rusage.ru_maxrss, rusage.ru_inblock, rusage.ru_oublock
            ],
            **counts,
        })  # fmt: skip

    def _tell(self, message: dict[str, Any]) -> None:
        if not self._is_alone:
            self._unsent.append(pack(message))
            self._send_unsent()

    def _send_unsent(self) -> None:
        try:
            while self._unsent:
                send(self._socket, self._unsent[0])
                del self._unsent[0]
        except BlockingIOError:
            self._poll.modify(self._socket, select.POLLIN | select.POLLOUT)
            return
        except OSError:
            pass  # it is gone, which reading tells
        self._poll.modify(self._socket, select.POLLIN)


def now_s() -> float:
    """Return the time since boot, sleep included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)

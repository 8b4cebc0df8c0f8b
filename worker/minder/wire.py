"""What agent and minder say to each other: one packet of JSON a message, with descriptors where needed.

From the agent (`do`):
    spawn   id, argv, env, wish (`worker.minder.confine`), processes (bound of the tree; null: none);
            with three descriptors: the child's channel, stdout, stderr
    guard   id, deadline_s, freeze_s (times of CLOCK_BOOTTIME; null: none), memory_bytes (null: none):
            limits from now on; a tree is frozen from `freeze_s` on until a later one comes
    signal  id, number: to the child alone
    end     id: kill the whole tree, then reap
    ping    nothing more: is anybody there?
To the agent (`told`):
    spawned    id, pid, memory and cpu (version and folder of the control group that counts it; or null)
    refused    id, error: the child could not be started
    died       id: the child ended by itself; its tree stands until `end`
    overrun    id, why ("deadline"; "memory": of the run; "pool": of the container; "kernel": it killed a
               process of the run), limit_bytes, and for memory and pool used_bytes, pid, pid_bytes, name
               (of who held most): a limit was passed, the tree is being killed
    frozen     id: the tree stands still, since its `freeze_s` has come
    thawed     id: it goes on
    ended      id, status, rusage (user s, system s, ru_maxrss KiB, blocks of 512 bytes read and written),
               oom_kills, peak_bytes and cpu_s (all, and system alone) of its group (null: not known):
               nothing of the tree is left
    pong       nothing more: all that was ordered before the ping is done
"""

from __future__ import annotations

import errno
import json
import socket
import struct
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

__all__ = ["MAX_PACKET_BYTES", "pack", "receive", "send"]

MAX_PACKET_BYTES = 192 * 1024  # what one packet can have with the usual limits of sockets' buffers
MAX_DESCRIPTORS = 3
PASSING = frozenset({errno.ENOBUFS, errno.ENOMEM, errno.ETOOMANYREFS})  # of the machine, not of the line
PASSING_PAUSE_S = 0.01
INT_BYTES = struct.calcsize("i")


def pack(message: dict[str, Any]) -> bytes:
    """Return a message as a packet.

    Raises:
        OSError: it is too large; an environment may be.
    """
    packet = json.dumps(message, separators=(",", ":")).encode()
    if len(packet) > MAX_PACKET_BYTES:
        raise OSError(
            f"the order has {len(packet)} bytes, more than {MAX_PACKET_BYTES}: its environment is too large"
        )
    return packet


def send(sock: socket.socket, packet: bytes, descriptors: Sequence[int] = ()) -> None:
    """Send a packet without blocking.

    Raises:
        BlockingIOError: there is no room now, or the kernel has no memory for it.
        OSError: nobody is there.
    """
    rights = []
    if descriptors:
        packed = struct.pack(f"{len(descriptors)}i", *descriptors)
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, packed)]
    try:
        sock.sendmsg([packet], rights, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
    except OSError as exc:
        if exc.errno not in PASSING:
            raise
        time.sleep(PASSING_PAUSE_S)  # the socket is writable, so that whoever waits for that comes at once
        raise BlockingIOError(exc.errno, exc.strerror) from exc


def receive(sock: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """Return the next message with its descriptors; None where the other side is gone.

    Raises:
        BlockingIOError: there is none now.
    """
    room = socket.CMSG_SPACE(MAX_DESCRIPTORS * INT_BYTES)
    flags = socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC
    try:
        packet, rights, _, _ = sock.recvmsg(MAX_PACKET_BYTES, room, flags)
    except ConnectionResetError:
        return None
    if not packet:
        return None
    descriptors: list[int] = []
    for level, kind, packed in rights:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            count = len(packed) // INT_BYTES
            descriptors += struct.unpack(f"{count}i", packed[: count * INT_BYTES])
    return json.loads(packet), descriptors

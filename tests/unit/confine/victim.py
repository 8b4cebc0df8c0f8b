"""A process that holds a token as an agent does, and starts a thief as a minder does.

Run as ``python -I victim.py --token <token> <json>`` with the token in MILLHAND_TOKEN too; prints what the
thief printed. The real parts are the agent's own: `worker.agent.own_secrets`, `worker.minder.confine`,
and the control socket's look at who comes.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any


def serve_secret(address: str, token: bytes, is_let_in: Callable[[socket.socket], bool]) -> None:
    """Give the token to whoever connects and is let in."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()

    def answer() -> None:
        while True:
            connection, _ = listener.accept()
            if is_let_in(connection):
                connection.send(token)
            connection.close()

    threading.Thread(target=answer, daemon=True).start()


def is_operator(connection: socket.socket) -> bool:
    """Tell whether the agent takes orders of who is at the other end."""
    from worker.agent.operators.control.peers import peer_of, refusal

    return refusal(peer_of(connection), os.geteuid(), os.getpid()) is None


def steal(scene: dict[str, Any], token: bytes) -> int:
    """Start the thief, confined as the scene says; return its wait status."""
    from worker.minder.confine import confine

    told = {**scene["target"], "pid": os.getpid(), "socket": f"millhand-test-{os.getpid()}"}
    if scene["is_talkative"]:
        serve_secret("\0" + told["socket"], token, lambda _: True)
        serve_secret(str(Path(told["state"]) / "control.sock"), token, is_operator)
        (Path(told["state"]) / "control.sock").chmod(0o600)
    pid = os.fork()
    if pid == 0:
        try:
            confine(scene["wish"])
            command = [sys.executable, "-I", "-S", scene["thief"], json.dumps(told)]
            os.execve(command[0], command, {"PATH": os.environ["PATH"]})  # noqa: S606 - as the minder
        except OSError as exc:
            os.write(1, json.dumps({"error": str(exc)}).encode())
        finally:
            os._exit(1)
    return os.waitpid(pid, 0)[1]


def main() -> int:
    """Play the scene."""
    scene = json.loads(sys.argv[3])
    sys.path[:0] = scene["path"]
    token = Path(scene["target"]["token_file"]).read_bytes().strip()
    os.chdir(Path(scene["target"]["token_file"]).parent)
    held = os.open(scene["target"]["token_file"], os.O_RDONLY | os.O_CLOEXEC)
    if scene["is_guarded"]:
        from worker.agent.own_secrets import keep_to_itself, wipe_settings

        keep_to_itself()
        wipe_settings(["MILLHAND_TOKEN"], ["--token"])
    status = steal(scene, token)
    os.close(held)
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main())

"""The agent that works on this machine: found by its state directory, and asked by its socket."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from msgspec import Struct

from worker.cli import paths
from worker.cli.agent_settings import AGENT_SETTINGS
from worker.cli.exits import CliError, ExitCode
from worker.cli.setting import with_settings

__all__ = ["AgentHere", "agent_here", "agent_setting"]

F = TypeVar("F", bound=Callable[..., Any])

LIMIT_S: Final = 10.0
ANSWER_BYTES_MAX: Final = 4 << 20
CHUNK_BYTES: Final = 64 << 10
SOCKETS: Final = Path("/proc/net/unix")
ITS_USER: Final = "run it as the agent's user, or as root"


class AgentHere(Struct, frozen=True):
    """A running agent, by its state directory."""

    folder: Path

    def ask(self, do: str, **given: Any) -> dict[str, Any]:
        """Give one order, and return the answer.

        Raises: CliError where nobody answers, or the agent refuses.
        """
        order = json.dumps({"do": do, **given}).encode() + b"\n"
        try:
            answer = self._answer(order)
        except (FileNotFoundError, ConnectionRefusedError) as exc:
            raise self._away() from exc
        except PermissionError as exc:
            raise CliError(
                f"the agent of {self.folder} is another user's", ITS_USER, code=ExitCode.CONFIGURATION
            ) from exc
        except TimeoutError as exc:
            raise self._stuck() from exc
        except (OSError, ValueError) as exc:
            said = f"the agent of {self.folder} gave no answer: {exc}"
            raise CliError(said, "try again; its log says more", code=ExitCode.UNREACHABLE) from exc
        if error := answer.get("error"):
            raise CliError(str(error), code=ExitCode.REFUSED)
        return answer

    def _answer(self, order: bytes) -> dict[str, Any]:
        from worker.agent.operators.control.place import connected

        with connected(self.folder, LIMIT_S) as connection:
            connection.sendall(order)
            said = b"".join(chunks(connection.recv))
        if not said:
            raise ValueError("it ended the connection; it ends, or has as many others as it may")
        answer = json.loads(said)
        if not isinstance(answer, dict):
            raise ValueError("it is none that this version knows")
        return answer

    def _away(self) -> CliError:
        pid = self.pid
        if pid is None:
            said, todo = f"no agent works in {self.folder}", "name its state folder by --state-dir"
        else:
            said = f"the agent of {self.folder} (pid {pid}) does not listen for orders"
            todo = "it starts or ends at this moment, or is older; its log says more"
        return CliError(said, todo, code=ExitCode.UNREACHABLE)

    def _stuck(self) -> CliError:
        pid = self.pid or "PID"
        return CliError(
            f"the agent of {self.folder} (pid {pid}) did not answer within {LIMIT_S:.0f} s",
            f"kill -USR1 {pid} writes into its log what it is at",
            code=ExitCode.UNREACHABLE,
        )

    @property
    def pid(self) -> int | None:
        """Return who uses the state directory, where the system tells."""
        from worker.agent.statedir import user_of

        return user_of(self.folder)


def chunks(receive: Callable[[int], bytes]) -> Iterator[bytes]:
    """Yield what comes until the end.

    Raises: ValueError where it is too much.
    """
    size_bytes = 0
    while chunk := receive(CHUNK_BYTES):
        size_bytes += len(chunk)
        if size_bytes > ANSWER_BYTES_MAX:
            raise ValueError(f"it is longer than {ANSWER_BYTES_MAX} bytes")
        yield chunk


def agent_setting(function: F) -> F:
    """Give a command the setting of the agent's state folder, as `state_dir`; None where it is not set."""
    settings = tuple(setting for setting in AGENT_SETTINGS if setting.name == "state_dir")
    return with_settings("Agent", settings, given_folder, "state_dir")(function)


def given_folder(given: Mapping[str, Any]) -> Path | None:
    """Return the state folder as it was set."""
    folder = given["state_dir"]
    return folder if folder is None else Path(folder)


def agent_here(state_dir: Path | None) -> AgentHere:
    """Return the agent that is meant: of the folder that was set, else the only one that answers here.

    Raises: CliError where none does, or several.
    """
    if state_dir is not None:
        return AgentHere(state_dir)
    found = [folder for folder in candidates() if is_answered(folder)]
    if len(found) == 1:
        return AgentHere(found[0])
    if not found:
        raise CliError(
            "no agent answers on this machine",
            f"name its state folder by --state-dir; {ITS_USER}",
            code=ExitCode.UNREACHABLE,
        )
    names = ", ".join(map(str, found))
    raise CliError(f"{len(found)} agents work here: {names}", "name one by --state-dir", code=ExitCode.USAGE)


def candidates() -> list[Path]:
    """Return the folders where an agent may work: the usual ones, and those of sockets that are bound."""
    usual = [paths.agent_state_dir(), paths.up_state_dir() / "agent"]
    return list(dict.fromkeys(Path(os.path.realpath(folder)) for folder in [*usual, *listed()]))


def listed(sockets: Path = SOCKETS) -> Iterator[Path]:
    """Yield the folders of all sockets with our name; those with a very long one are not among them."""
    from worker.agent.operators.control.place import SOCKET_NAME

    try:
        lines = sockets.read_text(errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        path = Path(line.split(maxsplit=7)[-1])
        if path.is_absolute() and path.name == SOCKET_NAME:
            yield path.parent


def is_answered(folder: Path) -> bool:
    """Tell whether somebody listens in a folder, and to us."""
    from worker.agent.operators.control.place import connected

    try:
        connected(folder, LIMIT_S).close()
    except OSError:
        return False
    return True

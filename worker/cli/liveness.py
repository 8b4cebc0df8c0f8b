"""Ask an agent or a server whether it is alive, where its command line says that it listens."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import click

from worker.cli import paths
from worker.cli.agent_here import AgentHere
from worker.cli.exits import CliError
from worker.cli.main import COMMANDS
from worker.cli.up import PORT

__all__ = ["look", "process_1"]

LIMIT_S: Final = 10.0  # of an answer; the image gives the whole check 15 s
FIRST: Final = Path("/proc/1/cmdline")
SERVICES: Final = ("agent", "serve", "up")
ANY: Final = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - where to ask who listens on all
TODO: Final = "its log says more; kill -USR1 PID has it write down what it is at"
NAME_IT: Final = "name it, with its settings: millhand health agent, or millhand health serve"


def process_1(path: Path = FIRST) -> list[str]:
    """Return the arguments of the `millhand` that this container's first process is, or starts.

    Raises: CliError where the first process is something else.
    """
    try:
        arguments = path.read_bytes().decode(errors="replace").removesuffix("\0").split("\0")
    except OSError as exc:
        raise CliError(f"{path} cannot be read: {exc.strerror}", NAME_IT) from exc
    for place, argument in enumerate(arguments):
        if Path(argument).name == "millhand":
            return arguments[place + 1 :]
    raise CliError(f"the first process here is {Path(arguments[0]).name!r}, and not millhand", NAME_IT)


def look(arguments: Sequence[str]) -> list[str]:
    """Ask what a command line of millhand starts; return where it answered.

    Args:
        arguments: those behind `millhand`. What is no service is asked nothing.

    Raises:
        CliError: it gave no answer, or not that it is alive.
        click.ClickException: the settings are wrong.
    """
    name, *rest = [*arguments, ""]
    if name not in SERVICES:
        if name and name not in COMMANDS:
            raise CliError(f"there is no service {name!r}", NAME_IT)
        return []
    given = settings_of(name, rest[:-1])
    if name == "agent":
        return [ask_agent(given)]
    if name == "serve":
        return [ask_server(given)]
    folder = given["folder"] or paths.up_state_dir()
    return [
        ask_page("server", "127.0.0.1", given["port"] or PORT),
        ask_socket(folder / "agent"),
    ]


def settings_of(name: str, arguments: Sequence[str]) -> Mapping[str, Any]:
    """Return the settings that a command takes from arguments, variables and file; nothing of it is run."""
    command: click.Command = import_module(f"worker.cli.{COMMANDS[name].module}").command
    return command.make_context(name, list(arguments)).params


def ask_agent(given: Mapping[str, Any]) -> str:
    """Ask an agent: its page, which it may have, else its socket."""
    if given["http_port"]:
        return ask_page("agent", given["http_host"], given["http_port"])
    return ask_socket(Path(given["state_dir"] or paths.agent_state_dir()))


def ask_socket(folder: Path) -> str:
    """Ask the agent of a state folder."""
    pid = AgentHere(folder).ask("status")["pid"]
    return f"agent of {folder} (pid {pid})"


def ask_server(given: Mapping[str, Any]) -> str:
    """Ask a server: its operators' page, which it may have, else its own port."""
    if given["server_metrics_port"]:
        return ask_page("server", given["server_metrics_host"], given["server_metrics_port"])
    if not given["server_port"]:
        raise CliError(
            "the server took any free port, and nobody here knows which", "give it a --metrics-port"
        )
    return ask_page(
        "server", given["server_host"], given["server_port"], given["server_tls_cert"] is not None
    )


def ask_page(who: str, host: str, port: int, has_tls: bool = False) -> str:
    """Ask for /healthz, on this machine."""
    host = ANY.get(host, host)
    where = f"{'https' if has_tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}/healthz"
    connection = connection_to(host, port, has_tls)
    try:
        connection.request("GET", "/healthz")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as exc:
        raise CliError(
            f"the {who} gave no answer at {where}: {str(exc) or type(exc).__name__}", TODO
        ) from exc
    finally:
        connection.close()
    if status != http.client.OK:
        raise CliError(f"the {who} answered {status} at {where}", TODO)
    return f"{who} at {where}"


def connection_to(host: str, port: int, has_tls: bool) -> http.client.HTTPConnection:
    """Return a connection that is not open yet."""
    if not has_tls:
        return http.client.HTTPConnection(host, port, timeout=LIMIT_S)
    context = ssl.create_default_context()
    context.check_hostname = False  # a certificate names what clients call the server, and not a loopback
    context.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection(host, port, timeout=LIMIT_S, context=context)

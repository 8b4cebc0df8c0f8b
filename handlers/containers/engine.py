"""The container engine of this machine: docker or podman, by its command line; and what its answers mean."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from worker import Fail, Retry

__all__ = ["Engine", "engine_environment", "find_engine", "said"]

NAMES = ("docker", "podman")
ASK_S = 60.0  # a daemon that hangs for so long is told to be, and the run tried again
MAX_SAID_CHARS = 2000
# What an engine's client needs of the worker's environment: where it and its logins are, how to get out.
PASSED_ON = frozenset({
    "HOME", "LANG", "PATH", "TMPDIR", "USER", "XDG_RUNTIME_DIR", "MILLHAND_TREE",
    "CONTAINERS_CONF", "CONTAINERS_STORAGE_CONF", "DOCKER_CONFIG", "DOCKER_HOST", "REGISTRY_AUTH_FILE",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
})  # fmt: skip
# Parts of messages, in lower case; of docker, containerd, podman and the libraries below them.
FULL = ("no space left on device", "disk quota exceeded")
DOWN = (
    "cannot connect to the docker daemon",
    "is the docker daemon running",
    "docker.sock: connect: no such",
)
NO_GPUS = {
    "could not select device driver": "install nvidia-container-toolkit on this machine, and restart docker",
    "unresolvable cdi devices": (
        "install nvidia-container-toolkit on this machine, and describe its GPUs to the engine, again after "
        "each change of them: nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml"
    ),
}
FORBIDDEN = ("permission denied while trying to connect", "got permission denied")


class Engine(NamedTuple):
    """An engine that answers."""

    path: str
    is_podman: bool
    environment: Mapping[str, str]

    @property
    def name(self) -> str:
        """What people call it."""
        return "podman" if self.is_podman else "docker"

    @property
    def is_rootless(self) -> bool:
        """Tell whether it is a podman of this user alone."""
        return self.is_podman and os.geteuid() != 0

    def command(self, *arguments: str) -> list[str]:
        """Return a command line."""
        return [self.path, *arguments]

    def ask(self, *arguments: str, limit_s: float = ASK_S) -> subprocess.CompletedProcess[str]:
        """Ask it something that takes a moment; whether it succeeded, the caller sees.

        Raises:
            Retry: it does not answer in time.
            Fail: it cannot be started.
        """
        try:
            return subprocess.run(
                self.command(*arguments),
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=limit_s,
                check=False,
            )
        except subprocess.TimeoutExpired as exc:
            raise Retry(f"{self.name} {arguments[0]} gave no answer within {limit_s:g} s") from exc
        except (OSError, ValueError) as exc:
            raise Fail(f"{self.path} could not be started: {exc}") from exc

    def look(self, kind: str, name: str) -> dict[str, Any] | None:
        """Return what the engine knows of a container or image; None where it has none of that name.

        Raises:
            Fail, Retry: the engine is not there, does not let the worker in, or answers no JSON.
        """
        answer = self.ask(kind, "inspect", name)
        if answer.returncode != 0:
            error = self.failure(f"look at {kind} {name}", answer.stderr)
            if is_absence(answer.stderr) and "daemon" not in str(error):
                return None
            raise error
        try:
            found = json.loads(answer.stdout)[0]
        except (ValueError, IndexError, TypeError, KeyError) as exc:
            raise Retry(
                f"{self.name} {kind} inspect answered what is no JSON: {said(answer.stdout)}"
            ) from exc
        if not isinstance(found, dict):
            raise Retry(f"{self.name} {kind} inspect answered something else: {said(answer.stdout)}")
        return found

    def failure(self, what: str, stderr: str) -> Fail | Retry:
        """Return the error of a request that failed: what ails the engine, else its own words."""
        text = stderr.lower()
        if any(part in text for part in FORBIDDEN):
            return Fail(
                f"{self.name} does not let the worker (uid {os.geteuid()}) in: {said(stderr)}; its operator "
                "adds the worker's user to the group of its socket, or sets MILLHAND_CONTAINER_ENGINE=podman"
            )
        if any(part in text for part in DOWN):
            return Retry(f"{self.name} is installed, but its daemon does not answer: {said(stderr)}")
        if any(part in text for part in FULL):
            return Retry(f"{self.name} could not {what}, its disk is full: {said(stderr)}")
        for part, advice in NO_GPUS.items():
            if part in text:
                return Fail(f"{self.name} cannot give GPUs to containers here: {said(stderr)}; {advice}")
        return Fail(f"{self.name} could not {what}: {said(stderr)}")


def find_engine(wanted: str | None, environment: Mapping[str, str]) -> Engine:
    """Return the engine that the operator names, or docker or podman, whichever the PATH has.

    Raises:
        Fail: there is none, or it is elsewhere: folders of this machine could not be mounted there.
    """
    names = (wanted,) if wanted else NAMES
    found = [path for name in names if (path := shutil.which(name, path=environment.get("PATH")))]
    paths = [path for path in found if path.startswith("/")]  # never one that lies in a run's folder
    if not paths:
        tried = (
            f"{wanted!r} of MILLHAND_CONTAINER_ENGINE is not" if wanted else "neither docker nor podman is"
        )
        raise Fail(f"there is no container engine on this machine: {tried} on the worker's PATH")
    host = environment.get("DOCKER_HOST", "")
    if host and not host.startswith("unix://"):
        raise Fail(
            f"DOCKER_HOST names an engine of another machine ({host.partition('://')[0]}://…); "
            "inputs and outputs are folders of this one"
        )
    engine = Engine(paths[0], "podman" in Path(paths[0]).name, engine_environment(environment))
    return engine if engine.is_podman else engine._replace(is_podman=is_podman_in_disguise(engine))


def is_podman_in_disguise(engine: Engine) -> bool:
    """Tell whether a program of another name is podman, as the package podman-docker installs it."""
    return "podman" in engine.ask("--version").stdout.lower()


def engine_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what of the worker's environment the engine's client sees."""
    passed_on = {name: value for name, value in environment.items() if name in PASSED_ON}
    return passed_on | {"LC_ALL": "C.UTF-8"}  # its messages are read


def is_absence(stderr: str) -> bool:
    """Tell whether an engine says that it knows no such object."""
    text = stderr.lower()
    return any(part in text for part in ("no such", "not found", "not known", "does not exist in local"))


def said(text: str) -> str:
    """Return what an engine said, for a message."""
    words: Sequence[str] = [line.strip() for line in text.strip().splitlines() if line.strip()]
    return "; ".join(words)[-MAX_SAID_CHARS:] or "it said nothing"

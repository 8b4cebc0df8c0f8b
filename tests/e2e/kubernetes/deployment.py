"""millhand as the chart deploys it, and what is asked of it from the node."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import httpx

__all__ = ["AGENTS", "DRAIN_S", "NAMESPACE", "Deployment", "is_ready", "run"]

HOME: Final = Path(__file__).resolve().parents[3]
CHART: Final = HOME / "deploy" / "kubernetes" / "chart"
NAMESPACE: Final = "millhand"
AGENTS: Final = "statefulset/millhand-agent-cpu"
LIMIT_S: Final = 180.0  # a bound for a hang, not a measure
# What 1.20 does not have yet; `make check-chart` holds the chart to the schemas of 1.25 and newer.
OLDER: Final = {"apiVersion: policy/v1\n": "apiVersion: policy/v1beta1\n"}
DRAIN_S: Final = 20
SMALL: Final = {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "384Mi"}}
HANDLERS: Final = {
    "MILLHAND_HANDLERS": "/opt/handlers/own.py", "MILLHAND_CLOUD": "none", "MILLHAND_REPORT_INTERVAL": 0.2,
    "MILLHAND_POLL_MAX": 1, "MILLHAND_LONG_POLL": 5,
}  # fmt: skip
# The lease is longer than what a start of the server takes here with its probes, and than the waits between
# deliveries after an outage: silence of one that lives is no loss. Of who is killed its next life tells.
VALUES: Final = {
    "image": {"pullPolicy": "Never"},
    "server": {"env": {"MILLHAND_SERVER_LEASE": 60}, "resources": SMALL, "shutdownDelaySeconds": 2},
    "poolDefaults": {
        "concurrency": 2, "drainSeconds": DRAIN_S, "spot": True, "resources": SMALL, "env": HANDLERS,
        # As a policy writes it when a pod is bound; and a label that this node does not have.
        "podAnnotations": {"node/type": "g2-standard-8"},
        "nodeFacts": {"machineType": "metadata.annotations['node/type']", "zone": "metadata.labels['zone']"},
    },
}  # fmt: skip


def run(*command: str, stdin: str | None = None, code: int = 0) -> str:
    """Run a command; return what it prints, its errors too where it is to fail."""
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=LIMIT_S)
    assert done.returncode == code, (command, done.returncode, done.stdout, done.stderr)
    return done.stdout if code == 0 else done.stdout + done.stderr


class Deployment:
    """The release `millhand`, from its first manifest on."""

    def __init__(self, folder: Path) -> None:
        """Values are written into a folder."""
        self._values = folder / "values.json"
        self._values.write_text(json.dumps(VALUES))

    def kubectl(self, *arguments: str, stdin: str | None = None, code: int = 0) -> str:
        """Run kubectl in the namespace."""
        return run("kubectl", "--namespace", NAMESPACE, *arguments, stdin=stdin, code=code)

    def rendered(self, example: str, *arguments: str) -> str:
        """Return what the chart makes of one of its examples, in the words of 1.20."""
        values = (
            "--values",
            str(CHART.parent / "examples" / f"{example}.yaml"),
            "--values",
            str(self._values),
        )
        chart = ("helm", "template", "millhand", str(CHART), "--kube-version", "1.25.0")
        made = run(*chart, "--namespace", NAMESPACE, *values, *arguments)
        for new, old in OLDER.items():
            made = made.replace(new, old)
        return made

    def apply(self, *arguments: str) -> None:
        """Install the example `small`, or bring it to other values, and wait until all is rolled out."""
        self.kubectl("apply", "--filename=-", stdin=self.rendered("small", *arguments))
        for name in ("statefulset/millhand-server", AGENTS):
            self.rolled_out(name)

    def rolled_out(self, name: str) -> None:
        """Wait for a rollout."""
        self.kubectl("rollout", "status", name, f"--timeout={LIMIT_S - 5:g}s")

    def get(self, *what: str) -> Any:
        """Return objects."""
        return json.loads(self.kubectl("get", *what, "--output=json"))

    def url(self, port: int) -> str:
        """Return the address of the server's service."""
        return f"http://{self.get('service', 'millhand-server')['spec']['clusterIP']}:{port}"

    def agents(self) -> dict[str, dict[str, Any]]:
        """Return the pods of the pool, by their names."""
        pods = self.get("pods", "--selector=millhand/pool=cpu")["items"]
        return {pod["metadata"]["name"]: pod for pod in pods}

    def has_agents(self, count: int) -> bool:
        """Tell whether the pool has so many pods."""
        return len(self.agents()) == count

    def status(self, pod: str) -> dict[str, Any]:
        """Return what an agent says of itself on its page."""
        address = self.agents()[pod]["status"]["podIP"]
        return dict(httpx.get(f"http://{address}:9400/status", trust_env=False, timeout=10.0).json())

    def has_failed_polls(self, pod: str) -> bool:
        """Tell whether an agent knows that the server is away."""
        return int(self.status(pod)["server"]["pollsFailed"]) > 1

    def busy(self) -> str:
        """Return an agent that has a run, once there is one."""

        def found() -> str | None:
            ready = (name for name, pod in self.agents().items() if is_ready(pod))
            return next((name for name in ready if self.status(name)["runs"]), None)

        return str(self.wait(found, "an agent with work"))

    def wait(self, condition: Callable[[], Any], what: str) -> Any:
        """Return what a condition gives once it gives something."""
        end_mono = time.monotonic() + LIMIT_S
        while time.monotonic() < end_mono:
            if found := condition():
                return found
            time.sleep(0.2)
        raise AssertionError(f"still not after {LIMIT_S:g} s: {what}\n{self.kubectl('get', 'pods')}")


def is_ready(pod: dict[str, Any]) -> bool:
    """Tell whether a pod is ready, and not on its way out."""
    conditions = {one["type"]: one["status"] for one in pod["status"].get("conditions", [])}
    return conditions.get("Ready") == "True" and "deletionTimestamp" not in pod["metadata"]

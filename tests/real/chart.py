"""Helm, and what it makes of the chart."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from tests.real.engine import HERE

__all__ = ["CHART", "EXAMPLES", "FURTHER", "HOME", "KUBERNETES", "Tools", "pods", "variables"]

HOME: Final = HERE.parents[1]
KUBERNETES: Final = HOME / "deploy" / "kubernetes"
CHART: Final = KUBERNETES / "chart"
EXAMPLES: Final = sorted((KUBERNETES / "examples").glob("*.yaml"))
# What no example has.
FURTHER: Final[dict[str, Any]] = {
    "server": {
        "replicas": 2, "database": {"existingSecret": "db"}, "priorityClassName": "serving",
        "affinity": {"podAntiAffinity": {}},
        "prices": {"existingConfigMap": "prices"},
    },
    "store": {"existingClaim": "files", "subPath": "runs"},
    "pools": [
        {
            "name": "volume", "spreadOver": ["kubernetes.io/hostname"], "podAnnotations": {"team": "a"},
            "secretsFrom": "keys",
        },
        {
            "name": "pod", "state": {"persistent": False},
            "nodeFacts": {"machineType": "metadata.annotations['node/type']"},
        },
        {"name": "job", "keda": {"enabled": True, "kind": "ScaledJob"}, "priorityClassName": "batch"},
    ],
    "serviceMonitor": {"enabled": True},
    "priorityClasses": [
        {"name": "serving", "value": 10},
        {"name": "batch", "value": -10, "preemptionPolicy": "Never", "description": "gives way"},
    ],
}  # fmt: skip


class Tools:
    """Helm and the schemas."""

    def __init__(self, folder: Path) -> None:
        """They lie in a folder."""
        self.folder = folder

    def helm(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run helm."""
        command = [str(self.folder / "helm"), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def rendered(self, *arguments: str) -> str:
        """Return what the chart makes of some values."""
        done = self.helm("template", "millhand", str(CHART), "--namespace", "millhand", *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def objects(self, *arguments: str) -> list[dict[str, Any]]:
        """Return it as objects."""
        script = (
            "import json,sys,yaml; json.dump([o for o in yaml.safe_load_all(sys.stdin) if o], sys.stdout)"
        )
        python = self.folder / "schemas/bin/python"
        done = subprocess.run(
            [python, "-c", script],
            input=self.rendered(*arguments),
            capture_output=True,
            text=True,
            check=True,
        )
        return msgspec.json.decode(done.stdout, type=list[dict[str, Any]])

    def agent(self, *arguments: str) -> dict[str, Any]:
        """Return the variables of the only pool."""
        (pod,) = [pod for name, pod in pods(self.objects(*arguments)) if "-agent-" in name]
        return variables(pod)


def pods(objects: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the pods that objects make, with the names of those."""
    for one in objects:
        about = one.get("spec", {})
        about = about.get("jobTargetRef", about)
        if "template" in about:
            yield one["metadata"]["name"], about["template"]


def variables(pod: dict[str, Any]) -> dict[str, Any]:
    """Return the variables of a pod's container: the value, or where it comes from."""
    (container,) = pod["spec"]["containers"]
    made = [(one["name"], one.get("value", one.get("valueFrom"))) for one in container["env"]]
    assert len(dict(made)) == len(made), "one is set twice"
    return dict(made)

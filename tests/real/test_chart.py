"""The chart for Kubernetes: strict in what it takes, valid on every version from 1.25 on; its manifests."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest

from tests.real.engine import HERE, missing

HOME = HERE.parents[1]
KUBERNETES = HOME / "deploy" / "kubernetes"
CHART = KUBERNETES / "chart"
EXAMPLES = sorted((KUBERNETES / "examples").glob("*.yaml"))
VERSIONS = ("1.25", "1.28", "1.31", "1.34", "1.37")
OTHERS = {"ScaledObject", "ScaledJob", "PodMonitor"}  # not of Kubernetes itself


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

    def container(self, *arguments: str) -> dict[str, Any]:
        """Return the container of the only pool."""
        (found,) = [
            one for one in self.objects(*arguments)
            if one["kind"] in {"StatefulSet", "Deployment"} and "-agent-" in one["metadata"]["name"]
        ]  # fmt: skip
        (container,) = found["spec"]["template"]["spec"]["containers"]
        return dict(container)


@pytest.fixture(scope="module")
def tools() -> Iterator[Tools]:
    """Get them."""
    with TemporaryDirectory(prefix="millhand-chart-") as folder:
        done = subprocess.run(
            [HERE / "chart_tools.sh", folder], capture_output=True, text=True, check=False, timeout=300
        )
        if done.returncode != 0:
            missing(f"no helm, or no schemas: {done.stderr[-1000:]}")
        yield Tools(Path(folder))


def test_helm_finds_nothing_wrong(tools: Tools) -> None:
    """Strictly, with each of the examples."""
    for values in EXAMPLES:
        done = tools.helm("lint", "--strict", str(CHART), "--values", str(values))
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("version", VERSIONS)
def test_everything_is_valid(tools: Tools, tmp_path: Path, version: str) -> None:
    """No field that this version of Kubernetes does not know, none of a wrong kind."""
    for values in EXAMPLES:
        path = tmp_path / values.name
        path.write_text(tools.rendered("--values", str(values), "--kube-version", f"{version}.0"))
        program = tools.folder / "schemas/bin/kubernetes-validate"
        command = [str(program), "-k", version, "--strict", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        said = done.stdout + done.stderr
        assert done.returncode == 0, said
        unknown = [line for line in said.splitlines() if "find schema" in line]
        assert all(any(f"kind {kind} " in line for kind in OTHERS) for line in unknown), said
        assert said.count("passed for resource") >= 3, said


def test_what_scales_is_valid_for_keda(tools: Tools) -> None:
    """Both ways of it, by KEDA's own definitions."""
    for name in ("gpu-spot", "jobs"):
        made = tools.rendered("--values", str(KUBERNETES / "examples" / f"{name}.yaml"))
        done = subprocess.run(
            ["node", "keda.mjs"],
            input=made,
            cwd=tools.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout.strip()) == (0, "1"), done.stderr


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("server.replicas=2", "more than one needs PostgreSQL"),
        ("server.enabled=false", "agent.apiUrl: name the Jobs API"),
        ("pools[0].name=Gpu_Pool", "does not match pattern"),
        ("pools[0].name=a,pools[0].slots=3", "slots"),
        ("pools[0].name=a,pools[0].keda.kind=Cron", "kind"),
        ("image.digest=latest", "digest"),
        ("token.existingSecret=", "existingSecret"),
        ("agent.apiUrl=jobs.example.com", "apiUrl"),
    ],
)
def test_a_wrong_value_is_refused_by_name(tools: Tools, wrong: str, said: str) -> None:
    """Before anything reaches the cluster."""
    done = tools.helm("template", "millhand", str(CHART), "--set", wrong)
    assert done.returncode != 0
    assert said in done.stderr


def test_a_pod_tells_its_agent_what_it_is(tools: Tools) -> None:
    """The zone where the API server copies it into the pod, and nothing that an older one would refuse."""
    env = {one["name"]: one for one in tools.container("--kube-version", "1.30.0")["env"]}
    assert env["MILLHAND_REQUEST_CPU_MILLICORES"]["valueFrom"]["resourceFieldRef"]["divisor"] == "1m"
    assert env["MILLHAND_POD_UID"]["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.uid"
    assert "MILLHAND_ZONE" not in env
    env = {one["name"]: one for one in tools.container("--kube-version", "1.35.0")["env"]}
    assert "topology.kubernetes.io/zone" in env["MILLHAND_ZONE"]["valueFrom"]["fieldRef"]["fieldPath"]


def test_pods_hold_the_restricted_standard(tools: Tools) -> None:
    """Of pod security; and no token of the cluster is in them. Their grace is longer than a drain."""
    for values in EXAMPLES:
        for one in tools.objects("--values", str(values)):
            about = one["spec"].get("jobTargetRef", one["spec"])
            spec = about.get("template", {}).get("spec")
            if spec is None:
                continue
            assert spec["automountServiceAccountToken"] is False
            assert spec["securityContext"]["runAsNonRoot"] is True
            assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
            for container in spec["containers"]:
                security = container["securityContext"]
                assert security["capabilities"] == {"drop": ["ALL"]}
                assert (security["allowPrivilegeEscalation"], security["readOnlyRootFilesystem"]) == (
                    False,
                    True,
                )
                drain = [e["value"] for e in container["env"] if e["name"] == "MILLHAND_DRAIN_TIMEOUT"]
                assert not drain or int(drain[0].rstrip("s")) < spec["terminationGracePeriodSeconds"]


def test_every_setting_that_it_names_exists(tools: Tools) -> None:
    """A variable that nobody reads would be a wish."""
    known = (HOME / "docs" / "settings.md").read_text() + (HOME / "docs" / "facts.md").read_text()
    for values in EXAMPLES:
        for line in tools.rendered("--values", str(values)).splitlines():
            if "name: MILLHAND_" in line:
                assert f"`{line.partition('name: ')[2].strip()}`" in known, line


def test_the_plain_manifests_are_what_the_chart_makes(tools: Tools, tmp_path: Path) -> None:
    """`make manifests` writes them."""
    subprocess.run([HOME / "scripts/manifests.sh", tools.folder / "helm", tmp_path], check=True)
    for path in sorted(tmp_path.iterdir()):
        assert path.read_text() == (KUBERNETES / "manifests" / path.name).read_text(), "make manifests"
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in EXAMPLES}

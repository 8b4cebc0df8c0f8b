"""The chart for Kubernetes: strict in what it takes, valid on every version from 1.25 on; its manifests."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.real.chart import CHART, EXAMPLES, HOME, KUBERNETES, Tools, pods

VERSIONS = ("1.25", "1.28", "1.31", "1.34", "1.37")
OTHERS = {"ScaledObject", "ScaledJob", "PodMonitor", "ServiceMonitor"}  # not of Kubernetes itself


def test_helm_finds_nothing_wrong(tools: Tools) -> None:
    """Strictly, with each of the examples."""
    for values in EXAMPLES:
        done = tools.helm("lint", "--strict", str(CHART), "--values", str(values))
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("version", VERSIONS)
def test_everything_is_valid(tools: Tools, tmp_path: Path, further: Path, version: str) -> None:
    """No field that this version of Kubernetes does not know, none of a wrong kind."""
    for values in (*EXAMPLES, further):
        path = tmp_path / f"{values.stem}.yaml"
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
        ("pools[0].name=a,pools[0].env.MILLHAND_DRAIN_TIMEOUT=1h", "drainSeconds sets it"),
        ("server.env.MILLHAND_SERVER_SHUTDOWN_DELAY=1h", "server.shutdownDelaySeconds sets it"),
        ("server.preStop.hook.exec.command={true}", "server: preStop.seconds must say"),
        ("pools[0].name=a,pools[0].preStop.hook.exec.command={true}", "pools[a]: preStop.seconds must say"),
        ("poolDefaults.preStop.hook.tcpSocket.port=1", "tcpSocket"),
        ("poolDefaults.nodeFacts.machineType=spec.nodeName", "machineType"),
        ("pools[0].name=a,pools[0].nodeSelector.gpu=true", "nodeSelector"),
        ("podMonitor.enabled=true,serviceMonitor.enabled=true", "counted twice"),
        ("store.existingClaim=files,store.subPath=/runs", "subPath"),
        ("store.existingClaim=files,server.env.MILLHAND_SERVER_FILES=/tmp", "store sets it"),
        ("store.existingClaim=files,pools[0].name=a,pools[0].env.MILLHAND_STORE=s3://b/p", "store sets it"),
        (
            "server.prices.existingConfigMap=p,server.env.MILLHAND_SERVER_PRICES=/tmp/p",
            "server.prices sets it",
        ),
        ("priorityClasses[0].name=high,priorityClasses[0].value=2000000000", "value"),
    ],
)
def test_a_wrong_value_is_refused_by_name(tools: Tools, wrong: str, said: str) -> None:
    """Before anything reaches the cluster."""
    done = tools.helm("template", "millhand", str(CHART), "--set", wrong)
    assert done.returncode != 0
    assert said in done.stderr


def test_who_may_reach_what(tools: Tools, further: Path) -> None:
    """The API anybody; the page that asks for no token monitoring and KEDA; agents only monitoring."""
    made = [one for one in tools.objects("--values", str(further)) if one["kind"] == "NetworkPolicy"]
    policies = {one["metadata"]["name"]: one["spec"] for one in made}
    from_ = {
        (name, rule["ports"][0]["port"]): [
            one["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
            for one in rule.get("from", [])
        ]
        for name, spec in policies.items()
        for rule in spec["ingress"]
    }
    assert from_ == {
        ("millhand-agents", "http"): ["monitoring"],
        ("millhand-server", "api"): [],
        ("millhand-server", "metrics"): ["monitoring", "keda"],
    }


def test_an_upgrade_of_the_release_ends_no_job(tools: Tools, further: Path) -> None:
    """KEDA's default ends them, and their runs with them. Replicas stay as long, the last and the others."""
    spot = KUBERNETES / "examples" / "gpu-spot.yaml"
    (jobs,) = [one for one in tools.objects("--values", str(further)) if one["kind"] == "ScaledJob"]
    assert jobs["spec"]["rollout"] == {"strategy": "gradual"}
    (scaled,) = [one for one in tools.objects("--values", str(spot)) if one["kind"] == "ScaledObject"]
    replicas = scaled["spec"]
    behavior = replicas["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert behavior["scaleDown"]["stabilizationWindowSeconds"] == replicas["cooldownPeriod"] == 300


def test_an_agent_without_work_holds_up_no_drain(tools: Tools, further: Path) -> None:
    """One that never saw its server is not ready, and a budget would keep it for ever."""
    for version, allowed in (("1.25.0", None), ("1.30.0", "AlwaysAllow")):
        made = tools.objects("--values", str(further), "--kube-version", version)
        budgets = [one["spec"] for one in made if one["kind"] == "PodDisruptionBudget"]
        assert [one.get("unhealthyPodEvictionPolicy") for one in budgets] == [allowed] * 3


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("PodMonitor", "podMonitor.enabled=true,serviceMonitor.enabled=false"),
        ("ServiceMonitor", "global.a=b"),
    ],
)
def test_what_is_scraped_is_what_the_alerts_ask_for(
    tools: Tools, further: Path, kind: str, values: str
) -> None:
    """Under the names of jobs that the rules have, by ports that pods or services have."""
    made = tools.objects("--values", str(further), "--set", values)
    (spec,) = [one["spec"] for one in made if one["kind"].endswith("Monitor")]
    ends = {one["port"]: one["relabelings"] for one in spec.get("endpoints") or spec["podMetricsEndpoints"]}
    assert ends == {
        "http": [{"targetLabel": "job", "replacement": "millhand-agent"}],
        "metrics": [{"targetLabel": "job", "replacement": "millhand-server"}],
    }
    rules = (HOME / "deploy" / "monitoring" / "alerts.yaml").read_text()
    assert all(f'up{{job="{job}"}}' in rules for job in ("millhand-agent", "millhand-server"))
    if kind == "PodMonitor":
        found = [(pod["metadata"], pod["spec"]["containers"][0]["ports"]) for _, pod in pods(made)]
    else:
        services = [one for one in made if one["kind"] == "Service"]
        found = [(one["metadata"], one["spec"]["ports"]) for one in services]
    assert len(found) == 4
    for about, ports in found:
        assert spec["selector"]["matchLabels"].items() <= about["labels"].items()
        assert len(set(ends) & {port["name"] for port in ports}) == 1


def test_the_plain_manifests_are_what_the_chart_makes(tools: Tools, tmp_path: Path) -> None:
    """`make manifests` writes them."""
    subprocess.run([HOME / "scripts/manifests.sh", tools.folder / "helm", tmp_path], check=True)
    for path in sorted(tmp_path.iterdir()):
        assert path.read_text() == (KUBERNETES / "manifests" / path.name).read_text(), "make manifests"
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in EXAMPLES}

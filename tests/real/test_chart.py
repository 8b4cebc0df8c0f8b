"""The chart for Kubernetes: strict in what it takes, valid on every version from 1.25 on; its manifests."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest

from tests.real.chart import CHART, FURTHER, HOME, KUBERNETES, Tools, pods, variables
from tests.real.engine import HERE, missing

EXAMPLES = sorted((KUBERNETES / "examples").glob("*.yaml"))
VERSIONS = ("1.25", "1.28", "1.31", "1.34", "1.37")
OTHERS = {"ScaledObject", "ScaledJob", "PodMonitor", "ServiceMonitor"}  # not of Kubernetes itself
FIELD = "metadata.annotations['node/fact']"
MARGIN_S = 15  # between the end of a drain and SIGKILL


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


@pytest.fixture
def further(tmp_path: Path) -> Path:
    """Get a file with the values that no example has."""
    path = tmp_path / "further.json"
    path.write_bytes(msgspec.json.encode(FURTHER))
    return path


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
        ("poolDefaults.nodeFacts.machineType=spec.nodeName", "machineType"),
        ("pools[0].name=a,pools[0].nodeSelector.gpu=true", "nodeSelector"),
        ("podMonitor.enabled=true,serviceMonitor.enabled=true", "counted twice"),
        ("priorityClasses[0].name=high,priorityClasses[0].value=2000000000", "value"),
    ],
)
def test_a_wrong_value_is_refused_by_name(tools: Tools, wrong: str, said: str) -> None:
    """Before anything reaches the cluster."""
    done = tools.helm("template", "millhand", str(CHART), "--set", wrong)
    assert done.returncode != 0
    assert said in done.stderr


def test_a_pod_tells_its_agent_what_it_is(tools: Tools) -> None:
    """The zone where the API server copies it into the pod, and nothing that an older one would refuse."""
    env = tools.agent("--kube-version", "1.30.0")
    assert env["MILLHAND_REQUEST_CPU_MILLICORES"]["resourceFieldRef"]["divisor"] == "1m"
    assert env["MILLHAND_POD_UID"]["fieldRef"]["fieldPath"] == "metadata.uid"
    assert not {"MILLHAND_ZONE", "MILLHAND_MACHINE_TYPE", "MILLHAND_PREEMPTIBLE"} & set(env)
    env = tools.agent("--kube-version", "1.35.0")
    assert "topology.kubernetes.io/zone" in env["MILLHAND_ZONE"]["fieldRef"]["fieldPath"]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (["nodeSelector.topology\\.kubernetes\\.io/zone=eu-1a"], {"MILLHAND_ZONE": "eu-1a"}),
        (["nodeSelector.node\\.kubernetes\\.io/instance-type=g2-8"], {"MILLHAND_MACHINE_TYPE": "g2-8"}),
        (["nodeSelector.karpenter\\.sh/capacity-type=spot"], {"MILLHAND_PREEMPTIBLE": "true"}),
        (["nodeSelector.karpenter\\.sh/capacity-type=on-demand"], {}),
        (["nodeSelector.eks\\.amazonaws\\.com/capacityType=SPOT",
          "nodeSelector.karpenter\\.sh/capacity-type=spot"],
         {"MILLHAND_PREEMPTIBLE": "true"}),
        (["spot=true"], {"MILLHAND_PREEMPTIBLE": "true"}),
        (["nodeSelector.node\\.kubernetes\\.io/instance-type=a", f"nodeFacts.machineType={FIELD}"],
         {"MILLHAND_MACHINE_TYPE": {"fieldRef": {"fieldPath": FIELD}}}),
        ([f"nodeFacts.preemptible={FIELD}", "env.MILLHAND_PREEMPTIBLE=false"],
         {"MILLHAND_PREEMPTIBLE": "false"}),
        ([f"nodeFacts.preemptible={FIELD}", "spot=true"], {"MILLHAND_PREEMPTIBLE": "true"}),
    ],
)  # fmt: skip
def test_what_is_told_of_the_node(tools: Tools, values: list[str], told: dict[str, Any]) -> None:
    """Each fact once, on every version: env, a field that a policy wrote, what the node selector asks for."""
    told_so = [f"--set=poolDefaults.{one}" for one in values]
    env = tools.agent("--kube-version", "1.30.0", *told_so)
    facts = ("MILLHAND_ZONE", "MILLHAND_MACHINE_TYPE", "MILLHAND_PREEMPTIBLE")
    assert {name: env[name] for name in facts if name in env} == told


def test_agents_that_must_not_be_cut_short_are_kept_from_autoscalers(tools: Tools, further: Path) -> None:
    """Jobs, that no budget can hold; replicas drain, and have only the annotations that they are given."""
    made = {
        name: pod["metadata"].get("annotations")
        for name, pod in pods(tools.objects("--values", str(further)))
    }
    still = {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false", "karpenter.sh/do-not-disrupt": "true"}
    assert made["millhand-agent-job"] == still
    assert (made["millhand-agent-volume"], made["millhand-agent-pod"]) == ({"team": "a"}, None)


def test_no_secret_is_in_a_variable(tools: Tools, further: Path) -> None:
    """The token, the database's URL and what handlers ask for are files, which a new secret reaches."""
    for values in (*EXAMPLES, further):
        for _, pod in pods(tools.objects("--values", str(values))):
            told = variables(pod)
            assert not any("secretKeyRef" in value for value in told.values())
            mounts = {one["mountPath"]: one["name"] for one in pod["spec"]["containers"][0]["volumeMounts"]}
            volumes = {one["name"]: one for one in pod["spec"]["volumes"]}
            files = [value for name, value in told.items() if name.endswith(("_FILE", "_SECRETS_DIR"))]
            assert files
            for file in files:
                folder = file if file in mounts else file.rpartition("/")[0]
                assert "secret" in volumes[mounts[folder]]


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


def test_pods_are_spread_by_their_own_labels(tools: Tools, further: Path) -> None:
    """The servers over nodes and zones; a pool as told. A selector that misses its pods spreads nothing."""
    over = {}
    for name, pod in pods(tools.objects("--values", str(further))):
        constraints = pod["spec"].get("topologySpreadConstraints", [])
        over[name] = [one["topologyKey"] for one in constraints]
        for one in constraints:
            assert one["labelSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    zones = ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
    assert over == {
        "millhand-server": zones,
        "millhand-agent-volume": zones[:1],
        "millhand-agent-pod": [],
        "millhand-agent-job": [],
    }


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


def test_pods_hold_the_restricted_standard(tools: Tools, further: Path) -> None:
    """Of pod security; and no token of the cluster is in them. Their grace is longer than a drain."""
    for values in (*EXAMPLES, further):
        for _, pod in pods(tools.objects("--values", str(values))):
            spec = pod["spec"]
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
            env = variables(pod)
            drain = env.get("MILLHAND_DRAIN_TIMEOUT") or env["MILLHAND_SERVER_SHUTDOWN_DELAY"]
            assert int(drain.rstrip("s")) + MARGIN_S <= spec["terminationGracePeriodSeconds"]


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

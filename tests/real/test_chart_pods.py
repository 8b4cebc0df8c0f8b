"""The pods of the chart: what they tell, what they may, and where their files lie."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.real.chart import EXAMPLES, HOME, Tools, pods, variables

FIELD = "metadata.annotations['node/fact']"
MARGIN_S = 15  # between the end of a drain and SIGKILL


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


def test_prices_and_the_folder_of_files_are_where_the_settings_say(tools: Tools, further: Path) -> None:
    """The server reads both, and writes neither; agents write the folder."""
    made = dict(pods(tools.objects("--values", str(further))))
    server = made.pop("millhand-server")
    env, spec = variables(server), server["spec"]
    assert mounted(server, env["MILLHAND_SERVER_PRICES"].rpartition("/")[0], is_read_only=True) == {
        "name": "prices",
        "configMap": {"name": "prices", "items": [{"key": "prices.toml", "path": "prices.toml"}]},
    }
    assert env["MILLHAND_SERVER_PRICES"].endswith("/prices.toml")
    files = {"name": "store", "persistentVolumeClaim": {"claimName": "files"}}
    assert mounted(server, env["MILLHAND_SERVER_FILES"], is_read_only=True) == files
    assert len(made) == 3
    for pod in made.values():
        folder = variables(pod)["MILLHAND_STORE"]
        assert folder == env["MILLHAND_SERVER_FILES"]
        assert mounted(pod, folder, is_read_only=False) == files
        (mount,) = [one for one in pod["spec"]["containers"][0]["volumeMounts"] if one["name"] == "store"]
        assert mount["subPath"] == "runs"
    assert not {"prices", "store"} & {volume["name"] for volume in plain_server(tools)["volumes"]}
    assert spec["securityContext"]["fsGroup"] == 10001


def plain_server(tools: Tools) -> dict[str, Any]:
    """Return the server's pod where neither is asked for."""
    made = dict(pods(tools.objects()))
    spec: dict[str, Any] = made["millhand-server"]["spec"]
    return spec


def mounted(pod: dict[str, Any], path: str, *, is_read_only: bool) -> dict[str, Any]:
    """Return the volume that is mounted somewhere."""
    mounts = {one["mountPath"]: one for one in pod["spec"]["containers"][0]["volumeMounts"]}
    assert mounts[path].get("readOnly", False) is is_read_only
    (volume,) = [one for one in pod["spec"]["volumes"] if one["name"] == mounts[path]["name"]]
    found: dict[str, Any] = volume
    return found


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


@pytest.mark.parametrize("values", EXAMPLES, ids=lambda path: path.stem)
def test_a_hook_takes_nothing_from_the_drain(tools: Tools, values: Path) -> None:
    """What it may take is added to the grace of each pod: of agents, of jobs, of the server."""
    shown = ("--values", str(values))
    before = dict(pods(tools.objects(*shown)))
    wanted = ("{}.preStop.seconds=7", "{}.preStop.hook.exec.command={{sign-off,now}}")
    given = ",".join(one.format(whose) for whose in ("server", "poolDefaults") for one in wanted)
    after = dict(pods(tools.objects(*shown, "--set", given)))
    assert "millhand-server" in after
    assert len(after) >= 2
    for name, pod in after.items():
        spec, plain = pod["spec"], before[name]["spec"]
        assert spec["terminationGracePeriodSeconds"] == plain["terminationGracePeriodSeconds"] + 7
        assert spec["containers"][0]["lifecycle"] == {"preStop": {"exec": {"command": ["sign-off", "now"]}}}
        assert "lifecycle" not in plain["containers"][0]


def test_a_hook_of_a_pool_takes_the_place_of_that_of_all(tools: Tools) -> None:
    """Also where it is of another kind, of which Kubernetes takes one; an empty one is none."""
    everyone = "poolDefaults.preStop.seconds=7,poolDefaults.preStop.hook.exec.command={sign-off}"
    of_all = {"preStop": {"exec": {"command": ["sign-off"]}}}
    ours = {"httpGet": {"path": "/bye", "port": 80}}
    for own, lifecycle in (
        ({}, of_all), ({"seconds": 9}, of_all), ({"hook": ours}, {"preStop": ours}), ({"hook": {}}, None)
    ):  # fmt: skip
        pool = json.dumps([{"name": "x", "preStop": own}])
        made = dict(pods(tools.objects("--set", everyone, "--set-json", f"pools={pool}")))
        (container,) = made["millhand-agent-x"]["spec"]["containers"]
        assert container.get("lifecycle") == lifecycle

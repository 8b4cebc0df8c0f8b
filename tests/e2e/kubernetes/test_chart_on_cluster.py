"""The chart on a real control plane, installed as deploy/README.md says: `make e2e-k8s`.

The tests are one history of one deployment, in this order.
"""

from __future__ import annotations

import os
import textwrap
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import Any

import httpx
import pytest

from tests.e2e.kubernetes.deployment import AGENTS, DRAIN_S, NAMESPACE, Deployment, is_ready, run
from tests.e2e.kubernetes.work import Signs, Work
from tests.real.engine import missing

SERVER = "statefulset/millhand-server"
HOOK_S = 5
HOOK = (
    f"poolDefaults.preStop.seconds={HOOK_S},"
    "poolDefaults.preStop.hook.exec.command="
    f"{{/opt/millhand/bin/python,-c,import time; time.sleep({HOOK_S})}}"
)
JOBS = "pools[0].name=jobs,pools[0].imageTag=,pools[0].types={patient}"


class Site:
    """The deployment, its token and its work."""

    def __init__(self, folder: Path) -> None:
        """Install, by the steps of the page."""
        self.token = token_hex(32)
        self.it = Deployment(folder)
        run("kubectl", "create", "namespace", NAMESPACE)
        self.it.kubectl("create", "secret", "generic", "millhand", f"--from-literal=token={self.token}")
        self.it.apply()
        self.signs = Signs(folder / "executions.log")
        self.work = Work(lambda: self.it.url(8077), lambda: self.token, self.signs)

    def stopped(self, task: str) -> list[dict[str, Any]]:
        """Return the runs of a task that have ended."""
        return [one for one in self.work.runs(task) if one["stoppedAt"]]

    def pending(self) -> int:
        """Return the number that KEDA asks for."""
        url = self.it.url(9401) + "/pending"
        asked = httpx.get(url, params={"type": "patient"}, trust_env=False, timeout=10.0)
        return int(asked.raise_for_status().json()["pending"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Install it, once."""
    if "KUBECONFIG" not in os.environ:
        missing("no cluster: make e2e-k8s starts one")
    made = Site(tmp_path_factory.mktemp("site"))
    with closing(made.signs), closing(made.work):
        yield made


def test_a_run_tells_what_its_pod_is(site: Site) -> None:
    """Requests in thousandths, the cgroup's limit, the pod's uid, what is known of the node and no more."""
    (task,) = site.work.add("roll", 1)
    site.work.holds()
    (told,) = site.work.runs(task)
    uids = {pod["metadata"]["uid"] for pod in site.it.agents().values()}
    assert told["podId"].partition("/")[0] in uids
    assert (told["requestCPUs"], told["requestRAM"], told["limitRAM"]) == (0.1, 128 << 20, 384 << 20)
    assert (told["preemptible"], told["machineType"], told["zone"]) == (True, "g2-standard-8", None)


def test_what_eats_the_memory_ends_alone(site: Site) -> None:
    """The kernel kills the handler, not the agent: the pod is not restarted."""
    job = site.work.ask("POST", "/api/jobs", {"id": "eat", "title": "eat", "type": "eat"})["id"]
    body = {"id": "eat-1", "jobId": job, "type": "eat", "parameters": {}}
    site.work.ask("POST", "/api/jobs/tasks", body)
    runs = site.it.wait(partial(site.stopped, "eat-1"), "the end of the eater")
    assert runs[0]["error"].startswith("out_of_memory"), runs[0]["error"]
    restarts = [pod["status"]["containerStatuses"][0]["restartCount"] for pod in site.it.agents().values()]
    assert restarts == [0, 0]


def test_an_outage_of_the_server_takes_no_agent_away(site: Site) -> None:
    """Readiness holds from the first answer on; what was finished meanwhile is delivered after it."""
    site.work.add("roll", 2, seconds=3)
    site.it.busy()
    before = {name: since_ready(pod) for name, pod in site.it.agents().items()}
    site.it.kubectl("scale", SERVER, "--replicas=0")
    for name in before:
        site.it.wait(partial(site.it.has_failed_polls, name), "failed polls")
        assert site.it.status(name)["isReady"]
    site.it.kubectl("scale", SERVER, "--replicas=1")
    site.it.rolled_out(SERVER)
    assert not site.work.holds()
    assert {name: since_ready(pod) for name, pod in site.it.agents().items()} == before


def test_a_pod_that_is_deleted_drains(site: Site) -> None:
    """Within its grace: what can stop is given back, and finished by the other agent."""
    (task,) = site.work.add("patient", 1, seconds=15)
    site.it.kubectl("delete", "pod", site.it.busy())
    site.work.holds()
    ends = [(one["error"] or "").partition(":")[0] for one in site.work.runs(task)]
    assert set(ends) == {"drained", "requeued", ""}, ends
    site.it.rolled_out(AGENTS)


def test_the_budget_holds_up_the_drain_of_a_node(site: Site) -> None:
    """One agent of the pool goes at a time: the other one works on until the first is back."""
    site.work.add("roll", 8)
    site.it.busy()
    command = (
        "drain", "node", "--ignore-daemonsets", "--delete-emptydir-data",
        "--pod-selector=millhand/pool=cpu", "--timeout=40s",
    )  # fmt: skip
    said = site.it.kubectl(*command, code=1)
    assert "disruption budget" in said, said
    assert sum(is_ready(pod) for pod in site.it.agents().values()) == 1
    site.it.kubectl("uncordon", "node")
    site.it.rolled_out(AGENTS)
    site.work.holds()


def test_a_machine_that_is_taken_away_loses_no_task(site: Site) -> None:
    """SIGKILL in the middle of a run, as spot machines do when their notice is over."""
    site.work.add("patient", 2, seconds=6)
    pod = site.it.busy()
    container = site.it.agents()[pod]["status"]["containerStatuses"][0]["containerID"].partition("//")[2]
    run("docker", "kill", container)
    assert site.work.holds()["worker_lost"] >= 1
    site.it.rolled_out(AGENTS)


def test_a_forced_eviction_doubles_nothing(site: Site) -> None:
    """The pod's name and volume are given away at once, while its processes may still be there."""
    site.work.add("patient", 2, seconds=6)
    site.it.kubectl("delete", "pod", site.it.busy(), "--force", "--grace-period=0")
    site.work.holds()
    site.it.rolled_out(AGENTS)


def test_scaling_up_and_down_under_load(site: Site) -> None:
    """From 2 to 4 to 1 to 2, with work all the time."""
    for replicas in (4, 1, 2):
        site.work.add("roll", 12)
        site.it.busy()
        site.it.kubectl("scale", AGENTS, f"--replicas={replicas}")
        site.it.rolled_out(AGENTS)
        site.it.wait(partial(site.it.has_agents, replicas), "the replicas")
    site.work.holds()


def test_a_rolling_update_of_agents_and_server_under_load(site: Site) -> None:
    """Another tag of the image, for both at once, and back."""
    for tag in ("0.1.1", "0.1.0"):
        site.work.add("roll", 16)
        site.it.busy()
        site.it.apply("--set", f"image.tag={tag}")
        images = {pod["spec"]["containers"][0]["image"] for pod in site.it.agents().values()}
        assert images == {f"millhand:{tag}"}
    site.work.holds()


def test_a_hook_runs_before_the_drain(site: Site) -> None:
    """The agent works on while it runs; then there is all of the drain's time, and the run ends in it."""
    site.it.apply("--set", HOOK)
    (task,) = site.work.add("roll", 1, seconds=HOOK_S + DRAIN_S / 2)
    pod = site.it.busy()
    site.it.kubectl("delete", "pod", pod, "--wait=false")
    told_mono = time.monotonic()
    drain = site.it.wait(lambda: site.it.status(pod)["drain"], "the drain after the hook")
    assert time.monotonic() - told_mono > HOOK_S - 1  # 1: the kubelet heard of it before we did
    assert drain["leftS"] > DRAIN_S - 4, drain
    site.work.holds()
    assert [one["resultCode"] for one in site.work.runs(task)] == ["Success"]
    site.it.rolled_out(AGENTS)
    site.it.apply()


def test_jobs_end_with_the_work(site: Site) -> None:
    """What KEDA would start: an agent that ends when idle, and a pod that has succeeded."""
    site.it.kubectl("scale", AGENTS, "--replicas=0")
    site.it.wait(partial(site.it.has_agents, 0), "no agents")
    site.work.add("patient", 3, seconds=2)
    site.it.wait(lambda: site.pending() == 3, "the number of pending tasks")
    made = site.it.rendered("jobs", "--set", JOBS)
    spec = made.partition("  jobTargetRef:\n")[2].partition("  successfulJobsHistoryLimit")[0]
    job = "apiVersion: batch/v1\nkind: Job\nmetadata: {name: scaled}\nspec:\n"
    site.it.kubectl("apply", "--filename=-", stdin=job + textwrap.indent(textwrap.dedent(spec), "  "))
    site.it.kubectl("wait", "--for=condition=complete", "job/scaled", "--timeout=120s")
    assert site.it.get("job", "scaled")["status"]["succeeded"] == 1
    site.work.holds()
    site.it.kubectl("scale", AGENTS, "--replicas=2")
    site.it.rolled_out(AGENTS)


def test_a_token_is_changed_with_work_going_on(site: Site) -> None:
    """By the steps of the page: the agents read the new one from its file, without a restart."""
    before = {name: pod["metadata"]["uid"] for name, pod in site.it.agents().items()}
    site.work.add("roll", 4, seconds=2)
    site.it.busy()
    old, site.token = site.token, token_hex(32)
    new = f"--from-literal=token={site.token}"
    secret = site.it.kubectl(
        "create", "secret", "generic", "millhand", new, "--dry-run=client", "--output=yaml"
    )
    site.it.kubectl("apply", "--filename=-", stdin=secret)
    site.it.kubectl("rollout", "restart", SERVER)
    site.it.rolled_out(SERVER)
    site.work.add("roll", 4)
    site.work.holds()
    headers = {"Authorization": f"Bearer {old}"}
    asked = httpx.get(site.it.url(8077) + "/api/jobs", headers=headers, trust_env=False, timeout=10.0)
    assert asked.status_code == 401
    assert {name: pod["metadata"]["uid"] for name, pod in site.it.agents().items()} == before


def since_ready(pod: dict[str, Any]) -> str:
    """Return since when a pod is ready."""
    assert is_ready(pod)
    return next(
        str(one["lastTransitionTime"]) for one in pod["status"]["conditions"] if one["type"] == "Ready"
    )

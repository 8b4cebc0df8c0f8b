"""A real Prometheus beside a real server and agent: every panel shows something, no alert fires."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx

from tests.acceptance.agents import running_agent
from tests.integration.ports import free_port
from tests.integration.serving import TOKEN, serving, wait_for
from tests.real.engine import missing

HERE: Final = Path(__file__).resolve().parent
MONITORING: Final = HERE.parents[1] / "deploy/monitoring"
LOCAL: Final = "127.0.0.1"
# Nothing stands there while all is well, and without GPUs.
MAY_BE_EMPTY: Final = ("millhand_claims_held", "millhand_gpus")
CONFIGURATION: Final = """
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
scrape_configs:
  - job_name: millhand-agent
    static_configs: [{{targets: ["{host}:{agent}"]}}]
  - job_name: millhand-server
    static_configs: [{{targets: ["{host}:{server}"]}}]
rule_files: ["{rules}"]
"""


class Prometheus:
    """One that runs."""

    def __init__(self, port: int) -> None:
        """Know where it is."""
        self.client = httpx.Client(base_url=f"http://{LOCAL}:{port}/api/v1", trust_env=False)

    def ask(self, path: str, **parameters: str) -> Any:
        """Return what it answers; None where it is not there yet."""
        try:
            answer = self.client.get(path, params=parameters)
        except httpx.TransportError:
            return None
        told = answer.json() if answer.status_code in (200, 400, 422) else {}
        assert "error" not in told, (parameters, told)
        return told.get("data")

    def values(self, text: str) -> list[Any]:
        """Return what an expression is now."""
        found: list[Any] = (self.ask("/query", query=text) or {}).get("result", [])
        return found


@contextmanager
def prometheus(folder: Path, **ports: int) -> Iterator[Prometheus]:
    """Run one with our rules until the block ends."""
    file = folder / "prometheus.yml"
    file.write_text(CONFIGURATION.format(host=LOCAL, rules=MONITORING / "alerts.yaml", **ports))
    port = free_port()
    log = folder / "prometheus.log"
    with log.open("wb") as written:
        process = subprocess.Popen(
            [
                str(HERE / "prometheus.sh"), "prometheus", f"--config.file={file}",
                f"--storage.tsdb.path={folder / 'series'}", f"--web.listen-address={LOCAL}:{port}",
            ],
            stdin=subprocess.DEVNULL, stdout=written, stderr=written,
        )  # fmt: skip
    made = Prometheus(port)
    try:

        def is_up() -> bool:
            if process.poll() is not None:
                missing(log.read_text()[-2000:])
            return bool(made.ask("/status/buildinfo"))

        wait_for(is_up, "Prometheus answers")
        yield made
    finally:
        made.client.close()
        process.terminate()
        process.wait(60)


def panels() -> dict[str, str]:
    """Return the expressions of the dashboard's panels, its variables filled in."""
    board = json.loads((MONITORING / "dashboard.json").read_text("utf-8"))
    found = {}
    for panel in board["panels"]:
        for number, target in enumerate(panel.get("targets", [])):
            text = target["expr"].replace("$__rate_interval", "30s").replace("$instance", ".*")
            assert "$" not in text
            found[f"{panel['title']}, {number}"] = text
    assert len(found) > 30
    return found


def work(url: str) -> None:
    """Have tasks done, one of which fails; then one waits, and one goes on."""
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {TOKEN}"}, trust_env=False) as api:
        job = api.post("/api/jobs", json={"type": "sleep"}).json()[0]
        for seconds in (0.01, 0.05, 0.1, "none"):
            task = {"jobId": job["id"], "type": "sleep", "parameters": {"seconds": seconds}}
            api.post("/api/jobs/tasks", json=task).raise_for_status()
        wait_for(lambda: api.get(f"/api/jobs/{job['id']}").json()[0]["status"] == "stopped", "all is done")
        for type_, parameters in (("nobody-takes-this", {}), ("sleep", {"seconds": 3600})):
            task = {"jobId": job["id"], "type": type_, "parameters": parameters}
            api.post("/api/jobs/tasks", json=task).raise_for_status()


def test_every_panel_of_the_dashboard_shows_something_and_no_alert_fires(tmp_path: Path) -> None:
    """In a Prometheus as an operator has it, of a server and an agent that are well."""
    agent_port, server_port = free_port(), free_port()
    settings = {"MILLHAND_HTTP_PORT": str(agent_port)}
    with (
        serving(tmp_path, "--metrics-port", str(server_port)) as server,
        running_agent(tmp_path / "agent", server.url, TOKEN, slots=2, settings=settings),
        prometheus(tmp_path, agent=agent_port, server=server_port) as seen,
    ):
        wait_for(lambda: len(seen.values("up == 1")) == 2, "both are up")
        work(server.url)
        for title, text in panels().items():
            if not any(name in text for name in MAY_BE_EMPTY):
                wait_for(partial(seen.values, text), f"{title}: {text}")
            assert seen.ask("/query", query=text)["resultType"] == "vector", title
        rules = wait_for(lambda: known_rules(seen), "all rules were looked at")
        assert {rule["health"] for rule in rules} == {"ok"}, rules
        assert [rule["name"] for rule in rules if rule["state"] == "firing"] == []
        assert len(rules) > 20


def known_rules(seen: Prometheus) -> list[dict[str, Any]]:
    """Return the rules once each was looked at."""
    rules = [rule for group in seen.ask("/rules")["groups"] for rule in group["rules"]]
    return rules if all(rule["health"] != "unknown" for rule in rules) else []

"""Alerts, dashboard and runbook: what they name exists in what agents and servers really serve."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final

import httpx
from prometheus_client.parser import text_string_to_metric_families

from server.operators_page import operators_page
from server.testing import running_server
from tests.simulation.loop import run_virtual
from tests.simulation.machine import Machine
from tests.simulation.world import World
from tests.unit.test_documents import anchors
from worker.agent.operators.metrics import Metrics
from worker.agent.operators.status import HOLDERS
from worker.api.wire import ErrorKind
from worker.cli import main
from worker.reporting.report import RunState

ROOT: Final = Path(__file__).resolve().parents[2]
FOLDER: Final = ROOT / "deploy/monitoring"
RUNBOOK: Final = (ROOT / "docs/runbook.md").read_text("utf-8")
NAME: Final = re.compile(r"\bmillhand_[a-z_]+[a-z]\b")
SUFFIXES: Final = {"counter": ("_total",), "info": ("_info",), "histogram": ("_bucket", "_count", "_sum")}
ALERT: Final = re.compile(r"^ {6}- alert: (\w+)\n((?: {8}.*\n)+)", re.MULTILINE)


def alerts() -> dict[str, str]:
    """Return the rules by their name; that the file is right as a whole is promtool's matter."""
    text = (FOLDER / "alerts.yaml").read_text("utf-8")
    found = dict(ALERT.findall(text))
    assert len(found) == text.count("- alert:") > 20
    return found


def names_in(text: str) -> set[str]:
    """Return the names of samples in Prometheus' text format, also of those that have none now."""
    return {
        family.name + suffix
        for family in text_string_to_metric_families(text)
        for suffix in SUFFIXES.get(family.type, ("",))
    }


def served() -> set[str]:
    """Return the names of all samples that an agent and a server serve."""

    async def agents() -> str:
        survey = (await Machine(World(1, "key", 0.0, 0), "node/agent-1").agent()).survey
        survey.activity.polled(True)
        survey.activity.reported()
        survey.activity.begin(run_id="r", task_id="t", type_="a", gpus=(), state=RunState())
        survey.activity.going["r"].lease.renew(survey.clock.mono(), None)
        return Metrics(survey).text().decode()

    async def servers(app: Any) -> str:
        page = operators_page(app, lambda: 1, None)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(page), base_url="http://page") as client:
            return (await client.get("/metrics")).text

    with running_server() as server:
        return names_in(run_virtual(agents())) | names_in(server.call(servers(server.app)))


def test_every_metric_that_is_named_is_served() -> None:
    """In alerts, their tests, the dashboard and the runbook: a slip there would be silent for ever."""
    real = served()
    assert {"millhand_slots", "millhand_server_claims_total", "millhand_heartbeat_age_seconds"} <= real
    for path in (*FOLDER.iterdir(), ROOT / "docs/runbook.md"):
        named = set(NAME.findall(path.read_text("utf-8")))
        assert {name for name in named if name not in real} == set(), path.name


def test_every_word_of_a_label_is_one_that_is_served() -> None:
    """Who holds claims, and how runs end: an alert that leaves out a word that is none is wrong."""
    text = (FOLDER / "alerts.yaml").read_text("utf-8")
    holders = {
        word for words in re.findall(r'\bby(?:=|!=|=~|!~)"([^"]+)"', text) for word in words.split("|")
    }
    outcomes = {
        word for words in re.findall(r'\boutcome(?:=|!=|=~|!~)"([^"]+)"', text) for word in words.split("|")
    }
    assert len(holders) > 3
    assert len(outcomes) > 3
    assert holders <= set(HOLDERS)
    assert outcomes <= {"success", *map(str, ErrorKind)}


def test_every_alert_says_how_bad_it_is_and_leads_to_its_section_of_the_runbook() -> None:
    """The address in it is followed: to a page of the repository, and to a heading there."""
    for name, rule in alerts().items():
        assert re.search(r"severity: (critical|warning|info)\n", rule), name
        assert re.search(r"summary: .{10,}\n", rule), name
        (url,) = re.findall(r"runbook_url: (\S+)\n", rule)
        path, _, anchor = url.partition("#")
        assert anchor == name.lower()
        assert anchor in anchors(ROOT / path), url


def test_the_runbook_has_a_section_for_each_alert_and_no_other_and_each_is_whole() -> None:
    """What it means, what to look at, what to do."""
    sections = re.split(r"^## ", RUNBOOK, flags=re.MULTILINE)[1:]
    by_name = {section.partition("\n")[0]: section for section in sections}
    assert by_name.keys() == alerts().keys()
    for name, section in by_name.items():
        assert all(f"**{word}.**" in section for word in ("Means", "Look", "Do")), name


def test_each_alert_is_shown_to_fire_and_not_to() -> None:
    """`promtool test rules` runs these; here is seen that none was left out."""
    text = (FOLDER / "alerts_test.yaml").read_text("utf-8")
    quiet = re.findall(r"alertname: (\w+), exp_alerts: \[\]", text)
    fires = re.findall(r"alertname: (\w+)\n +exp_alerts:\n +- exp_labels", text)
    assert sorted(quiet) == sorted(fires) == sorted(alerts())


def test_the_runbook_names_commands_options_and_lines_of_the_log_that_there_are() -> None:
    """Nobody looks for a word at three in the morning that no program says."""
    sources = [*(ROOT / "worker").rglob("*.py"), *(ROOT / "server").rglob("*.py")]
    code = "\n".join(path.read_text("utf-8") for path in sources)
    events = set(re.findall(r"`([a-z_]+\.[a-z_]+)`", RUNBOOK)) - {"requires.memory"}
    assert len(events) > 4
    assert [event for event in sorted(events) if f'"{event}"' not in code] == []
    verbs = set(re.findall(r"millhand ([a-z-]+)", RUNBOOK))
    assert verbs <= main.COMMANDS.keys()
    settings = (ROOT / "docs/settings.md").read_text("utf-8")
    commands = (ROOT / "docs/reference/command-line.md").read_text("utf-8")
    flags = set(re.findall(r"`(--[a-z-]+)", RUNBOOK))
    assert len(flags) > 8
    assert [flag for flag in sorted(flags) if flag not in settings + commands] == []


def test_the_dashboard_is_one_that_can_be_imported() -> None:
    """Every panel asks a question of the data source that is chosen, has a title and a place of its own."""
    board = json.loads((FOLDER / "dashboard.json").read_text("utf-8"))
    assert (board["title"], board["uid"], board["id"]) == ("millhand", "millhand", None)
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]
    assert len(panels) > 15
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    places: set[tuple[int, int]] = set()
    for panel in panels:
        assert panel["title"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert all(target["expr"].count("(") == target["expr"].count(")") for target in panel["targets"])
        assert all(NAME.search(target["expr"]) or "up{" in target["expr"] for target in panel["targets"])
        place = panel["gridPos"]
        columns, rows = range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])
        cells = {(x, y) for x in columns for y in rows}
        assert not cells & places, panel["title"]
        assert place["x"] + place["w"] <= 24
        places |= cells

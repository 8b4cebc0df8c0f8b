"""The curves: their picture, and how they count."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.bench.curves.agents import claims_of
from tests.bench.curves.axes import AXES
from tests.bench.curves.pending import over_pending
from tests.bench.curves.picture import as_svg, draw, panels_of
from tests.bench.figure import Figure, Place
from tests.bench.report import save
from tests.foreign.http import Request
from worker.agent.identity import Identities
from worker.clock import SystemClock

SVG = "{http://www.w3.org/2000/svg}"


def figure(panel: str, line: str, at: float, value: float | None) -> Figure:
    """Return a point of a curve."""
    return Figure(name=f"{line} at {at}", value=value, unit="", place=Place(panel, line, at))


def test_picture_has_each_line_in_its_panel_with_places_and_words() -> None:
    """A logarithmic axis goes from the first to the last place; what is drawn stands in words, too."""
    panels = panels_of(
        [
            *(figure("polls <ms>", "p50", at, 0.5) for at in (10_000, 100, 1_000)),
            *(figure("polls <ms>", "p99", at, at / 1000) for at in (100, 1_000, 10_000)),
            figure("alone", "one point", 1, 1.0),
            figure("polls <ms>", "unknown", 1, None),
            Figure(name="no curve", value=1.0, unit=""),
        ]
    )
    assert [panel.title for panel in panels] == ["polls <ms>"]
    root = ET.fromstring(as_svg(panels))  # noqa: S314 - our own
    flat, steep = [line.attrib["points"].split() for line in root.iter(f"{SVG}polyline")]
    assert [point.split(",")[0] for point in flat] == ["0.0", "300.0", "600.0"]
    assert len({point.split(",")[1] for point in flat}) == 1
    assert steep[-1] == "600.0,0.0"
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert {"100", "1k", "10k", "polls <ms>"} <= set(texts)
    assert "p99: latest 10" in (root.findtext(f"{SVG}desc") or "")


@pytest.mark.parametrize(("last", "part"), [(10_000, 1.0), (1_000, 0.75), (100, 0.5), (10, 0.25)])
def test_a_line_ends_at_its_last_place(last: int, part: float) -> None:
    """A line that is shorter than the axis is not stretched to its end."""
    whole = [figure("a", "whole", at, 1.0) for at in (1, 10_000)]
    short = [figure("a", "short", at, 1.0) for at in (1, last)]
    root = ET.fromstring(as_svg(panels_of([*whole, *short])))  # noqa: S314 - our own
    wide, narrow = list(root.iter(f"{SVG}svg"))[1:]
    ends = [
        float(one.attrib["width"]) * float(one[0].attrib["points"].split()[-1].split(",")[0]) / 600
        for one in (wide, narrow)
    ]
    assert ends[1] / ends[0] == pytest.approx(part, abs=0.01)


def test_picture_has_a_dark_and_a_light_form() -> None:
    """Colours are named once for each; nothing else has one of its own."""
    text = as_svg(panels_of([figure("a", "b", at, 1.0) for at in (1, 2)]))
    assert "prefers-color-scheme: dark" in text
    assert text.count("--ink:") == 2
    assert 'fill="' not in text
    assert 'stroke="' not in text


def test_nothing_to_draw_leaves_the_picture_alone(tmp_path: Path) -> None:
    """Figures of other parts are in no picture."""
    path = tmp_path / "curves.svg"
    assert not draw([Figure(name="x", value=1.0, unit="")], path)
    assert not path.exists()
    assert draw([figure("a", "b", at, 1.0) for at in (1, 2)], path)
    assert path.read_text().startswith("<svg")


def test_curves_that_are_saved_are_drawn_where_the_page_begins(tmp_path: Path) -> None:
    """Once, however often they are saved; figures of other parts change nothing."""
    page = tmp_path / "benchmarks.md"
    page.write_text("# Benchmarks\n\n## Older\n\nWords.\n")
    curve = [figure("a", "b", at, 1.0) for at in (1, 2)]
    for figures in ([Figure(name="x", value=1.0, unit="")], curve, curve):
        save("bench", "a machine", "SQLite", figures, page)
    assert page.read_text().count("![How costs grow](pictures/curves.svg)") == 1
    assert page.read_text().startswith("# Benchmarks\n\n![How")
    assert (tmp_path / "pictures" / "curves.svg").read_text().startswith("<svg")


def test_ten_million_tasks_are_in_the_long_form_alone() -> None:
    """They take minutes to be made."""
    (pending,) = [axis for axis in AXES if axis.name == "pending"]
    assert max(pending.points("long")) == 10_000_000
    assert max(pending.points("usual")) == 1_000_000


def test_polls_among_more_tasks_are_compared_with_those_among_a_thousand(tmp_path: Path) -> None:
    """Each size has its own database, and its ratio."""
    figures = {one.name: one for one in over_pending(tmp_path, (100, 1_000, 2_000), "short")}
    assert figures["poll among 100 tasks, p50"].value
    ratio = figures["poll among 2,000, p50 to that among 1,000"]
    more, base = (figures[f"poll among {count} tasks, p50"].value or 1.0 for count in ("2,000", "1,000"))
    assert ratio.value == more / base
    assert "poll among 100, p50 to that among 1,000" not in figures


def test_a_claim_that_is_sent_twice_is_one() -> None:
    """Its second time, as a probe, only shows what sort of server it is; another agent's is another."""
    identities = Identities("a", SystemClock())
    probe = identities.probe(identities.next()).pod_id
    assert probe != "a"
    sent = [("a", "1"), ("a", "1"), (probe, "1"), ("b", "1"), ("b", "2")]
    requests = [
        Request("POST", "/api/jobs/runs", {}, {}, {"podId": pod, "taskId": task}, 0.0) for pod, task in sent
    ]
    requests.append(Request("GET", "/api/jobs/runs", {}, {}, None, 0.0))
    assert claims_of(requests) == {("a", "1"), ("b", "1"), ("b", "2")}

"""The agent's metrics for Prometheus, made when somebody asks; between two questions they cost nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from worker.agent.gpus.pool import GpuCondition
from worker.agent.operators.activity import BOUNDS_S, Activity
from worker.agent.operators.status import HOLDERS, PARTS, Status
from worker.agent.operators.survey import Survey

__all__ = ["Metrics"]

PREFIX: Final = "millhand_"
RESULTS: Final = {True: "won", False: "lost"}
ANSWERS: Final = {True: "answered", False: "failed"}


class Metrics(Collector):
    """A registry of its own: nothing of other libraries, and nothing that another agent could meet."""

    def __init__(self, survey: Survey) -> None:
        """Tell what `survey` sees."""
        self._survey = survey
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def text(self) -> bytes:
        """Return all of them, in Prometheus' text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Give each metric as it is now."""
        status = self._survey.status()
        yield info(status)
        yield from counters(self._survey.activity)
        yield durations(self._survey.activity)
        yield from gauges(status)
        yield holds(status)
        yield stuck(status)
        yield from gpus(status)


def info(status: Status) -> Metric:
    """Return who it is."""
    labels = {"version": status.version, "pod_id": status.pod_id}
    return InfoMetricFamily(PREFIX + "agent", "The agent, and its version", value=labels)


def counters(activity: Activity) -> Iterator[Metric]:
    """Give what was counted since the start."""
    runs = CounterMetricFamily(
        PREFIX + "runs",
        "Runs that ended, by type of task and by what became of them",
        labels=("type", "outcome"),
    )
    for (type_, outcome), count in activity.ended.items():
        runs.add_metric((type_, outcome), count)
    yield runs
    claims = CounterMetricFamily(PREFIX + "claims", "Claims that were decided", labels=("result",))
    for is_won, result in RESULTS.items():
        claims.add_metric((result,), activity.claims[is_won])
    yield claims
    polls = CounterMetricFamily(PREFIX + "polls", "Requests for pending tasks", labels=("result",))
    for is_answered, result in ANSWERS.items():
        polls.add_metric((result,), activity.polls[is_answered])
    yield polls


def durations(activity: Activity) -> Metric:
    """Return how long runs took."""
    family = HistogramMetricFamily(
        PREFIX + "run_duration_seconds", "Wall time of runs that ended, where it is known", labels=("type",)
    )
    ends = [*map(str, BOUNDS_S), "+Inf"]
    for type_, one in activity.durations.items():
        family.add_metric((type_,), list(zip(ends, accumulate(one.counts), strict=True)), one.sum_s)
    return family


def gauges(status: Status) -> Iterator[Metric]:
    """Give the single numbers; what is not known is left out."""
    journal, server = status.journal, status.server
    for name, text, value in (
        ("ready", "1 once the server has answered, and 0 again while the agent ends", status.is_ready),
        ("draining", "1 while the agent ends", status.drain is not None),
        ("claiming", "1 while nothing holds claims", status.is_claiming),
        ("slots", "How many runs may go on at once", status.slots.total),
        ("slots_busy", "Slots with a run, or a claim that is under way", status.slots.busy),
        ("runs_storing", "Runs that ended and whose files are not stored yet", status.storing),
        ("trees_not_ending", "Trees of processes that were killed and are still there", status.not_ending),
        ("journal_entries", "Runs that are open in the journal", journal.entries),
        ("journal_healthy", "1 while the journal can be written", journal.is_healthy),
        ("outcomes_undelivered", "Outcomes that the server does not have yet", journal.undelivered),
        (
            "report_lag_seconds",
            "Since the oldest end of a run that the server does not know",
            journal.lag_s or 0.0,
        ),
        ("outcomes_for_a_person", "Entries that `millhand journal` shows to a person", journal.for_a_person),
        ("last_poll_age_seconds", "Since a poll was answered", server.poll_age_s),
        ("last_report_age_seconds", "Since the server took a report of any run", server.report_age_s),
        (
            "heartbeat_age_seconds",
            "The longest that a run goes on without an answer about it",
            server.heartbeat_age_s,
        ),
        ("start_time_seconds", "When the agent started, in seconds since 1970", status.started.timestamp()),
    ):
        if value is not None:
            yield GaugeMetricFamily(PREFIX + name, text, value=float(value))


def holds(status: Status) -> Metric:
    """Return what holds claims."""
    family = GaugeMetricFamily(PREFIX + "claims_held", "1 for each reason that holds claims", labels=("by",))
    held = {hold.by for hold in status.holds}
    for by in HOLDERS:
        family.add_metric((by,), float(by in held))
    return family


def stuck(status: Status) -> Metric:
    """Return how many of the agent's parts stand still, by their kind."""
    text = "How many of the agent's parts of a kind stand still"
    family = GaugeMetricFamily(PREFIX + "stuck", text, labels=("part",))
    for part in PARTS:
        family.add_metric((part,), float(sum(name.startswith(part) for name in status.stuck)))
    return family


def gpus(status: Status) -> Iterator[Metric]:
    """Give how many GPUs are in which condition; nothing where it is not known which there are."""
    if status.gpus is None:
        return
    family = GaugeMetricFamily(PREFIX + "gpus", "GPUs, by whether runs may have them", labels=("condition",))
    count = Counter(gpu.condition for gpu in status.gpus)
    for condition in GpuCondition:
        family.add_metric((condition.value,), count[condition.value])
    yield family

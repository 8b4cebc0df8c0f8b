"""The server's metrics for Prometheus, made when somebody asks; between two questions they cost nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from server.activity import BOUNDS_S, Durations
from server.app import App
from server.audit import Audit
from server.store.records import Depth, Depths
from server.times import to_ms
from worker.clock import Clock, SystemClock

__all__ = ["MOST_TYPES", "OTHERS", "Metrics"]

PREFIX: Final = "millhand_server_"
ENDS: Final = [*map(str, BOUNDS_S), "+Inf"]
MOST_TYPES: Final = 100  # of tasks, by name; clients choose them, and each is a series for ever
OTHERS: Final = "(others)"


class Metrics(Collector):
    """A registry of its own: nothing of other libraries, and nothing that another server could meet."""

    def __init__(
        self,
        app: App,
        connections: Callable[[], int],
        audit: Audit | None,
        version: str,
        clock: Clock | None = None,
    ) -> None:
        """Tell of this application."""
        self._app = app
        self._connections = connections
        self._audit = audit
        self._version = version
        self._clock = clock or SystemClock()
        self._depths: Depths | None = None
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def text(self, depths: Depths | None) -> bytes:
        """Return all of them, in Prometheus' text format; without queues where their depth is not known."""
        self._depths = depths
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Give each metric as it is now."""
        activity = self._app.activity
        yield InfoMetricFamily(PREFIX[:-1], "The server's version", value={"version": self._version})
        yield from self._gauges()
        yield from self._counters()
        yield _requests(activity.requests)
        yield _histogram("store_write_seconds", "Time until a write was durable, or refused", activity.writes)
        if self._depths is not None:
            yield from self._queues(self._depths)

    def _gauges(self) -> Iterator[Metric]:
        app = self._app
        for name, text, value in (
            ("draining", "1 while the server ends", app.readiness.is_draining),
            ("connections", "Connections to the API", self._connections()),
            ("requests_under_way", "Requests that are worked on; those that wait not", app.load.requests),
            ("bodies_bytes", "Bytes of bodies of requests in memory", app.load.bodies_bytes),
            ("waiting_polls", "Requests that wait for a task", app.desk.waiting),
        ):
            yield GaugeMetricFamily(PREFIX + name, text, value=float(value))

    def _counters(self) -> Iterator[Metric]:
        activity = self._app.activity
        claims = CounterMetricFamily(PREFIX + "claims", "Claims that were decided", labels=("result",))
        for result in ("won", "lost"):
            claims.add_metric((result,), activity.claims[result])
        yield claims
        for name, text, value in (
            (
                "leases_expired",
                "Runs that were stopped because their agent was silent",
                activity.leases_expired,
            ),
            ("jobs_deleted", "Finished jobs that were not kept any longer", activity.jobs_deleted),
            ("connections_refused", "Connections beyond the most", activity.connections_refused),
            (
                "audit_lines_lost",
                "Lines of the audit log not written",
                self._audit.lost if self._audit else 0,
            ),
        ):
            yield CounterMetricFamily(PREFIX + name, text, value=value)

    def _queues(self, depths: Depths) -> Iterator[Metric]:
        pending = GaugeMetricFamily(
            PREFIX + "tasks_pending", "Tasks that may be claimed, by type", labels=("type",)
        )
        oldest = GaugeMetricFamily(
            PREFIX + "tasks_oldest_seconds", "Age of the oldest of them, since its creation", labels=("type",)
        )
        now_ms = to_ms(self._clock.now())
        for one in bounded(depths.pending):
            pending.add_metric((one.type,), one.tasks)
            oldest.add_metric((one.type,), max(0.0, (now_ms - one.oldest_at) / 1000))
        yield pending
        yield oldest
        yield GaugeMetricFamily(PREFIX + "tasks_running", "Tasks with a live run", value=depths.running)


def bounded(depths: tuple[Depth, ...]) -> list[Depth]:
    """Return the deepest queues, and the others together."""
    by_depth = sorted(depths, key=lambda one: (-one.tasks, one.type))
    shown, rest = by_depth[:MOST_TYPES], by_depth[MOST_TYPES:]
    if rest:
        oldest_at = min(one.oldest_at for one in rest)
        shown.append(Depth(type=OTHERS, tasks=sum(one.tasks for one in rest), oldest_at=oldest_at))
    return shown


def _requests(requests: dict[tuple[str, str], Durations]) -> Metric:
    family = HistogramMetricFamily(
        PREFIX + "request_seconds",
        "Time from a request's head to its answer's end",
        labels=("operation", "status"),
    )
    for labels, durations in requests.items():
        family.add_metric(labels, _buckets(durations), durations.sum_s)
    return family


def _histogram(name: str, text: str, durations: Durations) -> Metric:
    return HistogramMetricFamily(PREFIX + name, text, buckets=_buckets(durations), sum_value=durations.sum_s)


def _buckets(durations: Durations) -> list[tuple[str, float]]:
    return list(zip(ENDS, map(float, accumulate(durations.counts)), strict=True))

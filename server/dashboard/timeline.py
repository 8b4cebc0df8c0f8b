"""The runs of a while, by agent and slot: who worked, who sat idle, who waited.

Which slot a run had is not told by anybody: the runs of an agent are laid into its rows as they fit. Runs
too short to be seen are drawn together.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from statistics import median
from typing import Final

from msgspec import Struct

from server.dashboard import words
from server.dashboard.costs import INTERRUPTED
from server.dashboard.fleet import MOST_FREE, Machine
from server.store.usage import Ending, Span, Waiting
from server.times import to_ms
from worker.api.wire import parse_instant
from worker.cli import human

__all__ = ["LANE", "WIDTH", "Bar", "Scale", "Track", "Wait", "tracks_of", "waits_of"]

WIDTH: Final = 100.0  # places and widths are percent, so that nothing is distorted
LANE: Final = 18  # pixels, height of a slot
SEEN: Final = 0.08  # the least width of a bar: a pixel of a window that is 1,200 wide
MOST_TICKS: Final = 7
TICKS_S: Final = (10, 30, 60, 300, 600, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 172800, 604800)
WORST: Final = ("failed", "interrupted", "cancelled", "running", "succeeded")
WORDS: Final = {
    Ending.RUNNING: "running",
    Ending.SUCCEEDED: "succeeded",
    Ending.FAILED: "failed",
    Ending.CANCELLED: "cancelled",
    **dict.fromkeys(INTERRUPTED, "interrupted"),
}
UNTOLD: Final = "agent not told"


class Scale(Struct, frozen=True):
    """Which time is drawn: milliseconds since 1970."""

    begin: int
    end: int

    def x(self, at: int) -> float:
        """Return where a moment lies; what is outside lies at the edge."""
        ratio = (at - self.begin) / max(1, self.end - self.begin)
        return round(min(max(ratio, 0.0), 1.0) * WIDTH, 3)

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Where the hours or minutes lie, and what they are called."""
        span_s = (self.end - self.begin) / 1000
        step_s = next((one for one in TICKS_S if span_s / one <= MOST_TICKS), TICKS_S[-1])
        first = -(-self.begin // (step_s * 1000)) * step_s * 1000
        form = "%b %d" if step_s >= 86400 else "%H:%M" if step_s >= 60 else "%H:%M:%S"
        return [
            (self.x(at), datetime.fromtimestamp(at / 1000, UTC).strftime(form))
            for at in range(first, self.end, step_s * 1000)
        ]


class Bar(Struct):
    """A run, or several that lie too close together to be told apart."""

    x: float
    width: float
    word: str  # of the worst of them
    label: str
    run_id: str  # of the longest of the worst
    count: int = 1


class Track(Struct, kw_only=True):
    """An agent: a row for each slot."""

    name: str
    lanes: list[list[Bar]]
    machine: Machine | None
    counts: Counter[str]  # of its runs
    spans: list[Span]
    undrawn: int = 0  # free slots that have no row
    busy: float | None = None  # which part of the time of its slots it worked; None: they are not known

    @property
    def height(self) -> int:
        """How high it is drawn."""
        return LANE * max(1, len(self.lanes))

    @property
    def told(self) -> str:
        """Its runs in words."""
        return ", ".join(f"{self.counts[word]:,} {word}" for word in WORST[::-1] if self.counts[word])


class Wait(Struct, frozen=True, kw_only=True):
    """How long tasks of a type wait."""

    task_type: str
    now: int = 0  # how many wait
    oldest_s: float | None = None
    begun: int = 0  # how many waited, and run or ran
    known: int = 0  # of how many of them it is known how long
    median_s: float | None = None
    longest_s: float | None = None
    longest_run: str | None = None


def tracks_of(spans: Iterable[Span], machines: Iterable[Machine], scale: Scale, now: int) -> list[Track]:
    """Return the agents that run or ran something, or could; by name.

    Args:
        spans: their runs.
        machines: what agents said of themselves.
        scale: what is drawn.
        now: when the runs were looked for, milliseconds since 1970; the scale may reach beyond it.
    """
    of_agent: dict[str, list[Span]] = defaultdict(list)
    for span in spans:
        of_agent[span.pod_id or UNTOLD].append(span)
    known = {machine.name: machine for machine in machines}
    named = sorted({*of_agent, *(name for name, one in known.items() if one.slots is not None)})
    return [_track(name, of_agent.get(name, []), known.get(name), scale, now) for name in named]


def _track(name: str, spans: list[Span], machine: Machine | None, scale: Scale, now: int) -> Track:
    spans = sorted(spans, key=lambda span: (span.started_at, span.id))
    lanes = [_bars(lane, scale) for lane in _lanes(spans, scale.end)]
    slots = machine.slots if machine is not None else None
    free = max(0, (slots or 0) - len(lanes))
    lanes += [[] for _ in range(min(free, MOST_FREE))]
    counts = Counter(WORDS[span.ending] for span in spans)
    track = Track(name=name, lanes=lanes, machine=machine, counts=counts, spans=spans)
    track.undrawn = max(0, free - MOST_FREE)
    if machine is not None:
        track.busy = _busy(spans, machine, scale.begin, now)
    return track


def _busy(spans: Iterable[Span], machine: Machine, begin: int, now: int) -> float | None:
    """Return which part of its slots' time an agent worked, since it began and as long as it was heard of."""
    heard = parse_instant(machine.last_seen) if machine.is_silent else None
    end = now if heard is None else min(now, to_ms(heard))
    if not machine.slots or machine.started_at is None:
        return None
    begin = max(begin, machine.started_at)
    worked_ms = sum(_overlap(span, begin, end) for span in spans)
    return min(1.0, worked_ms / (machine.slots * (end - begin))) if end > begin else None


def _overlap(span: Span, begin: int, end: int) -> int:
    until = end if span.stopped_at is None else min(span.stopped_at, end)
    return max(0, until - max(span.started_at, begin))


def _lanes(spans: Iterable[Span], now: int) -> list[list[Span]]:
    """Lay runs into as few rows as they fit into, in the order of their starts."""
    lanes: list[list[Span]] = []
    ends: list[int] = []
    for span in spans:
        end = now if span.stopped_at is None else span.stopped_at
        free = next((number for number, until in enumerate(ends) if until <= span.started_at), None)
        if free is None:
            lanes.append([])
            ends.append(0)
            free = len(lanes) - 1
        lanes[free].append(span)
        ends[free] = end
    return lanes


def _bars(lane: Iterable[Span], scale: Scale) -> list[Bar]:
    bars: list[Bar] = []
    width = 0.0
    for span in lane:
        bar = _bar(span, scale)
        last = bars[-1] if bars else None
        if last is None or bar.x >= last.x + SEEN:
            bars.append(bar)
            width = bar.width  # of the one to which it leads
            continue
        last.count += 1
        last.width = max(last.width, bar.x + bar.width - last.x)
        if (WORST.index(bar.word), -bar.width) < (WORST.index(last.word), -width):
            last.word, last.run_id, width = bar.word, bar.run_id, bar.width
        last.label = f"{last.count:,} runs, too close to be told apart, the worst {last.word}"
    return bars


def _bar(span: Span, scale: Scale) -> Bar:
    end = scale.end if span.stopped_at is None else span.stopped_at
    x = scale.x(span.started_at)
    since = f"since {words.clock_of(span.started_at)}"
    told = since if span.stopped_at is None else human.duration(span.took_s)
    label = f"{words.name_of(span.title, span.task_type)}: {WORDS[span.ending]}, {told}"
    return Bar(x, max(SEEN, round(scale.x(end) - x, 3)), WORDS[span.ending], label, span.id)


def waits_of(spans: Sequence[Span], waiting: Iterable[Waiting], scale: Scale, now: int) -> list[Wait]:
    """Return how long tasks waited that were claimed in that time, and those that wait now; by type."""
    begun: dict[str, list[Span]] = defaultdict(list)
    for span in spans:
        if span.made_at >= scale.begin:
            begun[span.task_type].append(span)
    pending = {one.task_type: one for one in waiting}
    return [
        _wait(type_, begun.get(type_, []), pending.get(type_), now) for type_ in sorted({*begun, *pending})
    ]


def _wait(type_: str, begun: list[Span], pending: Waiting | None, now: int) -> Wait:
    # A run before it that was reported on after this claim hides when that run ended: its wait is unknown.
    known = [span for span in begun if span.wanted_at <= span.made_at]
    waited = [(span.made_at - span.wanted_at) / 1000 for span in known]
    longest = max(known, key=lambda span: span.made_at - span.wanted_at, default=None)
    return Wait(
        task_type=type_,
        now=pending.tasks if pending else 0,
        oldest_s=max(0, now - pending.oldest_at) / 1000 if pending else None,
        begun=len(begun),
        known=len(known),
        median_s=median(waited) if waited else None,
        longest_s=max(waited, default=None),
        longest_run=longest.id if longest else None,
    )

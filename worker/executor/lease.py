"""How long a run may go on without an answer from the server, which gives its task away afterwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

__all__ = ["Lease"]

MARGIN_MOST_S: Final = 5.0  # before the end: for the freezing of a large tree, and clocks that drift
MARGIN_RATIO: Final = 0.25  # of a short lease


class Lease:
    """The lease of one run; without one (most servers give none) the run may be silent for ever.

    It counts from the sending of a request that was answered, since the server counts from its coming,
    which is later. Times are of a clock that never jumps and counts a machine's sleep. Used on the event
    loop's thread.
    """

    def __init__(self) -> None:
        """Start without a lease."""
        self._length_s: float | None = None
        self._end_mono = float("inf")
        self.heard_mono: float | None = None  # when the last request that was answered was sent
        self.on_renewed: Callable[[], None] = lambda: None

    @property
    def length_s(self) -> float | None:
        """How long the server lets a run be silent; None where it does not say."""
        return self._length_s

    @property
    def freeze_mono(self) -> float:
        """When the run must stand still, if no answer comes before; infinity without a lease."""
        if self._length_s is None:
            return float("inf")
        return self._end_mono - min(MARGIN_MOST_S, self._length_s * MARGIN_RATIO)

    def renew(self, asked_mono: float, length_s: float | None) -> None:
        """Take an answer to a report or claim.

        Args:
            asked_mono: when its request was sent.
            length_s: the lease that it tells; None (also where a proxy took it out) keeps the last one.
        """
        self.heard_mono = max(asked_mono, self.heard_mono or asked_mono)
        length_s = length_s or self._length_s
        if length_s is None:
            return
        end_mono = asked_mono + length_s
        is_first = self._length_s is None
        self._length_s = length_s
        self._end_mono = end_mono if is_first else max(self._end_mono, end_mono)
        self.on_renewed()

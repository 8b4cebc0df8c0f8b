"""GPUs on which run after run fails at once: nothing is given to them for a while, then one run tries."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final

import structlog
from msgspec import Struct, field

from worker.api.wire import ErrorKind, ResultCode
from worker.clock import Clock
from worker.executor.outcome import Outcome

__all__ = ["Quarantine", "Verdict", "verdict_of"]

FAULTS: Final = 3  # tasks in a row that failed at once, different ones: a bad task is not a bad GPU
FAST_S: Final = 30.0  # a run that lasts longer does not eat the queue
TIMES_MAX: Final = 4  # doublings of the time
# What a sick GPU makes of a run. Not out_of_memory, timeout: those are the task's own, or take long; nor
# internal: that is a fault of the agent.
BROKEN: Final = frozenset({ErrorKind.CRASHED, ErrorKind.HANDLER_ERROR})
Verdict = bool | None  # a run went well, failed as on a sick GPU, or tells nothing
log = structlog.get_logger()


class Ward(Struct):
    """What is known of one GPU."""

    faults: list[str] = field(default_factory=list)  # tasks since the last success, each once
    times: int = 0  # quarantines since then
    until_mono: float | None = None  # while and after one; then a run may try
    tried_by: str | None = None  # the task that does


class Quarantine:
    """Open, shut, half-open: as a circuit breaker, one per GPU."""

    def __init__(
        self,
        clock: Clock,
        pause_s: float,
        on_change: Callable[[Mapping[str, datetime]], None] = lambda until: None,
    ) -> None:
        """Shut nothing yet.

        Args:
            clock: for how long.
            pause_s: the length of the first quarantine; 0: there is none.
            on_change: told until when each GPU is shut, when that changes.
        """
        self._clock = clock
        self._on_change = on_change
        self._pause_s = pause_s
        self._wards: dict[str, Ward] = {}

    def reason(self, uuid: str) -> str | None:
        """Return why a GPU may be given to no run now; None where it may."""
        ward = self._wards.get(uuid)
        if ward is None or ward.until_mono is None:
            return None
        if ward.tried_by is not None:
            return f"it is in quarantine, and the run of task {ward.tried_by} tries it"
        left_s = ward.until_mono - self._clock.mono()
        if left_s <= 0:
            return None
        return f"it is in quarantine for {left_s:.0f} s more: {len(ward.faults)} tasks in a row failed on it"

    def left_s(self, uuid: str) -> float | None:
        """Return how long a GPU is shut still, 0 while a run tries it; None where it is not shut."""
        ward = self._wards.get(uuid)
        if ward is None or ward.until_mono is None or self.reason(uuid) is None:
            return None
        return max(0.0, ward.until_mono - self._clock.mono())

    def is_doubted(self, uuid: str) -> bool:
        """Tell whether the next run on a GPU is a trial."""
        ward = self._wards.get(uuid)
        return ward is not None and ward.until_mono is not None

    def begin(self, uuids: Iterable[str], task_id: str) -> None:
        """Know that a run is given GPUs; of those in quarantine it is the trial."""
        for uuid in uuids:
            if self.is_doubted(uuid) and self.reason(uuid) is None:
                self._wards[uuid].tried_by = task_id
                log.info("gpu.tried", gpu=uuid, task_id=task_id)

    def end(self, uuids: Iterable[str], task_id: str, verdict: Verdict) -> None:
        """Know how a run ended on the GPUs that it had; None also where it did not begin."""
        for uuid in uuids:
            ward = self._wards.setdefault(uuid, Ward())
            is_trial = ward.tried_by == task_id
            if is_trial:
                ward.tried_by = None
            if verdict is True:
                self._wards[uuid] = Ward()
                if ward.until_mono is not None:
                    self._tell()
                    log.info("gpu.recovered", gpu=uuid)
            elif verdict is False and self._pause_s > 0:
                self._fail(uuid, ward, task_id, is_trial)

    def _fail(self, uuid: str, ward: Ward, task_id: str, is_trial: bool) -> None:
        if task_id not in ward.faults:
            ward.faults.append(task_id)
        del ward.faults[: -2 * FAULTS]
        is_shut = ward.until_mono is not None and not is_trial  # by another run on it
        if is_shut or (len(ward.faults) < FAULTS and not is_trial):
            return
        pause_s = self._pause_s * 2 ** min(ward.times, TIMES_MAX)
        ward.times += 1
        ward.until_mono = self._clock.mono() + pause_s
        hint = "then one run tries it; `nvidia-smi`, dmesg and the errors of these runs say more"
        self._tell()
        log.error("gpu.quarantined", gpu=uuid, for_s=pause_s, tasks=ward.faults[-FAULTS:], hint=hint)

    def _tell(self) -> None:
        now, now_mono = self._clock.now(), self._clock.mono()
        self._on_change(
            {
                uuid: now + timedelta(seconds=ward.until_mono - now_mono)
                for uuid, ward in self._wards.items()
                if ward.until_mono is not None
            }
        )


def verdict_of(outcome: Outcome) -> Verdict:
    """Return what the end of a run says of its GPU.

    A handler that fails on purpose (`Fail`, `Retry`: no traceback) speaks of its input, and a run that came
    to no process (its wall time is not known) of nothing.
    """
    if outcome.code is ResultCode.SUCCESS:
        return True
    error, wall_s = outcome.error, outcome.usage.wall_s
    if error is None or error.kind not in BROKEN or wall_s is None or wall_s > FAST_S:
        return None
    if error.kind is ErrorKind.HANDLER_ERROR and error.traceback is None:
        return None
    return False

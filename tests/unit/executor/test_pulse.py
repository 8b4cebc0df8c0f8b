"""When the minder counts as silent: by looks at it, without a timer."""

from __future__ import annotations

from worker.executor.pulse import AGAIN_S, SILENT_S, STEP_S, Pulse

LOOK_S = 10.0  # between two beats of a watchdog


class Watched:
    """A pulse, its clock, and how often it asked."""

    def __init__(self) -> None:
        """Begin now."""
        self.now_s = 1000.0
        self.asked = 0
        self.pulse = Pulse(lambda: self.now_s)

    def look(self, after_s: float = LOOK_S) -> bool:
        """Look once more, after so long."""
        self.now_s += after_s
        return self.pulse.is_silent(self._ask)

    def _ask(self) -> None:
        self.asked += 1


def test_a_minder_that_answers_is_never_silent() -> None:
    """However seldom somebody looks: what is owed is owed from a question on."""
    it = Watched()
    for after_s in (LOOK_S, 0.0, 3600.0, 86400.0):
        assert not it.look(after_s)
        it.pulse.forget()


def test_silence_is_told_after_its_time_and_not_at_it() -> None:
    """One question is enough for it."""
    it = Watched()
    it.look()
    assert not any(it.look() for _ in range(int(SILENT_S / LOOK_S)))
    assert it.look()
    assert it.asked == 1


def test_a_late_answer_ends_the_silence() -> None:
    """It only was slow."""
    it = Watched()
    while not it.look():
        pass
    it.pulse.forget()
    assert not it.pulse.silent
    assert not it.look()


def test_a_machine_that_stood_still_for_an_hour_does_not_make_the_minder_silent() -> None:
    """Agent and minder were frozen together; the answer comes as soon as the minder has had its turn."""
    it = Watched()
    it.look()
    assert not it.look(3600.0)
    for _ in range(int(SILENT_S / STEP_S) - 1):
        assert not it.look(3600.0)
    assert it.look(3600.0)


def test_many_looks_at_once_ask_no_more_than_one() -> None:
    """A page that is asked a hundred times in a second does not wake the minder as often."""
    it = Watched()
    for _ in range(100):
        it.look(AGAIN_S / 200)
        it.pulse.forget()
    assert it.asked == 1

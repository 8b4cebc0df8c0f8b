"""In which word an entry of the journal stands."""

from __future__ import annotations

import pytest

from tests.unit.reporting.samples import REPORT, entry
from worker.agent.recovery import KEPT
from worker.reporting.delivery import Delivered
from worker.reporting.entry_state import EntryState, outcome_of, state_of
from worker.reporting.records import DELIVERED_MARK, Entry
from worker.storage.file import SpooledFile
from worker.usage.usage import Usage

FILE = SpooledFile(name="a.txt", path="run-1/0", size_bytes=3, sha256="0" * 64, content_type="text/plain")


@pytest.mark.parametrize(
    ("one", "state"),
    [
        (entry(), EntryState.CLAIMED),
        (entry(pid=7), EntryState.RUNNING),
        (entry(usage=Usage()), EntryState.RUNNING),
        (entry(ended=REPORT, files=(FILE,)), EntryState.ENDED),
        (entry(terminal=REPORT, files=(FILE,), marks=(DELIVERED_MARK,)), EntryState.ENDED),
        (entry(terminal=REPORT), EntryState.ON_ITS_WAY),
        (entry(terminal=REPORT, marks=("probe|x|y", "refused")), EntryState.REFUSED),
        (entry(terminal=REPORT, marks=("reduced",)), EntryState.REDUCED),
        (entry(ended=REPORT, files=(FILE,), marks=("reduced", "fenced")), EntryState.FENCED),
    ],
)
def test_an_entry_has_the_word_of_the_furthest_that_it_came(one: Entry, state: EntryState) -> None:
    """From the claim to what a person must look at."""
    assert state_of(one) is state


def test_a_person_is_needed_where_the_agent_does_nothing_more() -> None:
    """The words of the delivery, of the recovery and of the list are the same."""
    needed = {str(state) for state in EntryState if state.needs_a_person}
    assert needed == KEPT == {one.value for one in (Delivered.FENCED, Delivered.REDUCED, Delivered.REFUSED)}


def test_an_outcome_is_known_before_its_files_are_stored() -> None:
    """It is what an export keeps."""
    assert outcome_of(entry()) is None
    assert outcome_of(entry(ended=REPORT)) == outcome_of(entry(terminal=REPORT)) == REPORT

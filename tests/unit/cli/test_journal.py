"""`millhand journal` on real journals: of agents that are gone, that work, and whose disk did harm."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.conftest import Cli
from tests.unit.reporting.samples import REPORT, entry
from worker.agent.statedir import StateDir
from worker.cli.exits import ExitCode
from worker.reporting.disk import DiskIO
from worker.reporting.journal import Journal
from worker.reporting.onlook import look
from worker.storage.file import MadeFile, SpooledFile
from worker.storage.spool import Spool

FENCED, SENT, GOING, FILED = "aaaa1111", "bbbb2222", "cccc3333", "cccc4444"
TOKEN = "tok-5f1e77aa90b2c3"


async def left(state: Path) -> None:
    """Leave what an agent leaves: one run of each kind."""
    spool = Spool(state / "spool", 1 << 20)
    made = state / "made.txt"
    journal = await Journal.open(DiskIO(state / "journal"))
    for run_id in (FENCED, SENT, GOING, FILED):
        await journal.intent(entry(run_id, task_type="render"))
    results = {"results": {"value": 42, "echo": f"I saw {TOKEN}"}}
    await journal.terminal(FENCED, REPORT | results)
    await journal.mark(FENCED, "fenced")
    await journal.terminal(SENT, REPORT)
    made.write_text("abc")
    files = await spool.take(FILED, [MadeFile(path=made, name="made.txt")], state)
    await journal.ended(FILED, REPORT, files)
    await journal.aclose()


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the state folder of an agent that has stopped, as the setting."""
    folder = tmp_path / "state"
    folder.mkdir()
    asyncio.run(left(folder))
    monkeypatch.setenv("MILLHAND_STATE_DIR", str(folder))
    return folder


def listed(cli: Cli) -> dict[str, Any]:
    """Return what the list says, by run."""
    ran = cli("journal", "--json")
    assert ran.code == 0, ran.err
    return {one["run"]: one for one in json.loads(ran.out)["entries"]}


def test_the_list_says_of_each_run_where_it_stands(state: Path, cli: Cli) -> None:
    """For programs by JSON, for people in a table with what is to be done."""
    entries = listed(cli)
    assert {run: one["state"] for run, one in entries.items()} == {
        FENCED: "fenced", SENT: "on its way", GOING: "claimed", FILED: "ended",
    }  # fmt: skip
    assert (entries[FILED]["files"], entries[FILED]["filesBytes"], entries[FILED]["type"]) == (1, 3, "render")
    shown = cli("journal", "list", "--no-json")
    assert all(run in shown.out for run in entries)
    assert "1 fenced" in shown.err
    assert "millhand journal export" in shown.err


def test_a_journal_is_read_beside_the_agent_that_uses_it(state: Path, cli: Cli) -> None:
    """The list says who uses it; changes are refused with what to do, and change nothing."""
    before = {path.name: path.read_bytes() for path in (state / "journal").iterdir()}
    with StateDir.acquire(state):
        said = json.loads(cli("journal", "list", "--json").out)
        assert (said["agentPid"] is not None, len(said["entries"])) == (True, 4)
        assert cli("journal", "show", FENCED).code == 0
        for change in (("retry", FENCED), ("drop", FENCED, "--yes")):
            ran = cli("journal", *change)
            assert ran.code == ExitCode.CONFIGURATION
            assert "in use by another agent (pid" in ran.err
            assert "stop it first" in ran.err
    assert {path.name: path.read_bytes() for path in (state / "journal").iterdir()} == before
    assert json.loads(cli("journal", "list", "--json").out)["agentPid"] is None


def test_one_entry_is_shown_whole_by_the_start_of_its_id_without_the_token(
    state: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Outcome, results, files with where they lie; what we know as a secret is taken out."""
    monkeypatch.setenv("MILLHAND_TOKEN", TOKEN)
    ran = cli("journal", "show", FENCED[:5], "--json")
    shown = json.loads(ran.out)
    assert (shown["run"], shown["state"], shown["outcome"]["results"]["value"]) == (FENCED, "fenced", 42)
    assert TOKEN not in ran.out
    filed = json.loads(cli("journal", "show", FILED).out)
    assert Path(filed["files"][0]["path"]).read_text() == "abc"
    text = cli("journal", "show", FENCED, "--no-json").out
    assert '"value": 42' in text
    assert TOKEN not in text


@pytest.mark.parametrize(
    ("named", "said"), [("cccc", "start of 2 runs"), ("aaa", "1 run"), ("dddd5555", "not open")]
)
def test_a_run_that_is_not_told_beyond_doubt_is_a_usage_error(
    state: Path, cli: Cli, named: str, said: str
) -> None:
    """Nothing is done to a run that was not meant."""
    ran = cli("journal", "show", named)
    assert (ran.code, said in ran.err) == (ExitCode.USAGE, True), ran.err


def test_outcomes_are_exported_once_into_a_new_file(state: Path, cli: Cli, tmp_path: Path) -> None:
    """By default all that have one; a file that is there stays as it is."""
    file = tmp_path / "kept.jsonl"
    ran = cli("journal", "export", str(file))
    assert ran.code == 0
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert {line["run"] for line in lines} == {FENCED, SENT, FILED}
    assert next(line for line in lines if line["run"] == FENCED)["outcome"]["results"]["value"] == 42
    assert "1 file(s)" in ran.err
    before = file.read_bytes()
    again = cli("journal", "export", str(file), FENCED)
    assert (again.code, file.read_bytes()) == (ExitCode.USAGE, before)
    assert "exists already" in again.err
    assert len(listed(cli)) == 4


def test_an_entry_is_dropped_only_where_its_outcome_is_kept(state: Path, cli: Cli, tmp_path: Path) -> None:
    """The export is looked into: another run's does not count, nor one that was changed."""
    file, other = tmp_path / "kept.jsonl", tmp_path / "other.jsonl"
    assert cli("journal", "export", str(file), FENCED).code == 0
    assert cli("journal", "export", str(other), SENT).code == 0
    (tmp_path / "nonsense").write_text("nonsense")
    for args in ((), ("--exported", str(other)), ("--exported", str(tmp_path / "nonsense"))):
        assert cli("journal", "drop", FENCED, *args).code == ExitCode.USAGE
    assert FENCED in listed(cli)
    ran = cli("journal", "drop", FENCED, "--exported", str(file))
    assert ran.code == 0, ran.err
    assert set(listed(cli)) == {SENT, GOING, FILED}


def test_files_that_are_not_stored_are_dropped_only_by_word(state: Path, cli: Cli, tmp_path: Path) -> None:
    """No export holds them; with --yes they go, and the files of others stay."""
    file = tmp_path / "kept.jsonl"
    assert cli("journal", "export", str(file)).code == 0
    ran = cli("journal", "drop", FILED, "--exported", str(file))
    assert (ran.code, "not stored" in ran.err) == (ExitCode.USAGE, True)
    assert (state / "spool" / FILED / "0").exists()
    assert cli("journal", "drop", FILED, "--yes").code == 0
    assert not (state / "spool" / FILED).exists()
    assert FILED not in listed(cli)


def test_a_run_that_is_not_over_is_not_dropped_by_mistake(state: Path, cli: Cli) -> None:
    """Its next agent would close it; without the entry nobody does."""
    ran = cli("journal", "drop", GOING)
    assert (ran.code, "is not over" in ran.err) == (ExitCode.USAGE, True)
    assert cli("journal", "drop", GOING, "--yes").code == 0
    assert GOING not in listed(cli)


def break_middle(content: bytes) -> bytes:
    """Return a segment with a damaged record in its middle."""
    return content.replace(SENT.encode(), b"bbbb2X22", 1)


def tear(content: bytes) -> bytes:
    """Return a segment whose last record is not whole."""
    return content.rstrip(b"\0")[:-7]


@pytest.mark.parametrize(("harm", "said"), [(break_middle, "damaged"), (tear, "not whole")])
def test_a_damaged_journal_is_read_and_told_but_not_changed(
    state: Path, cli: Cli, harm: Callable[[bytes], bytes], said: str
) -> None:
    """The next agent must see the damage itself: then it keeps the files of runs that it cannot name."""
    (segment,) = (state / "journal").iterdir()
    segment.write_bytes(harm(segment.read_bytes()))
    ran = cli("journal", "list", "--json")
    assert (ran.code, said in ran.err) == (0, True)
    assert FENCED in {one["run"] for one in json.loads(ran.out)["entries"]}
    harmed = segment.read_bytes()
    for change in (("retry", FENCED), ("drop", FENCED, "--yes")):
        refused = cli("journal", *change)
        assert (refused.code, "start the agent once" in refused.err) == (ExitCode.CONFIGURATION, True)
    assert [path.read_bytes() for path in (state / "journal").iterdir()] == [harmed]


def test_a_folder_without_a_journal_is_told_and_not_made(tmp_path: Path, cli: Cli) -> None:
    """A slip in the path must not look like an empty journal."""
    for args in ((), ("retry", "aaaa"), ("drop", "aaaa", "--yes"), ("export", str(tmp_path / "x"))):
        ran = cli("journal", *(args or ("list",)), "--state-dir", str(tmp_path / "none"))
        assert (ran.code, "no agent has kept a journal" in ran.err) == (ExitCode.CONFIGURATION, True)
    assert not (tmp_path / "none").exists()


def test_an_empty_journal_says_so(tmp_path: Path, cli: Cli) -> None:
    """Nothing open is good news."""

    async def main() -> None:
        await (await Journal.open(DiskIO(tmp_path / "journal"))).aclose()

    asyncio.run(main())
    ran = cli("journal", "--state-dir", str(tmp_path), "--no-json")
    assert (ran.code, ran.out) == (0, "")
    assert "nothing is open" in ran.err


def test_dropping_leaves_a_journal_that_an_agent_can_go_on_with(state: Path, cli: Cli) -> None:
    """The same entries, and no longer the one that was dropped."""
    before = look(state / "journal").entries
    assert cli("journal", "drop", SENT, "--yes").code == 0
    after = look(state / "journal").entries
    assert dict(after) == {run: one for run, one in before.items() if run != SENT}
    assert all(isinstance(file, SpooledFile) for file in after[FILED].files)


@pytest.mark.parametrize(
    ("words", "count", "offered"), [("journal re", 2, "plain,retry"), ("re", 1, "plain,reap")]
)
def test_the_shell_completes_its_verbs(words: str, count: int, offered: str) -> None:
    """As it completes commands."""
    env = {"_MILLHAND_COMPLETE": "bash_complete", "COMP_WORDS": f"millhand {words}", "COMP_CWORD": str(count)}
    ran = subprocess.run(
        [sys.executable, "-P", "-m", "worker.cli.main"],
        capture_output=True, text=True, env=env, check=False, timeout=30,
    )  # fmt: skip
    assert offered in ran.stdout.split()

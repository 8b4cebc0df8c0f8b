"""What there is to run, known without importing it here."""

import asyncio
import sys
from pathlib import Path

import pytest

from tests.unit.executor.bench import bench, is_running, within_limit
from worker.api.wire import ErrorKind, ResultCode
from worker.executor import describer as describer_module
from worker.executor.asking import Answer
from worker.executor.catalogue import Catalogue, HandlerEntry, open_catalogue
from worker.executor.describer import Describer
from worker.executor.executor import ProgressEvent
from worker.executor.installed import installed_handlers
from worker.executor.local import NoSuchHandler, run_local

TWO = '''
from worker import Context, handler

print("printed at import")

@handler("first", timeout_s=7)
def one(ctx: Context, *, size: int = 3) -> int:
    """Return a size.

    More.
    """
    ctx.progress(0.5)
    return size

@handler()
def second_type(ctx: Context) -> None: ...
'''


def opened(
    *handlers: Path | str, cache: Path | None = None, installed: list[HandlerEntry] | None = None
) -> Catalogue:
    """Open a catalogue of sources, with nothing installed but what is given."""
    found: list[Catalogue] = []

    async def scenario() -> None:
        found.append(
            await open_catalogue([str(item) for item in handlers], Describer(cache), installed or [])
        )

    within_limit(scenario())
    return found[0]


def test_a_file_tells_its_handlers_without_an_import_here(tmp_path: Path) -> None:
    """Types, docs, schema and options come from a describing child; its prints do no harm."""
    path = tmp_path / "two.py"
    path.write_text(TWO)
    catalogue = opened(path)
    assert catalogue.types == ("first", "second-type")
    assert catalogue.problems == ()
    entry = catalogue.get("first")
    assert entry is not None
    assert entry.target == str(path)
    assert (entry.summary, entry.options["timeout_s"]) == ("Return a size.", 7)
    assert entry.schema is not None
    assert entry.schema["properties"] == {"size": {"type": "integer", "default": 3}}
    assert "millhand_file_two" not in sys.modules


def test_a_broken_source_spoils_nothing_else(tmp_path: Path) -> None:
    """Each problem has its source, its message and the author's traceback."""
    (tmp_path / "good.py").write_text(TWO)
    (tmp_path / "broken.py").write_text("def f():\n    import not_installed\nf()\n")
    (tmp_path / "dies.py").write_text("import os\nos._exit(3)\n")
    (tmp_path / "empty.py").write_text("x = 1\n")
    (tmp_path / "_private.py").write_text("raise RuntimeError\n")
    catalogue = opened(tmp_path, "no.such.module", tmp_path / "none.py", "not a name")
    assert catalogue.types == ("first", "second-type")
    problems = {Path(problem.source).name: problem for problem in catalogue.problems}
    assert problems.keys() == {"broken.py", "dies.py", "empty.py", "no.such.module", "none.py", "not a name"}
    assert "not_installed" in problems["broken.py"].message
    assert "line 2, in f" in (problems["broken.py"].traceback or "")
    assert "ended with 3" in problems["dies.py"].message
    assert "no handler" in problems["empty.py"].message


def test_an_installed_handler_that_cannot_be_imported_is_unavailable(tmp_path: Path) -> None:
    """An extra that is not installed takes its type away, with the reason; it is not claimed."""
    entry = HandlerEntry(type="mesh", target="not_installed_here:mesh", source="somebody 1.0")
    catalogue = opened(installed=[entry])
    assert catalogue.types == ()
    assert catalogue.get("mesh") is None
    assert "not_installed_here" in (catalogue.entries["mesh"].problem or "")


def test_the_users_handler_wins_with_a_warning(tmp_path: Path) -> None:
    """Of two sources for one type the later one counts, and nobody is left to wonder."""
    path = tmp_path / "mine.py"
    path.write_text("from worker import handler\n@handler('noop')\ndef mine(ctx): ...\n")
    installed = HandlerEntry(type="noop", target="handlers.noop:noop", source="millhand 0")
    catalogue = opened(path, installed=[installed])
    assert catalogue.entries["noop"].target == str(path)
    assert len(catalogue.warnings) == 1
    assert "replaces handlers.noop:noop" in catalogue.warnings[0]


def test_handlers_are_found_however_they_were_made(tmp_path: Path) -> None:
    """By a factory, under two names, imported into a package; but not those of other packages."""
    package = tmp_path / "studio"
    package.mkdir()
    (package / "steps.py").write_text(
        "from worker import handler\n"
        "def make(name):\n    @handler(name)\n    def made(ctx): return name\n    return made\n"
        "one = make('one')\nalias = one\n"
    )
    (package / "__init__.py").write_text(
        "from studio.steps import one, alias, make\nfrom handlers.noop import noop\ntwo = make('two')\n"
    )
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(tmp_path)}

    async def scenario() -> None:
        catalogue = await open_catalogue(["studio"], Describer(None, environment=environment), [])
        assert catalogue.types == ("one", "two")
        assert catalogue.warnings == ()
        async with bench(tmp_path, environment=environment, catalogue=catalogue) as it:
            assert (await it.run("two")).value == {"value": "two"}

    within_limit(scenario())


def test_a_signature_that_cannot_be_checked_makes_a_handler_unavailable(tmp_path: Path) -> None:
    """The reason names the handler and the parameter."""
    path = tmp_path / "odd.py"
    path.write_text("from worker import handler\n@handler()\ndef odd(ctx, *sizes): ...\n")
    catalogue = opened(path)
    assert catalogue.types == ()
    assert "sizes" in (catalogue.entries["odd"].problem or "")


def test_answers_are_remembered_until_the_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second start asks no child; an edit does; a broken answer is never kept."""
    asked: list[str] = []
    answer = Describer._answer

    def counting(self: Describer, targets: list[str]) -> Answer:
        asked.extend(Path(target).name for target in targets)
        return answer(self, targets)

    monkeypatch.setattr(describer_module.Describer, "_answer", counting)  # who is asked, which no part tells
    path, broken = tmp_path / "two.py", tmp_path / "broken.py"
    path.write_text(TWO)
    broken.write_text("raise RuntimeError\n")
    first = opened(path, broken, cache=tmp_path / "cache")
    assert sorted(asked) == ["broken.py", "two.py"]
    assert opened(path, broken, cache=tmp_path / "cache") == first
    assert sorted(asked) == ["broken.py", "broken.py", "two.py"]
    path.write_text(TWO.replace('"first"', '"renamed"'))
    assert opened(path, cache=tmp_path / "cache").types == ("renamed", "second-type")
    (tmp_path / "cache" / "handlers.json").write_text("garbage")
    assert opened(path, cache=tmp_path / "cache").types == ("renamed", "second-type")


def test_several_are_asked_by_one_child_and_none_spoils_the_answer_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not by what it leaves in its process, nor by crashing; who gave no answer is asked alone then."""
    asked: list[list[str]] = []
    answer = Describer._answer

    def noting(self: Describer, targets: list[str]) -> Answer:
        asked.append([Path(target).name for target in targets])
        return answer(self, targets)

    monkeypatch.setattr(describer_module.Describer, "_answer", noting)  # who is asked, which no part tells
    (tmp_path / "crash.py").write_text("import os\nos._exit(7)\n")
    (tmp_path / "first.py").write_text("import worker\nworker.handler = worker.Context = None\n")
    (tmp_path / "second.py").write_text(TWO)
    catalogue = opened(tmp_path)
    assert catalogue.types == ("first", "second-type")
    crashed, empty = catalogue.problems
    assert "ended with 7" in crashed.message
    assert "has no handler" in empty.message
    assert asked == [["crash.py", "first.py", "second.py"], ["crash.py"]]


def test_an_import_that_hangs_is_a_problem_of_its_source(tmp_path: Path) -> None:
    """The time limit ends the describing child."""
    path = tmp_path / "hangs.py"
    path.write_text("import time\ntime.sleep(600)\n")

    async def scenario() -> None:
        catalogue = await open_catalogue([str(path)], Describer(None, timeout_s=0.5), [])
        assert "longer than 0.5 s" in catalogue.problems[0].message

    within_limit(scenario())


def test_a_process_that_an_import_leaves_running_holds_up_no_answer(tmp_path: Path) -> None:
    """It holds the pipes of who is asked: nobody waits for their end once that one is gone."""
    starts = 'import subprocess\nsubprocess.Popen(["sleep", "600"], start_new_session=True)\n'
    for name in ("one", "two"):
        (tmp_path / f"{name}.py").write_text(
            f"{starts}from worker import handler\n@handler()\ndef {name}(ctx: object) -> None: ...\n"
        )

    async def scenario() -> None:
        for source, types in ((tmp_path / "one.py", ("one",)), (tmp_path, ("one", "two"))):
            async with asyncio.timeout(20):
                catalogue = await open_catalogue([str(source)], Describer(None), [])
            assert (catalogue.types, catalogue.problems) == (types, ())

    within_limit(scenario())


def test_built_in_handlers_are_known_by_metadata() -> None:
    """Entry points name type and target; nothing is imported."""
    entries = {entry.type: entry for entry in installed_handlers().entries}
    assert entries["noop"].target == "handlers.noop:noop"
    assert entries["noop"].source.startswith("millhand ")


def test_one_handler_runs_here_without_a_server(tmp_path: Path) -> None:
    """By its file, by file and type, or by its type."""
    path = tmp_path / "two.py"
    path.write_text(TWO)
    events: list[object] = []

    async def scenario() -> None:
        outcome, _ = await run_local(
            f"{path}:first", {"size": "5"}, events.append, state_dir=tmp_path / "state"
        )
        assert (outcome.code, outcome.value) == (ResultCode.SUCCESS, {"value": 5})
        by_type, _ = await run_local(
            "first", {}, events.append, state_dir=tmp_path / "state", handlers=(str(path),)
        )
        assert by_type.value == {"value": 3}
        wrong, _ = await run_local(
            f"{path}:first", {"size": "x"}, events.append, state_dir=tmp_path / "state"
        )
        assert wrong.error is not None
        assert wrong.error.kind is ErrorKind.INVALID_PARAMETERS

    within_limit(scenario())
    assert ProgressEvent(0.5) in events


def test_what_cannot_run_here_says_what_could(tmp_path: Path) -> None:
    """A file with several handlers, a wrong type, a broken file."""
    (tmp_path / "two.py").write_text(TWO)
    (tmp_path / "broken.py").write_text("import not_installed\n")

    def refusal(what: str) -> str:
        with pytest.raises(NoSuchHandler) as raised:
            asyncio.run(run_local(what, {}, lambda _: None, state_dir=tmp_path / "state"))
        return str(raised.value)

    assert "two.py:first" in refusal(str(tmp_path / "two.py"))
    assert "there are: first, second-type" in refusal(f"{tmp_path / 'two.py'}:third")
    assert "not_installed" in refusal(str(tmp_path / "broken.py"))
    assert "no-such-type" in refusal("no-such-type")


def test_what_an_import_started_does_not_outlive_its_description(tmp_path: Path) -> None:
    """A module that leaves a daemon behind when it is imported leaves none to the agent."""
    (tmp_path / "daemon.py").write_text(
        "import subprocess\nfrom worker import Context, handler\n"
        f"daemon = subprocess.Popen(['setsid', 'sleep', '1000'], stdout=-3, stderr=-3)\n"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(daemon.pid))\n"
        "@handler('quiet')\ndef quiet(ctx: Context) -> None:\n    pass\n"
    )
    catalogue = asyncio.run(open_catalogue((str(tmp_path / "daemon.py"),), Describer(None), installed=()))
    assert catalogue.types == ("quiet",)
    assert not is_running(int((tmp_path / "pid").read_text()))


def test_a_handler_that_this_machine_lacks_something_for_is_not_broken(tmp_path: Path) -> None:
    """Its author's sentence is all that is said: no cure is guessed, no traceback is shown."""
    (tmp_path / "drawing.py").write_text(
        "from worker import Unavailable\nraise Unavailable('draws with a pencil, and there is none')\n"
    )
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(tmp_path)}
    entry = HandlerEntry(type="draw", target="drawing:draw", source="millhand 0", distribution="millhand")
    found: list[Catalogue] = []

    async def scenario() -> None:
        found.append(await open_catalogue([], Describer(None, environment=environment), [entry]))

    within_limit(scenario())
    drawing = found[0].entries["draw"]
    assert drawing.problem == "draws with a pencil, and there is none"
    assert (drawing.is_broken, drawing.traceback) == (False, None)
    assert found[0].types == ()

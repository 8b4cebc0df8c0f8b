"""On macOS an author's tests run in-process, and what needs Linux says so in one sentence.

No Mac is at hand: an interpreter of Linux has what only Linux has taken away (`elsewhere/sitecustomize.py`).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
HOME = HERE.parents[1]
REASON = "handlers run on Linux, and this is macOS"
LIMIT_S = 120.0
TESTS = """
import pytest
from worker import Cancelled, Context, Fail, handler
from worker.testing import check_handler


@handler()
def words(ctx: Context, *, input: str) -> dict[str, int]:
    lines = ctx.input(input).read_text().splitlines()
    for done, line in enumerate(lines, 1):
        ctx.check()
        ctx.checkpoint(done)
        ctx.progress(done / len(lines))
    (ctx.workdir / "out.txt").write_text("made")
    ctx.artifact("out.txt")
    return {"words": sum(len(line.split()) for line in lines)}


@handler()
async def naps(ctx: Context) -> None:
    import asyncio
    await asyncio.sleep(3600)


def test_in_this_process(run_handler, handler_context, tmp_path):
    (tmp_path / "text.txt").write_text("one two\\nthree\\n")
    ran = run_handler(words, {"input": str(tmp_path / "text.txt")})
    assert ran.value == {"words": 3}
    assert ran.told.artifacts["out.txt"].read_text() == "made"
    with pytest.raises(Cancelled):
        run_handler(words, {"input": str(tmp_path / "text.txt")}, stop_at=0.5)
    with pytest.raises(Fail):
        run_handler(words, {"input": str(tmp_path / "none.txt")})


def test_with_a_clock(run_handler, handler_clock):
    run_handler(naps)


def test_in_a_child(run_handler_in_child):
    raise AssertionError("not reached")


def test_conformance():
    with pytest.raises(RuntimeError, match="handlers run on Linux, and this is macOS; .*call_handler"):
        check_handler(words, {})
"""
IMPORTS = """
import importlib, pkgutil, sys
import handlers, millhand_pytest, server, worker
assert sys.platform == "darwin"
for package in (worker, handlers, server):
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
print(len(sys.modules))
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The environment of a program that runs elsewhere than on Linux."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MILLHAND_", "XDG_"))}
    path = f"{HERE / 'elsewhere'}{os.pathsep}{HOME}"
    browser = {"MILLHAND_CHROMIUM": sys.executable}  # found, never started
    return {**kept, **browser, "PYTHONPATH": path, "HOME": str(tmp_path), "MILLHAND_CLOUD": "none"}


def ran(environment: dict[str, str], *command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run Python there."""
    return subprocess.run(
        [sys.executable, *command], env=environment, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True,
        text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip


def test_every_module_can_be_imported(environment: dict[str, str], tmp_path: Path) -> None:
    """Nothing asks the system for anything at import."""
    done = ran(environment, "-c", IMPORTS, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 300


def test_an_authors_tests_run_in_this_process(environment: dict[str, str], tmp_path: Path) -> None:
    """What needs a child is skipped by the fixture, and refused by the report; each says why."""
    (tmp_path / "test_words.py").write_text(TESTS)
    done = ran(
        environment, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "test_words.py", cwd=tmp_path
    )
    assert "3 passed, 1 skipped" in done.stdout, done.stdout + done.stderr
    assert REASON in done.stdout


@pytest.mark.parametrize(
    "command", [("run", "noop"), ("run", "nothing.py", "--no-json"), ("agent",), ("up",), ("up", "--demo")]
)
def test_what_runs_handlers_says_that_it_needs_linux(
    command: tuple[str, ...], environment: dict[str, str], tmp_path: Path
) -> None:
    """At once, in a sentence and a hint, with exit code 5; nothing is begun or left."""
    done = ran(environment, "-P", "-m", "worker.cli.main", *command, cwd=tmp_path)
    assert done.returncode == 5, done.stdout + done.stderr
    lines = done.stderr.splitlines()
    assert lines[0] == f"error: {REASON}"
    assert len(lines) == 2
    assert list(tmp_path.iterdir()) == []


def test_a_program_is_told_in_json(environment: dict[str, str], tmp_path: Path) -> None:
    """As of every other error."""
    done = ran(environment, "-P", "-m", "worker.cli.main", "run", "noop", "--json", cwd=tmp_path)
    assert json.loads(done.stdout)["error"]["message"] == REASON


def test_the_doctor_names_the_system_first(environment: dict[str, str], tmp_path: Path) -> None:
    """What else it looks at is what means something there."""
    done = ran(environment, "-P", "-m", "worker.cli.main", "doctor", "--json", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    checks = json.loads(done.stdout)["checks"]
    assert (checks[0]["check"], checks[0]["state"]) == ("system", "fail")
    assert REASON in checks[0]["message"]


def test_what_talks_or_looks_works(environment: dict[str, str], tmp_path: Path) -> None:
    """Handlers and facts are shown; a server that is not there is the only thing that is wrong."""
    (tmp_path / "mine.py").write_text("from worker import handler\n@handler()\ndef mine(ctx): ...\n")
    shown = ran(
        environment,
        "-P",
        "-m",
        "worker.cli.main",
        "handlers",
        "--handlers",
        "mine.py",
        "--json",
        cwd=tmp_path,
    )
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert "mine" in {one["type"] for one in json.loads(shown.stdout)["handlers"]}
    facts = ran(environment, "-P", "-m", "worker.cli.main", "facts", "--json", cwd=tmp_path)
    assert facts.returncode == 0, facts.stderr
    asked = ran(
        {**environment, "MILLHAND_API_URL": "http://127.0.0.1:9"},
        "-P",
        "-m",
        "worker.cli.main",
        "jobs",
        cwd=tmp_path,
    )
    assert asked.returncode == 3, asked.stderr
    assert "Traceback" not in facts.stderr + asked.stderr + shown.stderr

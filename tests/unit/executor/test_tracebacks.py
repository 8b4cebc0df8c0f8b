"""What an author sees of a crash: their own code, wherever it happened, and none of ours."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from worker.executor.local import BrokenHandler, run_local

HEAD = "from worker import handler\n"
CRASHES = {
    "in the handler": "@handler()\ndef crash(ctx):\n    return 1 / 0\n",
    "in a module beside it": "import beside\n@handler()\ndef crash(ctx):\n    return beside.divide(0)\n",
    "in an async handler": "@handler()\nasync def crash(ctx):\n    return 1 / 0\n",
    "in a group of tasks": (
        "import asyncio\n"
        "async def part():\n    1 / 0\n"
        "@handler()\nasync def crash(ctx):\n"
        "    async with asyncio.TaskGroup() as group:\n        group.create_task(part())\n"
    ),
    "in setup": "def load():\n    return 1 / 0\n@handler(setup=load)\ndef crash(ctx):\n    pass\n",
    "in an async setup": "async def load():\n    1 / 0\n@handler(setup=load)\ndef crash(ctx):\n    pass\n",
    "while another one was handled": (
        "@handler()\ndef crash(ctx):\n"
        "    try:\n        ctx.artifact('nothing')\n"
        "    except FileNotFoundError:\n        1 / 0\n"
    ),
}
BROKEN = {
    "a syntax error": ("def crash(:\n", "SyntaxError"),
    "a module that is not there": ("import nowhere_at_all\n", "ModuleNotFoundError"),
    "a syntax error beside it": ("import torn\n", "torn.py"),
    "an exception at import": ("1 / 0\n", "ZeroDivisionError"),
}


def no_frame_of_ours(traceback: str) -> bool:
    """Tell whether a traceback shows the author's code alone."""
    return not any(part in traceback for part in ("worker/executor", "worker/sdk", "importlib"))


@pytest.mark.parametrize("where", CRASHES)
def test_a_crash_shows_the_authors_code_alone(where: str, tmp_path: Path) -> None:
    """File and line of theirs, no frame of ours, also where their code called ours."""
    (tmp_path / "beside.py").write_text("def divide(by):\n    return 1 / by\n")
    (tmp_path / "own.py").write_text(HEAD + CRASHES[where])
    outcome, _ = asyncio.run(
        run_local(str(tmp_path / "own.py"), {}, lambda _: None, state_dir=tmp_path / "state")
    )
    assert outcome.error is not None
    assert outcome.error.traceback is not None
    assert f'File "{tmp_path}/' in outcome.error.traceback
    assert "ZeroDivisionError" in outcome.error.traceback
    assert no_frame_of_ours(outcome.error.traceback)


def test_what_our_code_refuses_is_shown_where_it_was_called(tmp_path: Path) -> None:
    """The last line of the traceback is the author's, not the one of ours that raised."""
    (tmp_path / "own.py").write_text(HEAD + "@handler()\ndef crash(ctx):\n    ctx.artifact('nothing')\n")
    outcome, _ = asyncio.run(
        run_local(str(tmp_path / "own.py"), {}, lambda _: None, state_dir=tmp_path / "state")
    )
    assert outcome.error is not None
    assert outcome.error.traceback is not None
    assert "ctx.artifact('nothing')" in outcome.error.traceback
    assert no_frame_of_ours(outcome.error.traceback)


@pytest.mark.parametrize("what", BROKEN)
def test_a_file_that_cannot_be_imported_shows_where_it_is_wrong(what: str, tmp_path: Path) -> None:
    """With the author's traceback, as Python shows it."""
    code, said = BROKEN[what]
    (tmp_path / "torn.py").write_text("x = = 1\n")
    (tmp_path / "own.py").write_text(code)
    with pytest.raises(BrokenHandler) as raised:
        asyncio.run(run_local(str(tmp_path / "own.py"), {}, lambda _: None, state_dir=tmp_path / "state"))
    assert said in str(raised.value)
    assert raised.value.traceback is not None
    assert f'File "{tmp_path}/own.py"' in raised.value.traceback
    assert no_frame_of_ours(raised.value.traceback)

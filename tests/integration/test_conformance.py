"""The built-in handlers keep what the kit for tests of handlers checks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from handlers import models
from handlers.command import command
from handlers.mesh_convert import mesh_convert
from handlers.noop import noop
from handlers.sleep import sleep
from worker.testing import check_handler

MODEL = str(models.folder() / "gear.glb")
HANDLERS: Mapping[str, tuple[Any, dict[str, Any]]] = {
    "noop": (noop, {"parameters": {"value": [1, "two", None]}}),
    "sleep": (sleep, {
        "parameters": {"seconds": 0.01},
        "long_parameters": {"seconds": 2, "steps": 100},
        "ignore": ("seconds",),  # what it really took
    }),
    "command": (command, {
        "parameters": {"program": "echo", "args": ["said"]},
        "long_parameters": {"program": "sleep", "args": ["2"]},
    }),
    "command by template": (command, {
        "parameters": {"template": "say", "values": {"word": "said"}},
        "long_parameters": {"template": "wait"},
    }),
    "mesh-convert": (mesh_convert, {"parameters": {"input": MODEL, "format": "glb"}}),
    "mesh-convert to fewer": (mesh_convert, {"parameters": {"input": MODEL, "format": "3mf", "ratio": 0.5}}),
}  # fmt: skip
TEMPLATES = """
wait.argv = ["sleep", "2"]
say.argv = ["sh", "-c", 'echo "$1" > said.txt', "say", "{word}"]
say.outputs = ["said.txt"]
say.parameters.word.type = "text"
"""
GRACE_S = 60.0  # a busy machine is no fault of a handler


@pytest.mark.parametrize("type_", HANDLERS)
def test_a_built_in_handler_keeps_its_promises(
    type_: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stops when asked, survives SIGKILL, gives the same output again, keeps its memory over 100 runs.

    Where a run is over before it is stopped, nothing is shown, and nothing is wrong.
    """
    monkeypatch.setenv("MILLHAND_COMMANDS", "echo,sleep")
    (tmp_path / "commands.toml").write_text(TEMPLATES)
    monkeypatch.setenv("MILLHAND_COMMAND_TEMPLATES", str(tmp_path / "commands.toml"))
    function, how = HANDLERS[type_]
    report = check_handler(function, grace_s=GRACE_S, **how)
    report.assert_ok()
    assert {"runs", "repeats its output", "keeps its memory"} <= {
        one.name for one in report.checks if one.verdict == "ok"
    }

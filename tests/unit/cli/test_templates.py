"""What an operator sees of templates of commands before a task needs them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Cli
from worker.cli.exits import ExitCode
from worker.cli.templates import check_templates

FINE = f"""
[say]
summary = "Say a word"
argv = ["{sys.executable}", "-c", "print()", "{{word}}"]
[say.parameters]
word = {{ type = "text", summary = "what to say" }}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with one template that is fine."""
    path = tmp_path / "commands.toml"
    path.write_text(FINE)
    path.chmod(0o644)
    return path


def test_the_templates_of_a_machine_are_shown_with_their_handler(cli: Cli, path: Path) -> None:
    """For people and for programs."""
    ran = cli("handlers", "command", "--command-templates", str(path), "--no-json")
    assert ran.code == 0
    assert "template say: Say a word" in ran.out
    assert "what to say" in ran.out
    ran = cli("handlers", "command", "--command-templates", str(path), "--json")
    assert json.loads(ran.out)["templates"] == [
        {
            "name": "say",
            "summary": "Say a word",
            "program": sys.executable,
            "values": [{"name": "word", "type": "text", "default": "required", "summary": "what to say"}],
        }
    ]
    assert "templates" not in json.loads(cli("handlers", "noop", "--json").out)


@pytest.mark.parametrize("args", [("agent",), ("handlers", "command")])
def test_a_broken_file_ends_the_start(cli: Cli, path: Path, args: tuple[str, ...]) -> None:
    """With the table and the key, and the exit code of a wrong configuration."""
    path.write_text(FINE.replace('"text"', '"txet"'))
    ran = cli(*args, "--command-templates", str(path))
    assert ran.code == ExitCode.CONFIGURATION
    assert "commands.toml: [say] parameters.word.type: invalid value 'txet'" in ran.err


def test_doctor_looks_at_the_file_and_its_programs(path: Path) -> None:
    """Broken: it fails. Written by everybody, or a program that is not there: it warns."""
    assert check_templates(None) == []
    assert [(one.state, one.said) for one in check_templates(path)] == [("ok", f"{path}: say")]
    path.chmod(0o646)
    assert [(one.state, one.todo) for one in check_templates(path)] == [("warn", f"chmod o-w {path}")]
    path.chmod(0o644)
    path.write_text('[say]\nargv = ["no-such-tool"]')
    said = check_templates(path)[1]
    assert (said.state, said.name) == ("warn", "template say")
    assert "is not on the PATH" in said.said
    path.write_text("[say")
    assert [one.state for one in check_templates(path)] == ["fail"]

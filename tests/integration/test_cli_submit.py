"""What `millhand submit` says of a type that has a handler here, before anything is made of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.testing import RunningServer, running_server
from tests.unit.cli.conftest import Cli, cli, own_home, own_logs
from worker.cli.exits import ExitCode

__all__ = ["cli", "own_home", "own_logs"]  # fixtures

RENDER = '''\
from dataclasses import dataclass

from worker import Secret, handler


@dataclass
class Camera:
    fov: float


@dataclass
class Parameters:
    """What to render.

    Attributes:
        size: pixels of an edge.
    """

    size: int
    camera: Camera
    input: str = ""
    key: Secret = ""


@handler()
def render(ctx, parameters: Parameters):
    """Render a picture."""
'''


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningServer]:
    """Serve the API, with the command line set to it."""
    with running_server() as running:
        monkeypatch.setenv("MILLHAND_API_URL", running.url)
        monkeypatch.setenv("MILLHAND_TOKEN", running.token)
        yield running


@pytest.fixture
def render(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have a handler on this machine."""
    path = tmp_path / "render.py"
    path.write_text(RENDER)
    monkeypatch.setenv("MILLHAND_HANDLERS", str(path))
    return path


def jobs(cli: Cli) -> list[str]:
    """Return the titles of the jobs that were made."""
    return [job["title"] for job in json.loads(cli("jobs").out)["jobs"]]


def test_what_a_run_would_refuse_is_refused_before_it_is_submitted(
    server: RunningServer, cli: Cli, render: Path
) -> None:
    """With every problem by its path, secrets not quoted; nothing is made."""
    ran = cli("submit", "render", "-p", "size=big", "-p", "camera={}", "-p", "key=[1234567]", "-p", "sise=1")
    assert ran.code == ExitCode.USAGE
    for said in (
        "size: expected `int`",
        '(given: "big")',
        "camera.fov: missing",
        "key: ",
        "sise: unexpected",
    ):
        assert said in ran.err
    assert "1234567" not in ran.err
    assert "--no-check" in ran.err
    assert jobs(cli) == []


def test_one_bad_task_among_many_is_named(server: RunningServer, cli: Cli, render: Path) -> None:
    """By its number; no task of the job is made, and no file is copied."""
    ran = cli(
        "submit", "render", str(render), "-p", 'camera={"fov": 1}', "-p", "size=1..20", "-p", "size=no",
        "--store", str(render.parent / "store"),
    )  # fmt: skip
    assert ran.code == ExitCode.USAGE
    assert "(task 21 of 21)" in ran.err
    assert jobs(cli) == []
    assert not (render.parent / "store").exists()


def test_who_knows_better_submits_it_all_the_same(server: RunningServer, cli: Cli, render: Path) -> None:
    """The workers may have another version."""
    ran = cli("submit", "render", "-p", "size=big", "--no-check")
    assert ran.code == 0, ran.err
    assert jobs(cli) == ["render"]


def test_what_fits_passes_with_files_limits_and_requirements(
    server: RunningServer, cli: Cli, render: Path
) -> None:
    """They are the agent's, and the file is the parameter `input`."""
    ran = cli(
        "submit", "render", str(render), "-p", "size=1", "-p", 'camera={"fov": 1}', "--requires", "cpus=1",
        "--timeout", "5m",
    )  # fmt: skip
    assert ran.code == 0, ran.err


def test_a_type_that_is_not_here_is_not_checked(server: RunningServer, cli: Cli) -> None:
    """Nor is one whose handler cannot run here, which is said."""
    assert cli("submit", "elsewhere", "-p", "any=1").code == 0


def test_a_handler_that_cannot_run_here_checks_nothing_and_that_is_said(
    server: RunningServer, cli: Cli, render: Path
) -> None:
    """Its dependencies may be on the workers alone."""
    render.write_text(RENDER + "\n\n@handler()\ndef broken(ctx, *, where: Path | int):\n    pass\n")
    render.write_text(
        render.read_text().replace("from worker import", "from pathlib import Path\nfrom worker import")
    )
    ran = cli("submit", "broken", "-p", "any=1")
    assert ran.code == 0, ran.err
    assert "were not checked: the handler of 'broken' cannot run here" in ran.err


def test_a_change_of_the_handler_is_seen_by_the_next_check(
    server: RunningServer, cli: Cli, render: Path
) -> None:
    """Also in a module beside it, which holds the class of its parameters."""
    beside = render.parent / "shapes_beside.py"
    beside.write_text("from dataclasses import dataclass\n\n\n@dataclass\nclass Shape:\n    sides: int\n")
    render.write_text(
        "from shapes_beside import Shape\nfrom worker import handler\n\n\n"
        "@handler()\ndef draw(ctx, params: Shape):\n    pass\n"
    )
    assert "sides" in cli("submit", "draw", "--help").out
    beside.write_text(beside.read_text().replace("sides", "corners") + "\n")
    assert "corners" in cli("submit", "draw", "--help").out
    assert "corners: missing" in cli("submit", "draw").err


def test_the_help_of_a_type_shows_its_parameters_and_an_example(cli: Cli, render: Path) -> None:
    """Wherever --help stands, without a server; also by --handlers and the configuration file."""
    ran = cli("submit", "render", "--help")
    assert ran.code == 0
    for said in (
        "Render a picture.", "size", "pixels of an edge.", "[required]", "camera.fov", "secret",
        "millhand submit render FILE -p size=1 -p camera='{…}'",
    ):  # fmt: skip
        assert said in ran.out, ran.out
    assert cli("submit", "-p", "size=1", "render", "-h").out == ran.out


def test_the_help_of_a_type_finds_handlers_by_flag_and_file(
    cli: Cli, render: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--help is acted on before the file is read; it is read all the same."""
    monkeypatch.delenv("MILLHAND_HANDLERS")
    config = tmp_path / "config.toml"
    config.write_text(f'handlers = ["{render}"]\n')
    assert "camera.fov" in cli("submit", "render", "--help", "--handlers", str(render)).out
    assert "camera.fov" in cli("submit", "render", "--help", "--config", str(config)).out
    assert "camera.fov" in cli("submit", "--config", str(config), "render", "--help").out
    unknown = cli("submit", "render", "--help")
    assert unknown.code == 0
    assert "'render' has no handler on this machine" in unknown.out
    assert "--param-file" in unknown.out
    assert "--param-file" in cli("submit", "--help").out


def test_the_shell_completes_types_and_parameters(tmp_path: Path) -> None:
    """Names of installed types, and of the parameters of the one that was typed."""

    def completed(words: str, place: int) -> str:
        environment = {
            **os.environ, "_MILLHAND_COMPLETE": "bash_complete", "XDG_STATE_HOME": str(tmp_path),
            "COMP_WORDS": words, "COMP_CWORD": str(place),
        }  # fmt: skip
        ran = subprocess.run(
            [sys.executable, "-c", "from worker.cli.main import main; main()"],
            env=environment, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        return ran.stdout

    assert "plain,sleep\n" in completed("millhand submit sl", 2)
    assert "plain,seconds=\n" in completed("millhand submit sleep -p se", 4)
    assert completed("millhand submit nowhere -p se", 4).strip() == ""

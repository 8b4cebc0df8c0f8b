"""Run one handler with the command line, without a server."""

from __future__ import annotations

import errno
import json
import os
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from handlers import models
from tests.unit.cli.conftest import Cli, cli, own_home, own_logs
from worker.cli.last_runs import LastRun, LastRuns
from worker.executor.local import LocalRunner

__all__ = ["cli", "own_home", "own_logs"]  # fixtures

OWN = '''
from worker import Context, Fail, handler


@handler("shout")
def shout(ctx: Context, *, text: str, times: int = 1) -> dict:
    """Say it louder."""
    ctx.progress(0.5, "half way")
    ctx.log("shouting")
    if times > 9:
        raise Fail("too loud")
    (ctx.workdir / "said.txt").write_text(text.upper() * times)
    ctx.artifact("said.txt")
    return {"said": text.upper() * times}
'''


@pytest.fixture
def own_file(tmp_path: Path) -> Path:
    """A file of a handler author."""
    path = tmp_path / "shouting.py"
    path.write_text(OWN)
    return path


def test_a_file_of_ones_own_runs_and_its_output_is_copied(cli: Cli, own_file: Path, tmp_path: Path) -> None:
    """Value, usage and file come as one JSON document."""
    ran = cli("run", str(own_file), "-p", "text=hi", "-p", "times=2", "--out", str(tmp_path / "out"))
    assert ran.code == 0, ran.err
    told = json.loads(ran.out)
    assert told["resultCode"] == "Success"
    assert told["value"]["said"] == "HIHI"
    assert told["usage"]["cpuUserSeconds"] is not None
    assert (tmp_path / "out" / "said.txt").read_text() == "HIHI"
    assert told["copied"] == [str(tmp_path / "out" / "said.txt")]
    assert "shouting" in ran.err


def test_a_run_whose_output_cannot_be_copied_is_shown_first(cli: Cli, own_file: Path, tmp_path: Path) -> None:
    """Its value is there, the error names the folder of its files, and the exit code is 1."""
    (tmp_path / "taken").write_text("no folder")
    args = ("run", str(own_file), "-p", "text=hi", "--out", str(tmp_path / "taken" / "below"))
    ran = cli(*args)
    told = json.loads(ran.out)
    assert (ran.code, told["value"], told["copied"]) == (1, {"said": "HI"}, [])
    assert (Path(told["folder"]) / "said.txt").read_text() == "HI"
    assert f"the run's files are in {told['folder']}" in ran.err
    ran = cli(*args, "--no-json")
    assert ran.code == 1
    assert all(said in ran.out for said in ("Success", "folder", "said.txt", "HI"))


def full() -> NoReturn:
    """Say that the disk is full."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_run_whose_end_cannot_be_kept_is_shown_first(
    cli: Cli, own_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is full when it has begun takes neither its value nor the place of its files."""
    kept: list[LastRun] = []
    keep = LastRuns.keep

    def keep_first(runs: LastRuns, last: LastRun) -> Path:
        kept.append(last)
        return keep(runs, last) if len(kept) == 1 else full()

    monkeypatch.setattr(LastRuns, "keep", keep_first)  # a disk cannot be filled at this moment
    ran = cli("run", str(own_file), "-p", "text=hi")
    told = json.loads(ran.out)
    assert (ran.code, told["value"], Path(told["folder"]).is_dir()) == (5, {"said": "HI"}, True)
    assert "what --resume goes on from could not be kept" in ran.err
    assert "No space left" in ran.err
    kept.clear()
    assert cli("run", str(own_file), "-p", "text=hi", "-p", "times=10").code == 1


def test_a_run_whose_process_cannot_be_ended_is_shown_first(
    cli: Cli, own_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What fails behind its end is told behind it."""
    aclose = LocalRunner.aclose

    async def fail_at_the_end(runner: LocalRunner) -> None:
        await aclose(runner)
        full()

    monkeypatch.setattr(LocalRunner, "aclose", fail_at_the_end)  # a folder that is lost at this moment
    ran = cli("run", str(own_file), "-p", "text=hi")
    assert (ran.code, json.loads(ran.out)["value"]) == (5, {"said": "HI"})
    assert "could not be ended as it should" in ran.err


def test_a_failure_is_told_with_its_kind_and_exit_code_1(cli: Cli, own_file: Path) -> None:
    """For a program in JSON, for people in a table; wrong parameters name the parameter."""
    ran = cli("run", str(own_file), "-p", "text=hi", "-p", "times=10")
    assert ran.code == 1
    assert json.loads(ran.out)["error"]["message"] == "too loud"
    ran = cli("run", str(own_file), "-p", "times=many", "--no-json")
    assert ran.code == 1
    assert "invalid_parameters" in ran.out
    assert "times" in ran.out
    assert "half way" not in ran.err


def test_a_failure_says_what_an_agent_would_do(cli: Cli, tmp_path: Path) -> None:
    """By the handler's policy and the task's; what cannot be read is refused before anything runs."""
    own = tmp_path / "busy.py"
    own.write_text(
        "from worker import Context, RetryPolicy, handler\n"
        "@handler('busy', retry=RetryPolicy(max_attempts=5, backoff_s=30, retry_on=(OSError,)))\n"
        "def busy(ctx: Context) -> None:\n    raise ConnectionRefusedError('no')\n"
    )
    told = json.loads(cli("run", str(own)).out)
    assert told["error"]["retryable"] is True
    assert told["retry"] == {
        "attempt": 1, "maxAttempts": 5, "afterS": 30.0, "reason": "attempt 1 of 5, next in 30 s",
    }  # fmt: skip
    ran = cli("run", str(own), "-p", 'retry={"noRetryOn": "OSError"}', "--no-json")
    assert ran.code == 1
    assert "leave it failed: not retried: OSError is in noRetryOn" in " ".join(ran.out.split())
    ran = cli("run", str(own), "-p", 'retry={"tries": 2}')
    assert (ran.code, ran.out) == (2, "")
    assert "retry.tries is not known" in ran.err


def test_a_limit_of_the_command_line_is_the_runs_own(
    cli: Cli, own_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It wins over the handler's, also where it gives more; one of the environment is the most of any run."""
    own_file.write_text(
        "from worker import handler\n"
        "@handler(timeout_s=60)\n"
        "def left(ctx, **others):\n"
        "    return {'left_s': ctx.deadline, 'others': others}\n"
    )
    told = json.loads(cli("run", str(own_file), "--timeout", "1h", "--memory", "4GiB").out)
    assert 3590 < told["value"]["left_s"] <= 3600
    assert told["value"]["others"] == {}
    monkeypatch.setenv("MILLHAND_TIMEOUT", "1h")
    told = json.loads(cli("run", str(own_file)).out)
    assert 50 < told["value"]["left_s"] <= 60
    told = json.loads(cli("run", str(own_file), "-p", 'limits={"timeout": "2h"}').out)
    assert 3590 < told["value"]["left_s"] <= 3600


def test_a_model_is_converted_where_one_sits(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of the folder where one sits, however it is given."""
    source = str(models.folder() / "gear.glb")
    ran = cli("run", "mesh-convert", source, "-p", "format=ply", "--out", str(tmp_path), "--no-json")
    assert ran.code == 0, ran.err
    assert (tmp_path / "gear.ply").stat().st_size > 1000
    assert "gear.ply" in ran.out
    monkeypatch.chdir(models.folder())
    assert cli("run", "mesh-convert", "-p", "input=gear.glb").code == 0


def test_what_is_no_handler_says_what_there_is(cli: Cli, tmp_path: Path) -> None:
    """Unknown types, files without handlers, and several values for one run are usage errors."""
    ran = cli("run", "no-such-type")
    assert ran.code == 2
    assert "mesh-convert" in ran.err
    empty = tmp_path / "empty.py"
    empty.write_text("")
    assert cli("run", str(empty)).code == 2
    assert "2 sets of parameters" in cli("run", "sleep", "-p", "seconds=1..2").err
    assert cli("run", "mesh-convert", str(tmp_path / "missing.glb")).code == 2
    twice = cli("run", "mesh-convert", "https://example.com/a.glb", "-p", "input=b.glb")
    assert (twice.code, "both given" in twice.err) == (2, True)
    twice = cli("run", "mesh-convert", "https://example.com/a.glb", "-p", "input=b.glb")
    assert (twice.code, "both given" in twice.err) == (2, True)


def test_handlers_lists_what_is_installed_and_what_is_broken(
    cli: Cli, own_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broken file is told with its reason, and makes the exit code 1; the others still work."""
    monkeypatch.setenv("MILLHAND_CHROMIUM", sys.executable)  # any program will do: nobody starts it here
    ran = cli("handlers", "--handlers", str(own_file))
    assert ran.code == 0, ran.err
    assert {"noop", "sleep", "command", "mesh-convert", "render-webgl", "shout"} <= {
        handler["type"] for handler in json.loads(ran.out)["handlers"]
    }
    broken = tmp_path / "broken.py"
    broken.write_text("import a_module_that_is_nowhere\n")
    ran = cli("handlers", "--handlers", f"{own_file},{broken}", "--no-json")
    assert ran.code == 1
    assert "a_module_that_is_nowhere" in ran.out + ran.err
    assert "shout" in ran.out


def test_one_handler_is_shown_with_its_parameters(cli: Cli, own_file: Path) -> None:
    """Names, types, defaults, and what the author wrote."""
    ran = cli("handlers", "shout", "--handlers", str(own_file), "--no-json")
    assert ran.code == 0
    for said in ("Say it louder.", "text", "required", "times", "integer"):
        assert said in ran.out
    assert cli("handlers", "nothing").code == 2


def test_a_machine_without_a_browser_has_nothing_broken(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list says what to install, with exit code 0; the type asked for by name is 1."""
    monkeypatch.setenv("MILLHAND_CHROMIUM", "no-such-browser")
    ran = cli("handlers", "--no-json")
    assert ran.code == 0
    said = " ".join(ran.out.split())
    assert "unavailable" in said
    assert "apt-get install" in said
    assert "uninstall" not in said
    assert cli("handlers", "render-webgl").code == 1


def test_facts_have_a_source_or_a_reason(cli: Cli) -> None:
    """As a table and as JSON; what a person says wins."""
    told = json.loads(cli("facts", "--zone", "lab-1").out)
    assert told["zone"]["value"] == "lab-1"
    assert all(fact.get("source") or fact.get("reason") for fact in told.values())
    table = cli("facts", "--no-json").out
    assert "nodeCPUs" in table
    assert "GiB" in table


def test_a_secret_by_name_is_given_to_a_local_run(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the folder or a variable; what is missing is said by the run, and by the list."""
    path = tmp_path / "asks.py"
    path.write_text(
        "from worker import handler\n\n\n@handler(secrets=('HF_TOKEN',))\ndef asks(ctx):\n"
        "    print('it is', ctx.secrets['HF_TOKEN'])\n    return len(ctx.secrets['HF_TOKEN'])\n"
    )
    ran = cli("run", str(path))
    assert ran.code == 1
    assert "secret HF_TOKEN is not on this machine" in ran.out
    shown = cli("handlers", "asks", "--handlers", str(path), "--no-json")
    assert "lacks a secret" in shown.out
    assert "MILLHAND_SECRET_HF_TOKEN" in shown.out
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "HF_TOKEN").write_text("hf_abcdefgh\n")
    ran = cli("run", str(path), "--secrets-dir", str(tmp_path / "secrets"))
    assert (ran.code, json.loads(ran.out)["value"]) == (0, {"value": 11})
    assert "hf_abcdefgh" not in ran.out + ran.err
    monkeypatch.setenv("MILLHAND_SECRET_HF_TOKEN", "hf_by_variable")
    assert json.loads(cli("run", str(path)).out)["value"] == {"value": 14}
    listed = json.loads(cli("handlers", "asks", "--handlers", str(path)).out)
    assert (listed["secrets"], listed["lacks"]) == (["HF_TOKEN"], [])

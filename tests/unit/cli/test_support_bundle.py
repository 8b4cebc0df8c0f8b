"""The support bundle: what is in it, and that no secret is, in any form; written whole, and over nothing."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.cli.conftest import Cli
from tests.unit.redaction.disguises import LINE_DISGUISES, base64_form, secrets
from tests.unit.reporting.samples import REPORT, entry
from worker.cli.bundle_parts import LOG_BYTES_MAX, end_of, gathered
from worker.cli.bundle_secrets import redactor_of
from worker.cli.exits import ExitCode
from worker.config import AgentConfig, ApiConfig
from worker.redaction import Redactor
from worker.reporting.disk import DiskIO
from worker.reporting.journal import Journal

LIMIT_S = 120.0  # a bound for a hang, not a measure
PLANTED = {
    "token": 'tok/5f1e"77+aa90', "named": "n4med\\secret=é9", "file": "f1le+secret/in/folder",
    "proxy": "pr0xy%pass", "server": "s3rver-token-00", "store": "st0re~key~1234",
    "variable": "0ther-pass-word9",
}  # fmt: skip
URL_FORM = {"proxy": "pr0xy%25pass"}


def planted_lines() -> Iterator[str]:
    """Yield lines of a log with each secret in each form."""
    for secret in PLANTED.values():
        for name, disguise in LINE_DISGUISES.items():
            yield f"{name}: it said {disguise(secret)} to me"
        for is_url in (False, True):
            yield f"base64: {base64_form(secret, b'a', b'b', is_url=is_url)[0]}"


def forbidden() -> Iterator[str]:
    """Yield what must stand nowhere."""
    for secret in PLANTED.values():
        yield from (disguise(secret) for disguise in LINE_DISGUISES.values())
        yield from (base64_form(secret, b"a", b"b", is_url=is_url)[1] for is_url in (False, True))


async def left(state: Path) -> None:
    """Leave a journal whose entries say secrets where people write."""
    journal = await Journal.open(DiskIO(state / "journal"))
    await journal.intent(entry("aaaa1111", task_type=f"render {PLANTED['named']}"))
    await journal.terminal(
        "aaaa1111", REPORT | {"error": f"handler_error: {PLANTED['token']}", "results": {"x": 1}}
    )
    await journal.aclose()


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a folder with an agent's leavings and settings that hold secrets; returns its log."""
    state, folder = tmp_path / "state", tmp_path / "secrets"
    folder.mkdir()
    (folder / "key").write_text(PLANTED["file"] + "\n")
    asyncio.run(left(state))
    (state / f"file of {PLANTED['server'].replace('/', '')}").touch()
    for name, value in {
        "STATE_DIR": str(state), "TOKEN": PLANTED["token"], "SECRETS_DIR": str(folder), "API_URL": "http://127.0.0.1:1",
        "SECRET_NAMED": PLANTED["named"], "PROXY": f"http://me:{URL_FORM['proxy']}@127.0.0.1:1",
        "SERVER_TOKEN": PLANTED["server"], "STORE_TOKEN": PLANTED["store"],
        "LABELS": "room=" + PLANTED["variable"],
    }.items():  # fmt: skip
        monkeypatch.setenv(f"MILLHAND_{name}", value)
    monkeypatch.setenv("BACKUP_PASSWORD", PLANTED["variable"])
    log = tmp_path / "agent.log"
    log.write_text(
        "\n".join(["began well", *planted_lines(), "Authorization: Bearer abcdefgh12345", "ended well"])
    )
    return log


def unpacked(path: Path) -> dict[str, str]:
    """Return the files of a bundle by their names in it."""
    with tarfile.open(path) as archive:
        found = {}
        for member in archive:
            opened = archive.extractfile(member)
            assert opened is not None
            assert member.mode == 0o600
            found[member.name.partition("/")[2]] = opened.read().decode()
        return found


def test_no_secret_of_this_machine_is_in_it_in_any_form(machine: Path, tmp_path: Path, cli: Cli) -> None:
    """Not in log, journal, settings, names of files; what is no secret is there, and CONTENTS says so."""
    ran = cli("support-bundle", "-o", str(tmp_path / "b.tar.gz"), "--log", str(machine), "--json")
    assert ran.code == 0, ran.err
    said = json.loads(ran.out)
    files = unpacked(tmp_path / "b.tar.gz")
    assert set(said["contents"]) == set(files)
    assert (tmp_path / "b.tar.gz").stat().st_mode & 0o777 == 0o600
    found = [(name, form) for name, text in files.items() for form in forbidden() if form in text]
    assert found == []
    assert "abcdefgh12345" not in files["log.txt"]
    assert files["log.txt"].startswith("began well")
    assert files["log.txt"].endswith("ended well")
    assert all(name in files["CONTENTS.txt"] for name in files if name != "CONTENTS.txt")
    assert "no agent works in" in files["status.json.failed"]
    assert json.loads(files["settings.json"])["token"] == {"value": "set", "from": "environment"}
    assert json.loads(files["journal.json"])["oldest"][0]["run"] == "aaaa1111"
    assert '"x"' not in files["journal.json"]
    assert {"doctor.json", "facts.json", "versions.json", "limits.json"} <= files.keys()
    assert "msgspec" in files["versions.json"]


@settings(max_examples=60, deadline=None)
@given(secrets, st.sampled_from(sorted(LINE_DISGUISES)))
def test_a_part_is_without_a_secret_whatever_it_is_made_of(secret: str, form: str) -> None:
    """In what it says, and in the error that stands for it."""
    config = AgentConfig(api=ApiConfig(token=secret), state_dir=Path("/nowhere"))
    redactor = redactor_of(config, {"token": secret}, {})
    hidden = LINE_DISGUISES[form](secret)

    def fails() -> str:
        raise ValueError(hidden)

    for part in (lambda: f"a {hidden} b", fails):
        name, content = gathered("log.txt", part, redactor)
        assert hidden not in content.decode(), name


def test_the_end_of_a_long_log_begins_with_no_half_of_a_secret(tmp_path: Path) -> None:
    """The cut falls into the token here: the rest of its line is left out, and what follows is not."""
    token = "0123456789abcdefghijklmnopqrstuvwxyz"
    log = tmp_path / "log"
    log.write_text("y" * 1000 + token + "\n" + "x" * (LOG_BYTES_MAX - 19))
    assert end_of(log) == "x" * (LOG_BYTES_MAX - 19)
    log.write_text("short\nlog")
    assert end_of(log) == "short\nlog"


def test_a_long_log_with_many_escapes_is_shown_to_its_end(tmp_path: Path) -> None:
    """What is too slow to search is left out line by line, and not from there on."""
    lines = [*planted_lines()] * 20 + ["ended well"]
    _, content = gathered("log.txt", lambda: "\n".join(lines), Redactor(PLANTED.values()))
    said = content.decode()
    assert said.endswith("ended well")
    assert [form for form in forbidden() if form in said] == []


def test_a_file_that_is_there_is_left_as_it_is(tmp_path: Path, cli: Cli) -> None:
    """A link into nothing, too: it is somebody's name."""
    path = tmp_path / "b.tar.gz"
    path.write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    for name in ("b.tar.gz", "link"):
        ran = cli("support-bundle", "-o", str(tmp_path / name))
        assert (ran.code, "exists already" in ran.err) == (ExitCode.USAGE, True)
    assert path.read_text() == "mine"
    assert not (tmp_path / "nothing").exists()


def test_a_disk_that_refuses_leaves_no_half_file(tmp_path: Path) -> None:
    """The system's own limit of a file's size stands for a full disk: part of it is written before."""
    program = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024));"
        "from worker.cli.main import run; sys.exit(run(sys.argv[1:]))"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MILLHAND_")}
    ran = subprocess.run(
        [sys.executable, "-P", "-c", program, "support-bundle", "-o", "b.tar.gz", "--api-url", "http://127.0.0.1:1"],
        cwd=tmp_path, env=environment | {"MILLHAND_CLOUD": "none", "HOME": str(tmp_path)},
        capture_output=True, text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip
    assert ran.returncode == ExitCode.CONFIGURATION, ran.stderr
    assert "b.tar.gz: File too large; nothing was written" in ran.stderr
    assert not (tmp_path / "b.tar.gz").exists()

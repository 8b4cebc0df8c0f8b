"""The database's URL out of a file, as secrets are mounted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration.serving import millhand
from worker.cli.exits import ExitCode

SECRET = "s3cret-of-nobody"


def test_a_file_with_the_url_wins_over_a_value(tmp_path: Path) -> None:
    """Servers and those who make tokens beside them look at one database."""
    file = tmp_path / "url"
    file.write_text(f"sqlite:///{tmp_path / 'other.db'}\n")
    made = millhand(tmp_path, "token", "create", "--scope", "read", "--json", "--db-file", str(file))
    assert made.returncode == 0, made.stderr
    assert (tmp_path / "other.db").exists()
    assert not (tmp_path / "jobs.db").exists()
    checked = millhand(tmp_path, "serve", "--check", "--json", "--db-file", str(file))
    assert json.loads(checked.stdout)["schemaVersion"] > 0


@pytest.mark.parametrize(("text", "said"), [(None, "cannot be read"), (" \n", "is empty")])
def test_a_file_without_the_url_is_an_error_of_settings(tmp_path: Path, text: str | None, said: str) -> None:
    """Never the default, an empty database elsewhere that answers as if nothing had ever been."""
    file = tmp_path / "url"
    if text is not None:
        file.write_text(text)
    done = millhand(tmp_path, "serve", "--check", "--db-file", str(file))
    assert done.returncode == ExitCode.CONFIGURATION
    assert f"database file {file} {said}" in done.stderr.replace("\n", " ")


def test_its_password_is_not_shown(tmp_path: Path) -> None:
    """Not in what is said of a database that cannot be reached."""
    file = tmp_path / "url"
    file.write_text(f"postgresql://millhand:{SECRET}@127.0.0.1:1/millhand")
    done = millhand(tmp_path, "serve", "--check", "--db-file", str(file))
    assert done.returncode == ExitCode.FAILED
    assert SECRET not in done.stdout + done.stderr

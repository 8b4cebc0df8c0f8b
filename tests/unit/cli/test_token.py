"""`millhand token`: made, listed, revoked, on the database alone."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from server.store.sqlite.database import lock_file, open_writer
from server.tokens import SERVER_TOKEN_ID, hash_token
from tests.unit.cli.conftest import Cli
from worker.cli.exits import ExitCode


@pytest.fixture
def db(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Name a database that is not there yet."""
    path = tmp_path / "jobs.db"
    monkeypatch.setenv("MILLHAND_SERVER_DB", f"sqlite:///{path}")
    return path


def create(cli: Cli, *args: str) -> str:
    """Make a token and return its text."""
    ran = cli("token", "create", *args)
    assert ran.code == 0, ran.err
    return ran.out.strip()


def listed(cli: Cli) -> list[dict[str, object]]:
    """Return the tokens as programs see them."""
    tokens = json.loads(cli("token", "list", "--json").out)["tokens"]
    assert isinstance(tokens, list)
    return tokens


def test_a_token_is_shown_once_and_only_its_hash_is_kept(cli: Cli, db: Path) -> None:
    """Stdout holds the token alone, so that it can go into a file; the database file never holds it."""
    token = create(cli, "--scope", "work", "--name", "hosts")
    assert token.startswith("mh_")
    assert len(token) > 3 + 32
    with sqlite3.connect(db) as reading:
        assert reading.execute("SELECT sha256, scopes, name FROM tokens").fetchall() == [
            (hash_token(token), "work", "hosts")
        ]
    reading.close()
    assert all(token.encode() not in file.read_bytes() for file in db.parent.glob("jobs.db*"))
    ran = cli("token", "list", "--no-json")
    assert "hosts" in ran.out
    assert token not in ran.out + ran.err
    assert hash_token(token) not in ran.out + ran.err


def test_a_token_has_the_scopes_the_organisation_and_the_end_that_were_asked_for(cli: Cli, db: Path) -> None:
    """What is listed is what was made."""
    create(cli, "--scope", "submit", "--scope", "work", "--org", "films", "--expires", "90d", "--name", "x")
    (token,) = listed(cli)
    assert token["scopes"] == ["submit", "work"]
    assert (token["organisation"], token["name"], token["lastUsedAt"]) == ("films", "x", None)
    assert str(token["createdAt"]) < str(token["expiresAt"])


def test_two_tokens_of_an_organisation_never_share_a_name(cli: Cli, db: Path) -> None:
    """Else nobody would know which one a log means; another organisation may use the name."""
    create(cli, "--scope", "read", "--name", "x")
    ran = cli("token", "create", "--scope", "read", "--name", "x")
    assert ran.code == ExitCode.REFUSED
    assert "'x'" in ran.err
    create(cli, "--scope", "read", "--name", "x", "--org", "films")
    assert len(listed(cli)) == 2


def test_a_token_is_revoked_by_its_id_or_by_a_name_that_is_its_alone(cli: Cli, db: Path) -> None:
    """A name in two organisations names none: the message says the ids."""
    for org in ("default", "films"):
        create(cli, "--scope", "read", "--name", "x", "--org", org)
    ids = [str(token["id"]) for token in listed(cli)]
    ran = cli("token", "revoke", "x")
    assert ran.code == ExitCode.REFUSED
    assert all(one in ran.err for one in ids)
    assert cli("token", "revoke", ids[0]).code == 0
    assert cli("token", "revoke", "x").code == 0
    assert listed(cli) == []
    assert cli("token", "revoke", "x").code == ExitCode.REFUSED


def test_tokens_can_be_made_while_a_server_holds_the_database(cli: Cli, db: Path) -> None:
    """The lock of a server keeps other servers off, not its operator."""
    create(cli, "--scope", "read")
    with lock_file(db):
        create(cli, "--scope", "work")
    assert len(listed(cli)) == 2


def test_an_older_schema_under_a_running_server_is_left_alone(cli: Cli, db: Path) -> None:
    """The server would not know what changed; the message says what holds the database."""
    create(cli, "--scope", "read")
    writer = open_writer(db)
    writer.execute("DELETE FROM schema_version WHERE version = (SELECT max(version) FROM schema_version)")
    writer.close()
    with lock_file(db):
        ran = cli("token", "create", "--scope", "work")
    assert ran.code == ExitCode.CONFIGURATION
    assert "served by another process" in ran.err


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("create",), ExitCode.USAGE, "--scope"),
        (("create", "--scope", "root"), ExitCode.USAGE, "'root'"),
        (("create", "--scope", "work", "--name", "a\nb"), ExitCode.USAGE, "--name"),
        (("create", "--scope", "work", "--org", " "), ExitCode.USAGE, "--org"),
        (("create", "--scope", "work", "--expires", "0"), ExitCode.USAGE, "above 0"),
        (("create", "--scope", "work", "--db", "sqlite://"), ExitCode.CONFIGURATION, "in memory"),
        (("create", "--scope", "work", "--db", "jobs.db"), ExitCode.CONFIGURATION, "not a database URL"),
        (("list",), ExitCode.CONFIGURATION, "there is no database"),
    ],
)
def test_what_cannot_be_is_said_with_what_to_do(
    cli: Cli, db: Path, args: tuple[str, ...], code: ExitCode, said: str
) -> None:
    """The message names the input, and nothing is made."""
    ran = cli("token", *args)
    assert ran.code == code
    assert said in ran.err
    assert not db.exists()


def test_a_file_that_is_no_database_is_said(cli: Cli, db: Path) -> None:
    """No traceback, and the file stays as it is."""
    db.write_bytes(b"no database" * 1000)
    ran = cli("token", "create", "--scope", "work")
    assert ran.code == ExitCode.CONFIGURATION
    assert str(db) in ran.err
    assert db.read_bytes() == b"no database" * 1000


def test_revoking_the_token_of_the_settings_says_that_they_bring_it_back(cli: Cli, db: Path) -> None:
    """In an emergency it is refused at once; the next start with the same setting would let it in."""
    create(cli, "--scope", "read")
    writer = open_writer(db)
    writer.execute("UPDATE tokens SET id = ?", (SERVER_TOKEN_ID,))
    writer.close()
    ran = cli("token", "revoke", SERVER_TOKEN_ID)
    assert ran.code == 0
    assert "settings" in ran.err
    assert listed(cli) == []

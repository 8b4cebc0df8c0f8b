"""`millhand token` on PostgreSQL: beside the servers, before the first one, and where it cannot."""

from __future__ import annotations

import json
from pathlib import Path
from subprocess import CompletedProcess

import psycopg
import pytest

from tests.integration.serving import Serving, millhand, serving, wait_for
from tests.postgres.databases import database, empty_database
from worker.cli.exits import ExitCode

SECRET = "s3cret-of-nobody"


def token(folder: Path, url: str, *args: str) -> CompletedProcess[str]:
    """Run `millhand token` on a database."""
    return millhand(folder, "token", *args, "--db", url)


def status(server: Serving, text: str) -> int:
    """Return the status of a list of jobs."""
    with server.client(text) as client:
        return client.get("/api/jobs").status_code


def test_a_token_made_before_the_first_server_is_used_named_and_revoked(tmp_path: Path) -> None:
    """It makes the schema; a server that runs refuses a revoked one soon, and writes down the last use."""
    with empty_database() as url:
        assert token(tmp_path, url, "list").returncode == ExitCode.CONFIGURATION
        ran = token(tmp_path, url, "create", "--scope", "read", "--name", "ada", "--json")
        assert ran.returncode == 0, ran.stderr
        made = json.loads(ran.stdout)
        with serving(tmp_path, "--db", url, token=None) as server:
            assert status(server, made["token"]) == 200
            other = token(tmp_path, url, "create", "--scope", "read", "--name", "ada")
            assert other.returncode == ExitCode.REFUSED
            second = json.loads(token(tmp_path, url, "create", "--scope", "read", "--json").stdout)
            assert status(server, second["token"]) == 200
            assert token(tmp_path, url, "revoke", second["id"]).returncode == 0
            wait_for(lambda: status(server, second["token"]) == 401, "refused")
            assert server.end() == 0
            assert made["token"] not in server.log.read_text()
        (listed,) = json.loads(token(tmp_path, url, "list", "--json").stdout)["tokens"]
        assert (listed["id"], listed["name"], listed["organisation"]) == (made["id"], "ada", "default")
        assert listed["createdAt"] <= listed["lastUsedAt"]
        assert made["token"] not in json.dumps(listed)


@pytest.mark.parametrize("args", [("list",), ("create", "--scope", "read"), ("revoke", "x")])
def test_an_older_schema_is_left_to_servers(tmp_path: Path, args: tuple[str, ...]) -> None:
    """Those that run would not know what changed."""
    with database() as url, psycopg.connect(url, autocommit=True) as db:
        newest = db.execute("DELETE FROM schema_version WHERE version > 1 RETURNING version, name").fetchall()
        try:
            ran = token(tmp_path, url, *args)
            assert ran.returncode == ExitCode.CONFIGURATION
            assert "schema version 1" in ran.stderr
            assert db.execute("SELECT max(version) FROM schema_version").fetchone() == (1,)
        finally:
            for version, name in newest:
                db.execute("INSERT INTO schema_version VALUES (%s, %s, 1)", (version, name))


def test_a_database_that_does_not_answer_is_named_without_its_password(tmp_path: Path) -> None:
    """Asking again may help, so it is another exit code than that of a wrong URL."""
    url = f"postgresql://user:{SECRET}@/jobs?host={tmp_path}&port=5999"
    for args in (("list",), ("create", "--scope", "read"), ("revoke", "x")):
        ran = token(tmp_path, url, *args)
        assert (ran.returncode, SECRET in ran.stdout + ran.stderr) == (ExitCode.FAILED, False)
        assert "cannot be reached" in ran.stderr

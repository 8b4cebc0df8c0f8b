"""Starting on PostgreSQL: URLs, what is checked, what is said, and what is never shown."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from server.store.postgres.database import target_of
from server.store.postgres.migrate import migrations, newest_version
from server.store.refusal import DatabaseError
from tests.postgres.databases import cluster, database, empty_database

LIMIT_S = 60.0
SECRET = "s3cret-of-nobody"


def serve(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `millhand serve` to its end."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "worker.cli.main", "serve", "--port", "0", *arguments],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def checked(url: str) -> tuple[int, dict[str, object]]:
    """Return exit code and answer of `--check --json`."""
    done = serve("--check", "--json", "--db", url)
    assert SECRET not in done.stdout + done.stderr
    return done.returncode, json.loads(done.stdout)


def test_a_check_says_what_there_is_and_writes_nothing() -> None:
    """On an empty database, and on one with a schema; neither is changed."""
    newest = newest_version()
    with empty_database() as empty, database() as ready:
        for url, version in ((empty, 0), (ready, newest)):
            code, report = checked(url)
            assert (code, report["schemaVersion"], report["knownVersion"]) == (0, version, newest)
            assert str(report["engine"]).startswith("PostgreSQL 1")
        with psycopg.connect(empty) as connection:
            assert connection.execute("SELECT to_regclass('schema_version')").fetchone() == (None,)


def test_a_check_of_sqlite_writes_nothing(tmp_path: Path) -> None:
    """Neither a database nor the file beside it that servers lock."""
    code, report = checked(f"sqlite:///{tmp_path / 'jobs.db'}")
    assert (code, report["schemaVersion"]) == (0, 0)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "text.db").write_text("this is no database, whatever its name says")
    code, report = checked(f"sqlite:///{tmp_path / 'text.db'}")
    assert (code, "not a database" in str(report["error"])) == (5, True)


def test_a_newer_schema_is_refused_by_check_and_start() -> None:
    """An older server never writes into a schema that it does not know."""
    with database() as url, psycopg.connect(url, autocommit=True) as connection:
        connection.execute("INSERT INTO schema_version VALUES (99, '0099_future.sql', 1)")
        try:
            code, report = checked(url)
            assert (code, "schema version 99" in str(report["error"])) == (5, True)
            started = serve("--db", url)
            assert started.returncode == 5
            assert "start the newer program" in started.stderr
        finally:
            connection.execute("DELETE FROM schema_version WHERE version = 99")


def test_a_database_that_does_not_answer_is_named_without_its_password(tmp_path: Path) -> None:
    """Starting again may help then, so the exit code is another one than that of a wrong URL."""
    url = f"postgresql://user:{SECRET}@/jobs?host={tmp_path}&port=5999"
    code, report = checked(url)
    assert code == 1
    assert f"jobs on {tmp_path}, port 5999 cannot be reached" in str(report["error"])
    started = serve("--db", url)
    assert started.returncode == 1
    assert "cannot be reached" in started.stderr
    assert SECRET not in started.stdout + started.stderr


def test_a_user_who_may_not_make_tables_is_told_what_to_grant() -> None:
    """Before the start fails halfway."""
    with empty_database() as url:
        name = url.partition("@/")[2].partition("?")[0]
        cluster().ask("CREATE ROLE reader LOGIN")
        try:
            cluster().ask("REVOKE CREATE ON SCHEMA public FROM PUBLIC", name)
            code, report = checked(url.replace("millhand@", "reader@"))
            assert (code, "GRANT CREATE ON SCHEMA public TO reader" in str(report["error"])) == (5, True)
        finally:
            cluster().ask("DROP ROLE reader")


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql+psycopg://user:{SECRET}@host/db",
        f"postgre://user:{SECRET}@host/db",
        f"postgresql://user:{SECRET}@host/db?nonsense=1",
        f"postgresql://user:{SECRET}%ZZ@host/db",
        f"postgresql://user:x@{SECRET}@host/db",
        f"postgresql://user:{SECRET}/x@host/db",
    ],
)
def test_a_wrong_url_is_refused_without_a_word_of_it(url: str) -> None:
    """A password that is not escaped must not end up in a log."""
    code, report = checked(url)
    assert code == 5
    assert "URL" in str(report["error"])


def test_sessions_have_bounds() -> None:
    """A server that vanished, a lock that is not let go, a replica that stands still: none of it hangs."""
    with database() as url:
        found = target_of(url).parameters
        assert {"connect_timeout", "keepalives_idle", "tcp_user_timeout"} <= set(found)
        assert found["target_session_attrs"] == "read-write"
    with pytest.raises(DatabaseError, match="begins with 'mysql'"):
        target_of("mysql://host/db")


def test_servers_that_start_at_once_make_one_schema() -> None:
    """Each waits for the one that migrates, and all of them come up."""
    with empty_database() as url:
        script = (
            "import asyncio, sys; from server.store.choice import store_for\n"
            "async def main():\n"
            "    store = store_for(sys.argv[1]); await store.start(print); await store.close()\n"
            "asyncio.run(main())"
        )
        children = [subprocess.Popen([sys.executable, "-c", script, url]) for _ in range(3)]
        end = time.monotonic() + LIMIT_S
        assert [child.wait(max(1.0, end - time.monotonic())) for child in children] == [0, 0, 0]
        with psycopg.connect(url) as connection:
            versions = connection.execute("SELECT version FROM schema_version ORDER BY version").fetchall()
        assert versions == [(step.version,) for step in migrations()]

"""Migrations while other servers serve: all or nothing, without holding them up."""

from __future__ import annotations

import re
import threading
import time
from pathlib import Path

import psycopg
import pytest

from server.store.migration import Migration
from server.store.postgres import migrate as migrating
from server.store.postgres.database import Limits, connect, target_of
from server.store.postgres.migrate import migrate, migrations, version_of
from server.store.refusal import DatabaseError
from tests.postgres.databases import empty_database

LATER = Migration(
    99, "0099_later.sql", "CREATE TABLE later (x INTEGER); ALTER TABLE jobs ADD COLUMN later TEXT;"
)
LATER_INDEX = "INDEX{} IF NOT EXISTS later ON runs (org_id, updated_at)"
FIRST_RELEASE = 9  # the last step before the first release: nobody had rows yet
INDEX = re.compile(r"CREATE (?:UNIQUE )?INDEX (?!IF NOT EXISTS )", re.IGNORECASE)


def test_the_shipped_files_are_numbered_without_gaps() -> None:
    """Numbers say the order; a gap would be a file that was forgotten in the package."""
    steps = migrations()
    assert [step.version for step in steps] == list(range(1, len(steps) + 1))


def test_a_failing_step_leaves_the_schema_as_it_was() -> None:
    """Steps stand or fall together."""
    with empty_database() as url, connect(target_of(url), Limits()) as db:
        broken = Migration(2, "0002_broken.sql", "CREATE TABLE one (x INT); CREATE TABLE one (x INT);")
        with pytest.raises(DatabaseError, match='relation "one" already exists'):
            migrate(db, [migrations()[0], broken], 1)
        assert version_of(db) == 0
        assert migrate(db, migrations(), 1) == len(migrations())


def test_a_newer_database_is_refused_before_anything_is_locked() -> None:
    """An older server says so at once, also while the newer one migrates on."""
    with empty_database() as url, connect(target_of(url), Limits()) as db:
        migrate(db, [*migrations(), LATER], 1)
        with psycopg.connect(url) as other:
            other.execute("SELECT pg_advisory_xact_lock(%s)", (migrating.LOCK,))
            with pytest.raises(DatabaseError, match=r"has schema version 99.*start the newer program"):
                migrate(db, migrations(), 1)


def test_a_step_that_waits_for_a_table_does_not_hold_up_who_uses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A long transaction of another server lets neither its readers wait for the migration, nor fail it."""
    monkeypatch.setattr(migrating, "TABLE_LOCK_MS", 200)  # the bound itself, shortened
    with empty_database() as url, connect(target_of(url), Limits()) as db:
        migrate(db, migrations(), 1)
        with psycopg.connect(url) as long, psycopg.connect(url, autocommit=True) as reader:
            long.execute("SELECT * FROM jobs")  # its lock on the table is held until it ends
            thread = threading.Thread(target=migrate, args=(db, [*migrations(), LATER], 1))
            thread.start()
            while not waits_for_a_lock(reader):
                time.sleep(0.01)
            reader.execute("SET statement_timeout = '5s'")
            assert reader.execute("SELECT count(*) FROM jobs").fetchone() == (0,)
            assert thread.is_alive()
            long.rollback()
            thread.join(30)
            assert version_of(db) == LATER.version


def test_an_index_that_was_made_beforehand_is_not_made_again() -> None:
    """Who makes that of a release before its update, without holding up who writes, has a short update."""
    step = Migration(99, "0099_index.sql", f"CREATE {LATER_INDEX.format('')};")
    with empty_database() as url, connect(target_of(url), Limits()) as db:
        migrate(db, migrations(), 1)
        db.execute(f"CREATE {LATER_INDEX.format(' CONCURRENTLY')}".encode())
        place = "SELECT pg_relation_filenode('later') AS place"
        before = db.execute(place).fetchone()
        assert migrate(db, [*migrations(), step], 1) == step.version
        assert db.execute(place).fetchone() == before


def test_every_index_of_a_later_step_may_be_there_already() -> None:
    """Else an update would fail for whoever made it beforehand."""
    assert INDEX.search("CREATE INDEX later ON runs (id)")
    assert not INDEX.search(f"CREATE {LATER_INDEX.format('')}")
    assert [
        step.name for step in migrations() if step.version > FIRST_RELEASE and INDEX.search(step.sql)
    ] == []


def waits_for_a_lock(connection: psycopg.Connection) -> bool:
    """Tell whether somebody does."""
    return bool(connection.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchall())


def test_each_released_schema_has_its_dump() -> None:
    """A step that is added without one would never be tested with data."""
    dumps = {path.name for path in (Path(__file__).parents[1] / "released").glob("postgres-*.sql")}
    assert f"postgres-{len(migrations())}.sql" in dumps

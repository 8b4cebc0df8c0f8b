"""Look at a PostgreSQL database without changing it."""

from __future__ import annotations

import psycopg

from server.store.choice import DatabaseOptions
from server.store.migration import Migration, check_known
from server.store.postgres.database import check_server, connect, limits_of, target_of, unreachable
from server.store.postgres.migrate import migrations, version_of
from server.store.refusal import DatabaseError

__all__ = ["look"]

RIGHTS = """
SELECT current_setting('transaction_read_only') = 'on' AS is_read_only,
       coalesce(has_schema_privilege(current_schema(), 'CREATE'), FALSE) AS may_create,
       current_user AS name"""


def look(url: str, options: DatabaseOptions) -> tuple[str, str, int, list[Migration]]:
    """Return where it is, what serves it, the version of its schema, and the steps known here.

    Raises:
        DatabaseError: it is too old, newer than this program, read only, or the user may not make tables.
        DatabaseUnreachable: it does not answer.
    """
    target, steps = target_of(url), migrations()
    try:
        with connect(target, limits_of(options)) as connection:
            check_server(connection)
            version = version_of(connection)
            newest = check_known(version, steps)
            rights = connection.execute(RIGHTS).fetchone()
            shown = connection.info.parameter_status("server_version")
    except psycopg.Error as exc:
        raise unreachable(target, exc) from exc
    assert rights is not None
    if rights["is_read_only"]:
        raise DatabaseError(f"the database {target.name} is read only; is it a standby?")
    if version < newest and not rights["may_create"]:
        raise DatabaseError(
            f"the user {rights['name']} may not make tables in the database {target.name};"
            f" GRANT CREATE ON SCHEMA public TO {rights['name']}"
        )
    return target.name, f"PostgreSQL {shown}", version, steps

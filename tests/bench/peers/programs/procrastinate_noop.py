"""procrastinate on PostgreSQL: durable as a server of ours on PostgreSQL. Tasks share a process."""

from __future__ import annotations

import os
import sys

import procrastinate
from stamps import main, stamp

is_client = __name__ == "__main__"
kind = procrastinate.SyncPsycopgConnector if is_client else procrastinate.PsycopgConnector
app = procrastinate.App(connector=kind(conninfo=os.environ["PEERS_POSTGRES"]))


@app.task(name="noop")
def noop() -> None:
    """Do nothing."""
    stamp()


if is_client:
    with app.open():
        if sys.argv[1] == "schema":
            app.schema_manager.apply_schema()
        else:
            main(noop.defer)

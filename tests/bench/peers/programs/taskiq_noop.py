"""taskiq on a stream, which has acknowledgements, with results. Tasks share a process's loop."""

from __future__ import annotations

import asyncio
import os

from stamps import main, stamp
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

broker = RedisStreamBroker(url=os.environ["PEERS_REDIS"]).with_result_backend(
    RedisAsyncResultBackend(redis_url=os.environ["PEERS_REDIS"])
)


@broker.task
async def noop() -> dict[str, int]:
    """Do nothing."""
    stamp()
    return {"done": 1}


if __name__ == "__main__":
    loop = asyncio.new_event_loop()
    loop.run_until_complete(broker.startup())
    main(lambda: loop.run_until_complete(noop.kiq()))
    loop.run_until_complete(broker.shutdown())

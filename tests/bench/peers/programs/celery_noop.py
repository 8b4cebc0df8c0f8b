"""Celery with what it has of our promises: late acknowledgement, lost workers' tasks again, results kept."""

from __future__ import annotations

import os

from celery import Celery
from stamps import main, stamp

app = Celery("celery_noop", broker=os.environ["PEERS_REDIS"], backend=os.environ["PEERS_REDIS"])
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=4,
    broker_connection_retry_on_startup=True,
)


@app.task(name="noop")
def noop() -> dict[str, int]:
    """Do nothing."""
    stamp()
    return {"done": 1}


if __name__ == "__main__":
    main(noop.delay)

"""A fleet with an hour behind it, for pictures: machines that work, wait, ail and go away."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from msgspec import Struct

from server.prices import Price, Prices
from tests.integration.dashboard import Site
from worker.api.wire import format_instant

__all__ = ["PRICES", "a_fleet"]

PRICES: Final = Prices(
    currency="EUR",
    price=(
        Price(machine_type="g2-*", spot=True, machine_hour=0.36, slots=2),
        Price(machine_type="g2-*", machine_hour=0.92, slots=2),
        Price(machine_type="n2-*", machine_hour=0.21, slots=3),
    ),
)
ENDS: Final = (
    *[{"resultCode": "Success"}] * 14,
    {"resultCode": "Failed", "error": "handler_error: ValueError: the mesh has no faces"},
    {"resultCode": "Failed", "error": "preempted: the machine is taken away"},
)


class Host(Struct, frozen=True):
    """One machine of it."""

    name: str
    machine_type: str
    gpu: str | None
    slots: int
    is_spot: bool

    @property
    def facts(self) -> dict[str, Any]:
        """What its runs say of it."""
        told = {"podId": self.name, "machineType": self.machine_type, "zone": "europe-west4-a"}
        return {**told, "preemptible": self.is_spot, **({"gpuType": self.gpu} if self.gpu else {})}


HOSTS: Final = (
    Host("gpu-1/7f3a", "g2-standard-8", "NVIDIA L4", 2, True),
    Host("gpu-2/c01d", "g2-standard-8", "NVIDIA L4", 2, True),
    Host("gpu-3/99e2", "g2-standard-8", "NVIDIA L4", 2, False),
    Host("cpu-1/4b1c", "n2-standard-4", None, 3, False),
)


def a_fleet(here: Site) -> None:
    """Let an hour have gone by; the same one each time, but for its date."""
    chance, now = random.Random(7), datetime.now(UTC)
    jobs = {
        "render-webgl": here.job(title="Sunflowers, 4K", type="render-webgl"),
        "mesh-convert": here.job(title="Catalogue 2026", type="mesh-convert"),
    }
    for number, host in enumerate(HOSTS):
        announce(here, host, number, now)
        type_ = "render-webgl" if host.gpu else "mesh-convert"
        for slot in range(host.slots):
            at = now - timedelta(minutes=58 - 4 * number - 2 * slot)
            while at < now - timedelta(seconds=20):
                took = timedelta(seconds=chance.choice((25, 70, 150, 320, 500)))
                run = claimed(here, jobs[type_], host, at, f"frame {chance.randint(1, 999):03}")
                if at + took >= now:
                    here.report(run, startedAt=format_instant(at), progress=chance.random())
                    break
                ended(here, run, host, took.total_seconds(), chance.choice(ENDS))
                at += took + timedelta(seconds=chance.choice((0, 0, 0, 0, 240)))
    for type_, job in jobs.items():
        for number in range(9):
            here.task(job, title=f"next {number}", type=type_)


def announce(here: Site, host: Host, number: int, now: datetime) -> None:
    """Have an agent say how it stands."""
    gpu = {"name": host.gpu, "condition": "fit", "reason": None}
    status: dict[str, Any] = {
        "podId": host.name,
        "slots": {"total": host.slots},
        "version": "0.1.0",
        "started": format_instant(now - timedelta(minutes=58)),
        "gpus": [gpu] if host.gpu else [],
    }
    if number == 1:
        reason = "it is in quarantine: 3 tasks in a row failed on it"
        status["gpus"] = [{**gpu, "condition": "quarantined", "reason": reason, "quarantineLeftS": 312.0}]
    if number == 0:
        message = "the cloud takes this machine away"
        deadline = format_instant(now + timedelta(seconds=28))
        status["drain"] = {"kind": "preempted", "message": message, "deadline": deadline}
        status["holds"] = [{"by": "drain", "reason": "the agent drains"}]
    machine = {key: host.facts[key] for key in ("machineType", "zone", "preemptible")}
    types = {"render-webgl" if host.gpu else "mesh-convert": {"summary": "Draw or convert models"}}
    here.api.put(
        f"/api/agents/{host.name.rpartition('/')[2]}",
        json={"status": status, "machine": machine, "handlers": types},
    )


def claimed(here: Site, job: dict[str, Any], host: Host, at: datetime, title: str) -> dict[str, Any]:
    """Make a task and claim it."""
    task = here.task(job, title=title, type=job["type"])
    return here.run(task, startedAt=format_instant(at), **host.facts)


def ended(here: Site, run: dict[str, Any], host: Host, took_s: float, end: dict[str, Any]) -> None:
    """Report how a run ended, and what it took."""
    began = run["startedAt"]
    stopped = format_instant(datetime.fromisoformat(began) + timedelta(seconds=took_s))
    used = {
        "wallClockTime": took_s,
        "CPUTime": round(took_s * 0.8, 1),
        "GPUTime": took_s if host.gpu else 0,
        "RAMUsage": 900_000_000,
    }
    here.report(run, startedAt=began, stoppedAt=stopped, **used, **end)

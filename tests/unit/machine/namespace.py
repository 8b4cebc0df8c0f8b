"""The program that `test_machine_cloud_real.py` starts in a network namespace of its own.

It gives the loopback the clouds' address, and for every case serves metadata there and lets the detection
run as it is. Writes one JSON object: by case the facts, the requests that came, and the seconds it took.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.unit.machine.metadata_server import AWS, AZURE, GCE, GCE_BASE, Case, serving
from tests.unit.machine.recorded import record
from worker.machine.detect import LIMIT_S, as_machine, detect
from worker.machine.in_cloud import Clouds
from worker.machine.metadata import ADDRESS

GENEROUS_S = 60.0  # a bound for a hang, not a measure
STUCK = ("hang", "drip")  # these run into the limit, so they get the one that agents have
NO_GPU = [sys.executable, "-I", "-S", "-c", 'print(\'{"error": "none", "kind": "library"}\')']
GOOGLE = {"sys_vendor": "Google", "product_name": "Google Compute Engine"}
AMAZON = {"sys_vendor": "Amazon EC2", "product_name": "g6.2xlarge"}
MICROSOFT = {
    "sys_vendor": "Microsoft Corporation",
    "product_name": "Virtual Machine",
    "chassis_asset_tag": "7783-7084-3265-9085-8269-3286-77",
}
HIDDEN_ON_GKE = {
    path: reply for path, reply in GCE.items() if path.rpartition("/")[2] in {"id", "zone"}
} | {GCE_BASE + "scheduling/preemptible": (403, "<secret>")}  # fmt: skip
HTML = dict.fromkeys(GCE, (200, "<html>secret</html>"))
Kind = tuple[dict[str, str], Case]


def cases() -> dict[str, Kind]:
    """Return the cases by name: the firmware of the machine, and what is served."""
    odd = {name: (GOOGLE, Case(GCE, oddity=name)) for name in ("hang", "drip", "giant", "raw", "redirect")}
    all_clouds = Case({**GCE, **AWS, **AZURE})
    return {
        "gce": (GOOGLE, Case(GCE)),
        "aws": (AMAZON, Case(AWS)),
        "azure": (MICROSOFT, Case(AZURE)),
        "gke": (GOOGLE, Case(HIDDEN_ON_GKE)),
        "404": (MICROSOFT, Case({})),
        "no token": (AMAZON, Case({})),
        "500": (GOOGLE, Case(dict.fromkeys(GCE, (500, "<secret>")))),
        "html": (GOOGLE, Case(HTML)),
        "no flavor": (GOOGLE, Case(GCE, flavor="")),
        "azure garbage": (MICROSOFT, Case({"/metadata/instance/compute": (200, '{"vmId": ["<secret>"')})),
        "own machine": ({"sys_vendor": "Dell Inc.", "product_name": "PowerEdge R750"}, all_clouds),
        "no dmi": ({}, Case(AWS)),
        "no dmi, on aws": ({}, Case(AWS)),
        "no dmi, no cloud": ({}, Case({})),
        "configured": (GOOGLE, Case(GCE)),
        **odd,
        "aws hang": (AMAZON, Case(AWS, oddity="hang")),
    }


def have_address() -> None:
    """Let this namespace have the address of the clouds' metadata."""
    for change in (["link", "set", "lo", "up"], ["addr", "add", f"{ADDRESS[0]}/32", "dev", "lo"]):
        subprocess.run(["ip", *change], check=True, timeout=30)


def main() -> None:
    """Run all cases below the folder that is given and write what came out."""
    have_address()
    folder = Path(sys.argv[1])
    answers = {name: run(folder / name, name, *kind) for name, kind in cases().items()}
    json.dump({**answers, "command": command(Case(AZURE))}, sys.stdout)


def run(root: Path, name: str, dmi: dict[str, str], case: Case) -> dict[str, Any]:
    """Detect on one recorded machine beside what is served."""
    record(root, {f"sys/class/dmi/id/{key}": f"{value}\n" for key, value in dmi.items()})
    record(
        root, {"etc/machine-id": "0123456789abcdef0123456789abcdef\n", "proc/cpuinfo": "model name: CPU\n"}
    )
    known: dict[str, Any] = {"zone": "rack-7", "preemptible": False} if name == "configured" else {}
    known["limit_s"] = LIMIT_S if case.oddity in STUCK else GENEROUS_S
    with serving(ADDRESS, case):
        began = time.monotonic()
        clouds = Clouds(root, "any" if name.startswith("no dmi,") else "auto", {})
        facts = asyncio.run(detect({}, root=root, gpu_probe=NO_GPU, clouds=clouds, **known))
        took_s = time.monotonic() - began
    found = {"facts": as_machine(facts), "requests": case.requests, "took_s": took_s}
    return {**found, "may_tell_more": clouds.may_tell_more}


def command(case: Case) -> dict[str, Any]:
    """Run the command of people, on this machine itself; its firmware may be that of any maker."""
    with serving(ADDRESS, case):
        ran = subprocess.run(
            [sys.executable, "-P", "-m", "worker.cli.main", "facts", "--json"],
            env={**os.environ, "MILLHAND_CLOUD": "azure"},
            stdout=subprocess.PIPE,
            check=True,
            timeout=GENEROUS_S,
        )
    return {"facts": json.loads(ran.stdout), "requests": case.requests, "took_s": None}


if __name__ == "__main__":
    main()

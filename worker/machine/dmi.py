"""Which clouds' metadata to ask, by what the firmware (DMI) says of the maker; no request is made here.

Sources:
    GCE: https://cloud.google.com/compute/docs/instances/detect-compute-engine
    AWS: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/identify_ec2_instances.html
    Azure: the asset tag of every machine, as the agents of Azure and cloud-init look for it:
        https://docs.cloud-init.io/en/latest/reference/datasources/azure.html
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from worker.machine.cloud import AWS, AZURE, GCE

__all__ = ["hinted", "read_dmi"]

FOLDER = "sys/class/dmi/id"
# All of them can be read without root, unlike serial numbers and UUIDs.
NAMES = ("sys_vendor", "product_name", "bios_vendor", "bios_version", "board_vendor", "chassis_asset_tag")
AZURE_ASSET_TAG = "7783-7084-3265-9085-8269-3286-77"  # Hyper-V elsewhere has the same maker, not this tag
MAX_CHARS = 256  # of one value


def read_dmi(root: Path) -> dict[str, str]:
    """Return what the firmware says, by the kernel's names; empty where DMI cannot be read at all."""
    found: dict[str, str] = {}
    for name in NAMES:
        try:
            with (root / FOLDER / name).open(errors="replace") as file:
                found[name] = file.read(MAX_CHARS).strip()
        except OSError:
            continue  # a machine of another maker, or a container that sees no DMI
    return found


def hinted(dmi: Mapping[str, str]) -> tuple[str, ...]:
    """Return the cloud that the firmware hints at; none where it says nothing, or something else."""
    if is_gce(dmi):
        return (GCE,)
    if is_aws(dmi):
        return (AWS,)
    return (AZURE,) if dmi.get("chassis_asset_tag") == AZURE_ASSET_TAG else ()


def is_gce(dmi: Mapping[str, str]) -> bool:
    """Tell whether it is Compute Engine; laptops have the maker Google too, with names of their own."""
    return dmi.get("product_name") in {"Google Compute Engine", "Google"}


def is_aws(dmi: Mapping[str, str]) -> bool:
    """Tell whether it is EC2: Nitro and bare metal name it as the maker, Xen in the firmware's version."""
    makers = {dmi.get(name) for name in ("sys_vendor", "bios_vendor", "board_vendor")}
    return "Amazon EC2" in makers or dmi.get("bios_version", "").endswith("amazon")

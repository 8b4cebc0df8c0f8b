"""GPUs that are not there, for container engines: what NVIDIA's toolkit installs for them, in our form.

Podman finds GPUs in a CDI file, as `nvidia-ctk cdi generate` writes it; docker calls a hook, as the toolkit
installs it. Both put one device node a GPU into a container.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from uuid import uuid4

__all__ = ["cdi_file", "docker_hook"]

CDI: Final = Path("/run/cdi")  # where podman looks, beside /etc/cdi; 4.3 knows no other place
HOOK: Final = """#!/bin/sh
# Docker calls it once the container's root is mounted, before it is entered; stdin says which it is.
set -eu
PATH=/usr/sbin:/usr/bin:/sbin:/bin
state=$(cat)
pid=$(echo "$state" | sed 's/.*"pid": *\\([0-9]*\\).*/\\1/')
bundle=$(echo "$state" | sed 's/.*"bundle": *"\\([^"]*\\)".*/\\1/')
dev=$(sed 's/.*"root":{"path":"\\([^"]*\\)".*/\\1/' "$bundle/config.json")/dev
asked=$(grep -o '"NVIDIA_VISIBLE_DEVICES=[^"]*"' "$bundle/config.json" | tail -n 1 | tr -d '"')
for uuid in $(echo "${asked#*=}" | tr , ' '); do
    case " KNOWN " in *" $uuid "*) ;; *) echo "unknown device $uuid" >&2; exit 1 ;; esac
    nsenter --target "$pid" --mount -- mknod -m 666 "$dev/nvidia-$uuid" c 1 3
done
"""


@contextmanager
def cdi_file(uuids: Sequence[str]) -> Iterator[Path]:
    """Describe the GPUs to podman, for the whole machine; each is a node that reads like /dev/null."""
    devices = [
        {
            "name": uuid,
            "containerEdits": {"deviceNodes": [{"path": f"/dev/nvidia-{uuid}", "hostPath": "/dev/null"}]},
        }
        for uuid in uuids
    ]
    is_new = not CDI.exists()
    CDI.mkdir(exist_ok=True)
    path = CDI / f"millhand-tests-{uuid4().hex}.json"
    path.write_text(json.dumps({"cdiVersion": "0.5.0", "kind": "nvidia.com/gpu", "devices": devices}))
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)
        if is_new and not any(CDI.iterdir()):
            CDI.rmdir()


def docker_hook(folder: Path, uuids: Sequence[str]) -> Path:
    """Put the hook's program into a folder, and return that: a dockerd whose PATH has it gives GPUs."""
    folder.mkdir()
    hook = folder / "nvidia-container-runtime-hook"
    hook.write_text(HOOK.replace("KNOWN", " ".join(uuids)))
    hook.chmod(0o755)
    return folder

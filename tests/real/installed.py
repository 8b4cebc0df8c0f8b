"""A booted systemd on which the shipped installer has installed the wheel of this tree."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import distribution
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tests.real.engine import HERE, engine, missing
from tests.real.host import AGENT, Host
from tests.wheels import PROJECT, build_wheel, pack_libraries, requirements_of

__all__ = ["HOW", "INSTALL", "SHIPPED", "WAITS", "installed_host"]

SHIPPED: Final = HERE.parents[1] / "deploy" / "systemd"
INSTALL: Final = (
    "PIP_NO_INDEX=1 PIP_FIND_LINKS=/wheels PIP_CONFIG_FILE=/dev/null PIP_NO_COMPILE=1 /deploy/install.sh"
)
EXTRAS: Final = "server,mesh"
HOW: Final = f"--extras {EXTRAS} --python /usr/bin/python3"
WAITS: Final = '''
import time
from pathlib import Path
from worker import Context, handler

@handler("waits")
def waits(ctx: Context) -> dict:
    """Wait until a file is there, and stop when it is told to."""
    while not Path("/run/go").exists():
        ctx.check()
        time.sleep(0.05)
    return {"has_gone": True}
'''


@contextmanager
def installed_host(handlers: str, settings: str = "") -> Iterator[Host]:
    """Boot, and install server and agent; both are started.

    Args:
        handlers: a module of the agent's own, beside the built-in ones.
        settings: lines of ``[Service]`` beside those of the shipped unit.
    """
    done = subprocess.run([HERE / "debian_python.sh"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        missing(f"there is no Python of Debian's: {done.stderr[-1000:]}")
    with TemporaryDirectory(prefix="millhand-units-", dir="/var/tmp") as folder:
        root = Path(folder) / "root"
        lay_out(root, handlers)
        with engine("with_systemd.sh", "IN", {"FILES": str(root)}) as inside:
            it = Host(shlex.split(inside))
            it.drop_in(
                AGENT,
                "test",
                "[Service]\nEnvironment=MILLHAND_HANDLERS=/etc/millhand/handlers.py MILLHAND_CLOUD=none\n"
                f"Environment=MILLHAND_POLL_MAX=1\n{settings}",
            )
            it.sh(f"{INSTALL} install --wheel /wheels/millhand-*.whl {HOW}")
            yield it


def lay_out(root: Path, handlers: str) -> None:
    """Write what the host has from outside: wheels, the shipped files, handlers."""
    wheels, second = root / "wheels", root / "second"
    wheels.mkdir(parents=True)
    second.mkdir()
    pack_libraries(wheels, *requirements_of(distribution(PROJECT), *EXTRAS.split(",")))
    wheel = build_wheel(SHIPPED.parents[1], wheels)
    (second / wheel.name).write_bytes(wheel.read_bytes() + b"\0")  # the same, and another file
    shutil.copytree(SHIPPED, root / "deploy")
    (root / "etc/millhand").mkdir(parents=True)
    (root / "etc/millhand/handlers.py").write_text(handlers)

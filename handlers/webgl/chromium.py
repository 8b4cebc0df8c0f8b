"""Find a Chromium, and say how it is started: alone, without a network, in its own sandbox."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from worker import Fail

__all__ = ["BINARY", "SANDBOX", "Launch", "find_chromium", "launch_of"]

BINARY: Final = "MILLHAND_CHROMIUM"  # the program, where it is not the first of these on the PATH:
NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
SANDBOX: Final = "MILLHAND_CHROMIUM_SANDBOX"  # "off": without sandbox and namespaces, knowingly
NOBODY: Final = 65534
PROBE_S: Final = 10.0
INSTALL: Final = (
    f"install one (Debian: apt-get install --no-install-recommends chromium), or name it in {BINARY}"
)
# Its files lie in a file system that only it sees, in memory, and which is gone when it is.
OWN_FOLDER: Final = "/tmp"  # noqa: S108 - of its own
OWN_FILES: Final = f"mount -t tmpfs -o mode=1777,size=2g,nr_inodes=65536 tmpfs {OWN_FOLDER}"
TO_PIPES: Final = "3<&0 4>&1 </dev/null >/dev/null"  # where --remote-debugging-pipe reads and writes
QUIET: Final = (
    *(
        "--headless",
        "--remote-debugging-pipe",
        "--no-startup-window",
        "--no-first-run",
        "--no-default-browser-check",
    ),
    *(
        "--disable-breakpad",
        "--disable-dev-shm-usage",
        "--disable-extensions",
    ),
    *("--disable-component-extensions-with-background-pages", "--disable-default-apps", "--disable-sync"),
    *("--disable-hang-monitor", "--disable-renderer-backgrounding", "--disable-background-timer-throttling"),
    *("--disable-field-trial-config", "--metrics-recording-only", "--password-store=basic", "--mute-audio"),
    *("--force-color-profile=srgb", "--force-device-scale-factor=1", "--lang=en-US"),
)
# What the browser itself does against talking, beside having no network, and where it has one.
SILENT: Final = (
    *("--disable-background-networking", "--disable-component-update", "--disable-domain-reliability"),
    *("--disable-client-side-phishing-detection", "--no-pings", "--dns-prefetch-disable", "--disable-quic"),
    *("--no-proxy-server", "--host-resolver-rules=MAP * ~NOTFOUND"),
    *(
        "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
        "--webrtc-ip-handling-policy=disable_non_proxied_udp",
    ),
    "--disable-features=SpareRendererForSitePerProcess,Translate,OptimizationHints,MediaRouter,HttpsUpgrades",
)
SOFTWARE: Final = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
GPU: Final = ("--use-gl=angle", "--use-angle=gl-egl", "--ignore-gpu-blocklist", "--enable-unsafe-swiftshader")


@dataclass(frozen=True)
class Launch:
    """How a browser is started.

    Attributes:
        argv: the program and its arguments; its stdin and stdout are the ends of its debugging pipes.
        environment: all that it sees.
        folder: where its files go; None where they are in memory, and its own.
        is_sandboxed: whether it has its sandbox, its own network without any device, and its own files.
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    folder: Path | None
    is_sandboxed: bool


def find_chromium(environment: Mapping[str, str]) -> str:
    """Return the path of the browser.

    Raises: Fail where there is none; the message says what to install.
    """
    if named := environment.get(BINARY):
        if found := shutil.which(named, path=environment.get("PATH")):
            return found
        raise Fail(f"{BINARY} names {named}, which is no program that can be run here; {INSTALL}")
    for name in NAMES:
        if found := shutil.which(name, path=environment.get("PATH")):
            return found
    raise Fail(f"there is no Chromium on the PATH of this worker (looked for {', '.join(NAMES)}); {INSTALL}")


def launch_of(program: str, environment: Mapping[str, str], folder: Path | None, *, with_gpu: bool) -> Launch:
    """Return how to start the browser.

    As root it becomes `nobody`, because it refuses its sandbox to root. `folder` is for its files where
    the sandbox is off.

    Raises: Fail where its sandbox cannot be had, and nobody said that it shall go without.
    """
    flags = [*QUIET, *SILENT, *(GPU if with_gpu else SOFTWARE)]
    seen = {
        name: environment[name]
        for name in ("PATH", "LD_LIBRARY_PATH", "MILLHAND_TREE")
        if name in environment
    }
    if is_off(environment):
        assert folder is not None
        seen |= {
            "HOME": str(folder),
            "TMPDIR": "/proc/self/cwd",
            "LANG": "C.UTF-8",
        }  # its socket's name is short
        argv = [
            *shell(f'exec "$@" {TO_PIPES}'),
            program,
            *flags,
            f"--user-data-dir={folder}/profile",
            "--no-sandbox",
        ]
        return Launch(tuple(argv), seen, folder, is_sandboxed=False)
    user = NOBODY if os.geteuid() == 0 else os.geteuid()
    group = NOBODY if os.geteuid() == 0 else os.getegid()
    apart = [*as_nobody(with_gpu), "unshare", "--user", "--map-root-user", "--net", "--mount", "--"]
    check_namespaces(apart, seen)
    back = f"unshare --user --map-user={user} --map-group={group} --"
    argv = [
        *apart,
        *shell(f'{OWN_FILES} && exec {back} "$@" {TO_PIPES}'),
        program,
        *flags,
        f"--user-data-dir={OWN_FOLDER}/profile",
    ]
    seen |= {"HOME": OWN_FOLDER, "TMPDIR": OWN_FOLDER, "LANG": "C.UTF-8"}
    return Launch(tuple(argv), seen, None, is_sandboxed=True)


def is_off(environment: Mapping[str, str]) -> bool:
    """Tell whether the operator switched the sandbox off; raise Fail where the setting says neither."""
    value = environment.get(SANDBOX, "on").lower()
    if value not in ("on", "off"):
        raise Fail(f"{SANDBOX} must be on or off, not {value!r}")
    return value == "off"


def shell(line: str) -> list[str]:
    """Return a shell that runs one line of ours; what follows are the line's arguments."""
    return ["sh", "-c", line, "sh"]


def as_nobody(with_gpu: bool) -> list[str]:
    """Return what becomes `nobody`, where we are root; it keeps the groups that own the GPU's devices."""
    if os.geteuid() != 0:
        return []
    groups = {path.stat().st_gid for path in Path("/dev/dri").glob("renderD*")} if with_gpu else set()
    kept = f"--groups={','.join(map(str, sorted(groups)))}" if groups else "--clear-groups"
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", kept]


def check_namespaces(apart: Sequence[str], environment: Mapping[str, str]) -> None:
    """Raise Fail where the browser cannot have a network, files and a sandbox of its own."""
    try:
        done = subprocess.run(
            [*apart, *shell(OWN_FILES)],
            env=dict(environment),
            capture_output=True,
            text=True,
            timeout=PROBE_S,
            check=False,
        )
        said = done.stderr.strip()[-300:] if done.returncode else ""
    except (OSError, subprocess.TimeoutExpired) as exc:
        said = str(exc)
    if said:
        raise Fail(
            f"the browser cannot be shut in here: it needs user namespaces, `unshare`, `setpriv` ({said}); "
            f"allow them (docs/handlers.md, render-webgl), or set {SANDBOX}=off on this worker to go without"
        )

"""Changes whatever a process has beside its code; the next run of the type must find none of it."""

import asyncio
import gc
import locale
import os
import random
import resource
import signal
import socket
import sys
import warnings
from typing import Any

from worker import Context, handler

END = {
    "tasks": [{}, {"is_second": True}],
    "value": {
        "cwd": True,
        "umask": 0o22,
        "environment": None,
        "sigint": True,
        "sigalrm": True,
        "recursion": True,
        "timeout": None,
        "collects": True,
        "files": True,
    },
    "log": ["printed as ever"],
}


@handler()
def changes_its_surroundings(ctx: Context, *, is_second: bool = False) -> dict[str, Any]:
    """Change them, or tell how they are."""
    if is_second:
        print("printed as ever")
        return look(ctx)
    os.umask(0)
    os.chdir("/")
    os.environ["ZOO"] = "was here"
    os.environ.pop("PATH", None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    sys.setrecursionlimit(200)
    socket.setdefaulttimeout(0.001)
    locale.setlocale(locale.LC_ALL, "C")
    warnings.simplefilter("error")
    random.seed(0)
    gc.disable()
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    asyncio.set_event_loop_policy(asyncio.DefaultEventLoopPolicy())
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: PTH123, SIM115 - left open, as it happens
    return {}


def look(ctx: Context) -> dict[str, Any]:
    """Return what is seen."""
    mask = os.umask(0o22)
    return {
        "cwd": os.getcwd() == str(ctx.workdir),  # noqa: PTH109
        "umask": mask,
        "environment": os.environ.get("ZOO"),
        "sigint": signal.getsignal(signal.SIGINT) is signal.default_int_handler,
        "sigalrm": signal.getsignal(signal.SIGALRM) is signal.SIG_DFL,
        "recursion": sys.getrecursionlimit() >= 1000,
        "timeout": socket.getdefaulttimeout(),
        "collects": gc.isenabled(),
        "files": resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 64,
    }

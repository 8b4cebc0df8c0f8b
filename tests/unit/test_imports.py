"""What an import costs: SDK and children start light, and the agent's parts stay out of a child."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys

import pytest

HEAVY = {
    "aiohttp", "httpx", "numpy", "obstore", "prometheus_client", "psutil", "pynvml", "rich", "starlette",
    "structlog", "tenacity", "trimesh", "uvicorn",
}  # fmt: skip
COLLECTED = """
import gc, weakref
from worker.cli.lean import load_lean, settle
load_lean()
print(gc.isenabled())
settle()
print(gc.isenabled(), gc.get_freeze_count() > 10_000)
class Ring: pass
ring = Ring()
ring.ring, gone = ring, weakref.ref(ring)
del ring
gc.collect()
print(gone() is None)
"""
HEAPS = """
import sys, threading
from worker.cli.lean import share_one_heap
if sys.argv[1:]:
    share_one_heap()
begun, done = threading.Barrier(5), threading.Event()
def hold():
    held = bytearray(10_000)
    begun.wait()
    done.wait()
threads = [threading.Thread(target=hold) for _ in range(4)]
for thread in threads: thread.start()
begun.wait()
closed = [line.split()[0].split("-") for line in open("/proc/self/maps") if " ---p " in line]
print(sum(int(end, 16) - int(start, 16) > 32 * 1024**2 for start, end in closed))
done.set()
"""
LIST_MODULES = "import sys, json; print(json.dumps(sorted(sys.modules)))"


def modules_after(statement: str) -> set[str]:
    """Return the names of the modules that a fresh interpreter has loaded after a statement."""
    code = f"{statement}\n{LIST_MODULES}"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    return set(json.loads(answer.stdout))


def test_author_who_imports_the_sdk_loads_nothing_heavy() -> None:
    """`from worker import handler, Context` loads no library beside the standard one, and no event loop."""
    loaded = modules_after("from worker import handler, Context")
    assert "worker.sdk.handler" in loaded
    assert not loaded & (HEAVY | {"asyncio", "msgspec", "worker.api", "worker.agent", "worker.executor"})


def test_command_line_that_starts_loads_no_http_stack() -> None:
    """`millhand --help` pays neither for HTTP nor logs, meshes or the server."""
    loaded = modules_after("import worker.cli.main")
    assert not loaded & (HEAVY - {"rich"})
    assert not any(name.startswith(("server", "worker.agent", "worker.api.client")) for name in loaded)


def test_child_that_starts_holds_no_part_of_the_agent() -> None:
    """A child has neither the API's client nor the agent's libraries in its memory, nor an event loop."""
    loaded = modules_after(
        "import worker.executor.child as child\ntry: child.main(999)\nexcept OSError: pass\n"
    )
    assert "worker.executor.child" in loaded
    assert not loaded & (HEAVY | {"asyncio"})
    reached = tuple(f"worker.{part}" for part in ("agent", "api.client", "api.token", "cli", "reporting"))
    assert not {name for name in loaded if name.startswith(reached)}


def test_agent_without_a_page_loads_nothing_for_it() -> None:
    """Neither the server of HTTP nor the library of metrics; most agents have no page, nor a proxy."""
    loaded = modules_after("import worker.agent.main")
    assert "worker.agent.operators.survey" in loaded
    assert not loaded & {
        "aiohttp",
        "prometheus_client",
        "worker.agent.operators.metrics",
        "worker.agent.operators.page",
    }


def test_agent_that_waits_holds_no_library_that_it_does_not_use() -> None:
    """A direct way to a plain URL, on Linux, without a cloud: 5 MiB, and a tenth of the CPU of its start."""
    loaded = modules_after(
        "from worker.cli import main\n"
        "main.group.get_command(None, 'agent')\n"
        "from worker.cli.lean import load_lean\n"
        "load_lean()\n"
        "import worker.agent.main"
    )
    assert not loaded & {"difflib", "http", "http.client", "httpx", "psutil", "tomllib", "urllib.request"}
    assert not loaded & {"importlib.metadata", "email.message", "zipfile"}


def test_agent_that_starts_loads_nothing_to_draw_with() -> None:
    """Its libraries do without rich and pygments, those by a proxy too; who wants them later has them."""
    loaded = modules_after(
        'from worker.cli.lean import load_lean; load_lean("httpx"); import worker.agent.main'
    )
    assert {"structlog", "httpx"} <= loaded
    assert not {name for name in loaded if name.split(".")[0] in ("rich", "pygments")}
    assert "rich.table" in modules_after(
        "from worker.cli.lean import load_lean; load_lean(); import rich.table"
    )


def test_the_collector_rests_while_libraries_are_loaded_and_looks_at_none_of_them_afterwards() -> None:
    """What comes later is looked at as ever."""
    answer = subprocess.run(
        [sys.executable, "-c", COLLECTED], capture_output=True, text=True, timeout=60, check=True
    )
    assert answer.stdout.split() == ["False", "True", "True", "True"]


def test_what_is_loaded_already_stays_as_it_is() -> None:
    """A command that draws may run an agent in its own process."""
    loaded = modules_after("import rich.table; from worker.cli.lean import load_lean; load_lean()")
    assert "rich.table" in loaded
    assert "structlog" not in loaded


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library is not glibc")
def test_the_threads_of_an_agent_share_one_heap() -> None:
    """A heap is told by what glibc reserves for it: some 64 MiB without access."""

    def heaps(*arguments: str, **said: str) -> int:
        told = {"MALLOC_ARENA_MAX", "GLIBC_TUNABLES"}
        env = {name: value for name, value in os.environ.items() if name not in told}
        answer = subprocess.run(
            [sys.executable, "-c", HEAPS, *arguments], capture_output=True, text=True, timeout=60, check=True,
            env=env | said,
        )  # fmt: skip
        return int(answer.stdout)

    assert heaps() > 0
    assert heaps("shared") == 0
    assert heaps("shared", GLIBC_TUNABLES="glibc.malloc.trim_threshold=131072") == 0
    for asked in ({"MALLOC_ARENA_MAX": "3"}, {"GLIBC_TUNABLES": "glibc.malloc.arena_max=3"}):
        assert heaps("shared", **asked) == 2  # beside the main one, which is no mapping

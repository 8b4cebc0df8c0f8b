"""The pages that teach: whoever follows them step by step sees what they say.

Those that begin with an installation are followed from a plain shell: the machine's own Python, an empty
home, and pip, which takes millhand from the tree and the libraries from wheels of the locked ones.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.integration.page import Block, Terminal, blocks, missing
from tests.integration.ports import free_port
from tests.wheels import pip_settings

HOME = Path(__file__).resolve().parents[2]
FROM_NOTHING = ("docs/first-handler.md", "docs/packaging-handlers.md")
INSTALLED_PAGES = (
    "docs/testing-handlers.md",
    "docs/long-jobs.md",
    "docs/gpu-handler.md",
    "docs/writing-handlers.md",
)
INSTALLED = HOME / ".venv" / ".project"


class Reader:
    """Somebody who follows a page, in a home of their own, at terminals."""

    def __init__(self, home: Path, programs: str, settings: Mapping[str, str] | None = None) -> None:
        """Sit down, with a folder of programs; port and cloud are those of a test, and nothing else is."""
        kept = {
            name: value
            for name, value in (settings or os.environ).items()
            if not name.startswith(("MILLHAND_", "XDG_", "PYTEST_", "VIRTUAL_ENV", "PYTHON"))
        }
        kept["PATH"] = os.pathsep.join(
            folder for folder in kept["PATH"].split(os.pathsep) if not folder.startswith(sys.prefix)
        )
        port = free_port()
        self.environment = {
            **kept, "HOME": str(home), "TMPDIR": str(home),
            "COLUMNS": "120", "NO_COLOR": "1", "TERM": "xterm",
            "PATH": f"{programs}:{kept['PATH']}", "MILLHAND_CLOUD": "none",
            "MILLHAND_UP_PORT": str(port), "MILLHAND_API_URL": f"http://127.0.0.1:{port}",
        }  # fmt: skip
        self.folder = HOME
        self.terminal = Terminal(self.environment, HOME)
        self.others: list[Terminal] = []
        self.activation = ""
        self.printed = ""

    def follow(self, block: Block) -> None:
        """Do what a block says."""
        match block.kind:
            case "python":
                name = block.text.partition("\n")[0].removeprefix("# ")
                (self.folder / name).write_text(block.text)
            case "sh" if block.how == "background":
                self.others.append(Terminal(self.environment, self.folder))
                self.others[-1].type(f"{self.activation}\nexec {block.text}")
            case "sh":
                self.type(block)
            case "text" if self.printed == "" and self.others:
                self.others[-1].wait_until_shown(block.text)
            case "text":
                line = missing(block.text, self.printed)
                assert line is None, f"not printed: {line}\n{self.printed}"
            case "Ctrl-C":
                assert [other.interrupt() for other in self.others] == [0] * len(self.others)
                self.others.clear()
        if block.kind != "sh" or block.how == "background":
            self.printed = ""

    def type(self, block: Block) -> None:
        """Type commands, as they stand; terminals that are opened later begin as this one now is."""
        activations = [line for line in block.text.splitlines() if line.endswith("/bin/activate")]
        self.activation = activations[-1] if activations else self.activation
        wanted = int(block.how.removeprefix("exit=") or 0)
        code, self.printed, folder = self.terminal.run(block.text)
        assert code == wanted, f"exit code {code} of:\n{block.text}\n{self.printed}"
        self.folder = Path(folder)

    def leave(self) -> None:
        """Close every terminal."""
        for terminal in (*self.others, self.terminal):
            terminal.close()


def follow(page: str, reader: Reader) -> None:
    """Do everything that a page says."""
    try:
        for block in blocks((HOME / page).read_text(encoding="utf-8")):
            reader.follow(block)
        assert not reader.others, "something goes on at the page's end"
    finally:
        reader.leave()


@pytest.mark.parametrize("page", INSTALLED_PAGES)
def test_who_follows_a_page_sees_what_it_says(page: str, tmp_path: Path) -> None:
    """Every file is saved and every command typed, literally and in order."""
    follow(page, Reader(tmp_path, str(Path(sys.executable).parent)))


@pytest.mark.skipif(find_spec("ensurepip") is None, reason="python3 -m venv needs ensurepip (python3-venv)")
@pytest.mark.parametrize("page", FROM_NOTHING)
def test_who_begins_with_nothing_sees_what_a_page_says(page: str, tmp_path: Path, shelf: Path) -> None:
    """From the installation on, in an environment that the page itself makes; nothing of this one is seen."""
    with TemporaryDirectory(prefix="millhand-reader-", dir=tmp_path) as home:
        follow(page, Reader(Path(home), f"{sys.base_prefix}/bin", pip_settings(shelf)))


def test_a_page_is_read_as_a_person_reads_it() -> None:
    """Numbers may be others, what is left out may be anything; order and words count."""
    page = "Do:\n\n```sh exit=1\nfalse\n```\nThen **Ctrl-C**.\n```python\n# a.py\n```\n"
    assert [one.kind for one in blocks(page)] == ["sh", "Ctrl-C", "python"]
    assert next(blocks(page)) == Block("sh", "exit=1", "false\n")
    printed = "run\nwall      12 ms\nfile  /a/b.csv\n2 done, 1 failed\n"
    assert missing("wall  1.20 s\nfile …b.csv\n3 done, …", printed) is None
    assert missing("file …b.csv\nwall 1 s", printed) == "wall #"
    assert missing("3 done, 1 succeeded", printed) == "# done, # succeeded"

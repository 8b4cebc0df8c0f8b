"""The pages that teach: whoever follows them step by step sees what they say."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

from tests.integration.page import Block, Terminal, blocks, missing

HOME = Path(__file__).resolve().parents[2]
PAGES = ("docs/first-handler.md", "docs/testing-handlers.md", "docs/gpu-handler.md")
INSTALLED = HOME / ".venv" / ".project"


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Reader:
    """Somebody who follows a page, in a home of their own, at terminals."""

    def __init__(self, home: Path) -> None:
        """Sit down; port and cloud are those of a test, and nothing else is."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("MILLHAND_", "XDG_", "PYTEST_", "VIRTUAL_ENV", "PYTHON"))
        }
        port = free_port()
        self.environment = {
            **kept, "HOME": str(home), "TMPDIR": str(home),
            "COLUMNS": "120", "NO_COLOR": "1", "TERM": "xterm",
            "PATH": f"{Path(sys.executable).parent}:{kept['PATH']}", "MILLHAND_CLOUD": "none",
            "MILLHAND_UP_PORT": str(port), "MILLHAND_API_URL": f"http://127.0.0.1:{port}",
        }  # fmt: skip
        self.folder = HOME
        self.terminal = Terminal(self.environment, HOME)
        self.others: list[Terminal] = []
        self.printed = ""

    def follow(self, block: Block) -> None:
        """Do what a block says."""
        match block.kind:
            case "python":
                name = block.text.partition("\n")[0].removeprefix("# ")
                (self.folder / name).write_text(block.text)
            case "sh" if block.how == "background":
                self.others.append(Terminal(self.environment, self.folder))
                self.others[-1].type(f"exec {block.text}")
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
        """Type commands, as they stand."""
        wanted = int(block.how.removeprefix("exit=") or 0)
        code, self.printed, folder = self.terminal.run(block.text)
        assert code == wanted, f"exit code {code} of:\n{block.text}\n{self.printed}"
        self.folder = Path(folder)

    def leave(self) -> None:
        """Close every terminal."""
        for terminal in (*self.others, self.terminal):
            terminal.close()


@pytest.mark.skipif(
    not INSTALLED.exists(), reason="the page begins with `make setup`, which would install anew"
)
@pytest.mark.parametrize("page", PAGES)
def test_who_follows_a_page_sees_what_it_says(page: str, tmp_path: Path) -> None:
    """Every file is saved and every command typed, literally and in order."""
    reader = Reader(tmp_path)
    try:
        for block in blocks((HOME / page).read_text(encoding="utf-8")):
            reader.follow(block)
        assert not reader.others, "something goes on at the page's end"
    finally:
        reader.leave()


def test_a_page_is_read_as_a_person_reads_it() -> None:
    """Numbers may be others, what is left out may be anything; order and words count."""
    page = "Do:\n\n```sh exit=1\nfalse\n```\nThen **Ctrl-C**.\n```python\n# a.py\n```\n"
    assert [one.kind for one in blocks(page)] == ["sh", "Ctrl-C", "python"]
    assert next(blocks(page)) == Block("sh", "exit=1", "false\n")
    printed = "run\nwall      12 ms\nfile  /a/b.csv\n2 done, 1 failed\n"
    assert missing("wall  1.20 s\nfile …b.csv\n3 done, …", printed) is None
    assert missing("file …b.csv\nwall 1 s", printed) == "wall #"
    assert missing("3 done, 1 succeeded", printed) == "# done, # succeeded"

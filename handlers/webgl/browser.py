"""One browser: started, asked, ended with all that belongs to it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from handlers.webgl.channel import BrowserGone, Channel, Refused, TooSlow
from handlers.webgl.chromium import find_chromium, is_off, launch_of
from worker import Fail

__all__ = ["Browser"]

START_S: Final = 60.0  # it takes half a second; a machine that is busy may take long
END_S: Final = 5.0  # to end in order, of the ten that a teardown has
REAP_S: Final = 10.0
FOLDER: Final = "millhand-chromium-"  # of one without a sandbox; its process's id follows


class Browser:
    """A browser that runs. `close` or `kill` it; it ends by itself when we do."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path | None, is_sandboxed: bool) -> None:
        """Built by `start`."""
        self.is_sandboxed = is_sandboxed
        self.version = ""
        self.channel = Channel(process)
        self._process = process
        self._folder = folder

    @classmethod
    def start(cls, environment: Mapping[str, str], *, with_gpu: bool = False) -> Browser:
        """Start one and wait until it answers.

        Raises: Fail where there is none, or it does not start; the message says what it printed.
        """
        program = find_chromium(environment)
        folder = own_folder(environment) if is_off(environment) else None
        try:
            launch = launch_of(program, environment, folder, with_gpu=with_gpu)
            process = subprocess.Popen(
                launch.argv,
                cwd=launch.folder or "/",
                env=dict(launch.environment),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                process_group=0,
                bufsize=0,
            )
        except OSError as exc:
            remove(folder)
            raise Fail(f"{program} could not be started: {exc}") from exc
        except BaseException:
            remove(folder)
            raise
        browser = cls(process, folder, launch.is_sandboxed)
        try:
            answer = browser.channel.call("Browser.getVersion", limit_s=START_S)
        except (BrowserGone, TooSlow, Refused) as exc:
            said = browser.channel.last_words()[-600:] or "nothing"
            browser.kill()
            raise Fail(f"{program} does not start ({exc}); it printed: {said}") from exc
        except BaseException:
            browser.kill()
            raise
        browser.version = str(answer.get("product", ""))
        return browser

    @property
    def pid(self) -> int:
        """The id of its first process."""
        return self._process.pid

    def call(
        self,
        method: str,
        parameters: dict[str, Any] | None = None,
        session: str | None = None,
        *,
        limit_s: float,
        check: Callable[[], None] = lambda: None,
    ) -> dict[str, Any]:
        """Call a method of its protocol; see `Channel.call`."""
        return self.channel.call(method, parameters, session, limit_s=limit_s, check=check)

    def close(self) -> None:
        """Let it end in order, and end it where it does not."""
        with contextlib.suppress(BrowserGone, TooSlow, Refused):
            self.channel.call("Browser.close", limit_s=END_S)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=END_S)
        self.kill()

    def kill(self) -> None:
        """End it at once, with its group; called again, it does nothing.

        Its renderers live in a namespace of processes whose first one goes with it.
        """
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(timeout=REAP_S)
        self.channel.close()
        remove(self._folder)


def own_folder(environment: Mapping[str, str]) -> Path:
    """Return a new folder for its files; remove those of processes that were killed."""
    place = Path(environment.get("TMPDIR") or tempfile.gettempdir())
    for old in place.glob(f"{FOLDER}*"):
        owner = old.name.removeprefix(FOLDER).partition("-")[0]
        if owner.isdigit() and not Path(f"/proc/{owner}").exists():
            shutil.rmtree(old, ignore_errors=True)  # another user's stays
    return Path(tempfile.mkdtemp(prefix=f"{FOLDER}{os.getpid()}-", dir=place))


def remove(folder: Path | None) -> None:
    """Remove its files, which its last processes may still write."""
    for _ in range(3 if folder is not None else 0):
        assert folder is not None
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return

"""Whether handlers can run here is known before anything begins."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import pytest

from worker.executor.linux import unfit_reason


def test_this_machine_runs_handlers() -> None:
    """The tests do so all the time."""
    assert unfit_reason() is None


def test_another_system_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """As people call it."""
    monkeypatch.setattr(sys, "platform", "darwin")
    assert unfit_reason() == "handlers run on Linux, and this is macOS"
    monkeypatch.setattr(sys, "platform", "freebsd14")
    assert unfit_reason() == "handlers run on Linux, and this is freebsd14"


def test_a_machine_without_proc_is_told_to_mount_it(tmp_path: Path) -> None:
    """As a chroot may be."""
    assert "mount it" in (unfit_reason(tmp_path / "stat") or "")


@pytest.mark.parametrize(
    ("code", "is_fit"), [(errno.ENOSYS, False), (errno.EPERM, False), (errno.EMFILE, True)]
)
def test_a_kernel_or_filter_that_refuses_is_told(
    code: int, is_fit: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An old kernel, or a container's filter; a want of descriptors says nothing."""

    def refuse(pid: int, flags: int = 0) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "pidfd_open", refuse)  # no kernel at hand refuses
    assert (unfit_reason() is None) == is_fit


def test_a_python_without_the_call_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was built on an old system."""
    monkeypatch.delattr(os, "pidfd_open")
    assert "was built without it" in (unfit_reason() or "")

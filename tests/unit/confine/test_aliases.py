"""What is hidden is hidden under each name that mounts give it: in mount namespaces of their own."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.unit.confine.conftest import needs_landlock
from tests.unit.confine.scene import LIMIT_S, started
from worker.minder.aliases import OPEN, Mount, mounts, with_aliases

LOOK = """
import json, sys
def look(path, mode):
    try:
        open(path, mode).close()
    except OSError as exc:
        return exc.strerror
    return "opened"
print(json.dumps([look(path, mode) for path, mode in json.loads(sys.argv[1])]))
"""


def can_mount() -> bool:
    """Tell whether mounts can be made here."""
    try:
        return subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


needs_mounts = pytest.mark.skipif(
    not can_mount(), reason="mounts can be made by root only, and not in all roots"
)


def within(script: str, wish: dict[str, Any], *looks: tuple[str, str]) -> subprocess.CompletedProcess[str]:
    """Make mounts that nobody else sees, and open files under a wish; `exec` of the script ends in that."""
    child = started(wish, LOOK, json.dumps(looks))
    whole = f"set -e; mount --make-rprivate /; {script} {shlex.join(child)}"
    return subprocess.run(
        ["unshare", "-m", "sh", "-c", whole], capture_output=True, text=True, timeout=LIMIT_S, check=False
    )


def looked(script: str, wish: dict[str, Any], *looks: tuple[Path, str]) -> list[str]:
    """Return what opening each of these gave."""
    ran = within(f"{script}; exec", wish, *((str(path), mode) for path, mode in looks))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    found: list[str] = json.loads(ran.stdout)
    return found


@pytest.fixture
def volume(open_path: Path) -> Path:
    """Give a folder with the state folder and another, and with places for mounts."""
    for name in ("volume/state/journal", "volume/state/runs", "volume/other", "state", "again"):
        (open_path / name).mkdir(parents=True)
    for name in ("state/journal/1", "state/runs/mine", "other/file"):
        (open_path / "volume" / name).write_text("written")
    return open_path


DENIED = "Permission denied"


@needs_landlock
@needs_mounts
def test_state_on_a_bind_mount_is_hidden_in_its_volume_too(volume: Path) -> None:
    """A part of a volume as the state folder, all of it elsewhere: `subPath`, a host's bind mount."""
    script = f"mount --bind {volume}/volume/state {volume}/state"
    wish = {"hide": [str(volume / "state")], "keep": [str(volume / "state" / "runs")]}
    shown = volume / "volume"
    assert looked(
        script, wish,
        (volume / "state/journal/1", "r"), (shown / "state/journal/1", "r"), (shown / "state/journal/1", "a"),
        (shown / "state/journal/2", "w"), (shown / "other/file", "a"),
        (volume / "state/runs/mine", "a"), (shown / "state/runs/mine", "a"),
    ) == [DENIED] * 4 + ["opened"] * 3  # fmt: skip


@needs_landlock
@needs_mounts
def test_part_of_the_state_that_is_mounted_elsewhere_is_hidden(volume: Path) -> None:
    """A hidden folder has no open door, whichever of its folders somebody mounts elsewhere."""
    script = f"mount --bind {volume}/volume/state/journal {volume}/again"
    wish = {"hide": [str(volume / "volume" / "state")]}
    assert looked(script, wish, (volume / "again/1", "r"), (volume / "again/2", "w")) == [DENIED] * 2


@needs_landlock
@needs_mounts
def test_volume_in_the_state_folder_is_hidden_elsewhere_too(volume: Path) -> None:
    """What is mounted in a hidden folder is as hidden as the folder."""
    script = f"mount --bind {volume}/volume/other {volume}/state; mount --bind {volume}/state {volume}/again"
    wish = {"hide": [str(volume / "state")]}
    files = [volume / name / "file" for name in ("state", "again", "volume/other")]
    assert looked(script, wish, *((file, "r") for file in files)) == [DENIED] * 3


@needs_landlock
@needs_mounts
def test_root_that_is_mounted_in_itself_opens_nothing(volume: Path) -> None:
    """`/` again in a folder beside, as node agents have it: neither name opens."""
    script = (
        f"mount -t tmpfs none {volume}/state; mkdir {volume}/state/s; echo > {volume}/state/s/file;"
        f" mount --bind / {volume}/again"
    )
    own = volume / "volume" / "state"
    wish = {"hide": [str(own), str(volume / "state" / "s")], "read": [str(volume / "volume" / "other")]}
    again = Path(f"{volume}/again{volume}")
    assert looked(
        script, wish,
        (own / "journal/1", "r"), (again / "volume/state/journal/1", "r"), (volume / "state/s/file", "r"),
        (again / "volume/other/file", "a"), (again / "volume/other/file", "r"),
    ) == [DENIED] * 4 + ["opened"]  # fmt: skip


@needs_landlock
@needs_mounts
def test_folder_that_a_volume_is_mounted_in_opens_nothing_elsewhere(volume: Path) -> None:
    """A hidden folder on a volume of its own, and what lies around the volume shown elsewhere."""
    mine = volume / "volume" / "state"
    script = (
        f"mount -t tmpfs none {mine}; mkdir {mine}/s; echo > {mine}/s/file; mount --bind / {volume}/again"
    )
    file = mine / "s" / "file"
    assert looked(script, {"hide": [str(mine / "s")]}, (file, "r"), (volume / "again/etc/passwd", "r")) == [
        DENIED,
        "opened",
    ]


@needs_landlock
@needs_mounts
@pytest.mark.parametrize("what", ["/", "/dev"])
def test_disks_are_out_of_reach_where_the_root_or_dev_is_mounted_again(volume: Path, what: str) -> None:
    """Neither opens a disk to root, under any name, though nothing else is hidden."""
    disk = next((path for path in sorted(Path("/dev").iterdir()) if path.is_block_device()), None)
    if disk is None:
        pytest.skip("no disk here")
    place = Path("/mnt") if what == "/" else volume / "again"  # beside the way to a disk
    again = place / disk.relative_to(what)
    files = ((disk, "rb"), *([(again, "rb")] if what == "/dev" else []))
    assert looked(f"mount --bind {what} {place}", {"hide": []}, *files) == [DENIED] * len(files)


@needs_landlock
@needs_mounts
def test_other_names_of_other_names_open_nothing(volume: Path) -> None:
    """A second name is hidden although the folders above it are shown once more elsewhere."""
    again = volume / "again" / "deep"
    again.mkdir()
    script = f"mount --bind {volume}/volume/state {again}; mount --bind / /mnt"
    wish = {"hide": [str(volume / "volume" / "state")]}
    files = [
        volume / "volume/state/journal/1",
        again / "journal/1",
        Path(f"/mnt{volume}/volume/state/journal/1"),
    ]
    assert looked(script, wish, *((file, "r") for file in files)) == [DENIED] * 3


@needs_landlock
@needs_mounts
def test_chroot_whose_place_is_mounted_in_it_fails_the_start(volume: Path) -> None:
    """What cannot be hidden is said, not left open: the way up from that root is allowed."""
    root, state = volume / "volume" / "other", volume / "state"
    (state / "token").write_text("secret")
    ran = within(
        f"mount --rbind / {root}; exec chroot {root}", {"hide": [str(state)]}, (f"{state}/token", "r")
    )
    assert (ran.returncode, ran.stdout.partition(":")[0]) == (
        7,
        "[Errno 1] the child could not be confined",
    ), ran
    assert "the root of this process (a chroot?)" in ran.stdout


def linked(tmp_path: Path) -> tuple[str, str]:
    """Return two names of a file."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    (tmp_path / "one" / "token").touch()
    os.link(tmp_path / "one" / "token", tmp_path / "two" / "token")
    return str(tmp_path / "one"), str(tmp_path / "two")


def test_other_names_have_the_rights_of_the_first(tmp_path: Path) -> None:
    """A file that two mounts show is hidden in both, or open in both."""
    one, two = linked(tmp_path)
    known = [Mount("8:1", "/", one), Mount("8:1", "/", two), Mount("8:2", "/", str(tmp_path))]
    assert with_aliases({f"{one}/token": 0}, known)[0] == {f"{one}/token": 0, f"{two}/token": 0}
    assert with_aliases({f"{one}/token": OPEN}, known)[0] == {f"{one}/token": OPEN, f"{two}/token": OPEN}


def test_mounts_that_only_seem_to_show_the_same_are_left_alone(tmp_path: Path) -> None:
    """Two exports of one file server may both be called `/`: the other one stays as it is."""
    one, two = linked(tmp_path)
    Path(two, "token").unlink()
    Path(two, "token").touch()
    known = [Mount("0:9", "/", one), Mount("0:9", "/", two)]
    assert with_aliases({f"{one}/token": 0}, known) == ({f"{one}/token": 0}, set())


def test_mounts_of_this_machine_are_read() -> None:
    """The root, or the mount that it lies on, is among them, and /proc is where it is."""
    assert "/proc" in {mount.point for mount in mounts()}


def test_unknown_mounts_are_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without them nothing is hidden for certain, so that the start fails."""
    monkeypatch.setattr("worker.minder.aliases.MOUNTINFO", str(tmp_path / "none"))
    with pytest.raises(OSError, match="could have other names"):
        mounts()

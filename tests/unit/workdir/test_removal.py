"""Folders of strangers are removed, whatever is in them, and nothing else is."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.workdir import hostile
from worker.executor.removal import Removal, move_folder

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts need root; CI is root")
STEPS_MAX = 100_000


def removed(folder: Path, limit_s: float = 0.05) -> Removal:
    """Remove a folder to the end; return the removal."""
    removal = Removal(folder)
    steps = 0
    while not removal.step(limit_s):
        steps += 1
        assert steps < STEPS_MAX
    removal.close()
    return removal


def open_files() -> int:
    """Return how many files this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("fill", hostile.EVERY)
def test_a_folder_is_removed_whatever_its_owner_did_to_it(
    tmp_path: Path, fill: Callable[[Path], None]
) -> None:
    """Depth, modes, names and kinds of files hinder nothing; no file stays open."""
    folder = tmp_path / "run"
    folder.mkdir()
    fill(folder)
    before = open_files()
    removal = removed(folder)
    assert removal.reason is None
    assert list(tmp_path.iterdir()) == []
    assert open_files() == before


@needs_root
@pytest.mark.parametrize("fill", [hostile.locked, hostile.odd])
def test_an_agent_that_is_not_root_removes_its_own_locked_folders(
    open_path: Path, fill: Callable[[Path], None]
) -> None:
    """The owner may give itself the rights back, to move what is locked as well."""
    home = open_path / "home"
    home.mkdir()
    os.chown(home, 65534, 65534)
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from tests.unit.workdir import hostile\n"
        "from tests.unit.workdir.test_removal import removed\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        f"folder = Path({str(home / 'run')!r}); folder.mkdir()\n"
        f"hostile.{fill.__name__}(folder)\n"
        "print(removed(folder).reason, folder.exists())\n"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert ran.stdout == "None False\n", ran.stderr


@needs_root
@pytest.mark.parametrize("fill", [hostile.locked, hostile.sticky, hostile.odd])
def test_an_agent_with_a_few_capabilities_removes_what_another_user_made(
    open_path: Path, fill: Callable[[Path], None]
) -> None:
    """A task user's folders, with what an agent needs for a task user, and no more."""
    home = open_path / "home"
    (home / "run").mkdir(parents=True)
    fill(home / "run")
    for path in [*home.rglob("*"), home / "run"]:
        os.chown(path, 65534, 65534, follow_symlinks=False)
    os.chown(home, 65533, 65533)
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from tests.unit.workdir.test_removal import removed\n"
        "folder = Path(sys.argv[1])\n"
        "print(removed(folder).reason, folder.exists())\n"
    )
    some = "+chown,+dac_override"
    ran = subprocess.run(
        [
            "setpriv", "--reuid", "65533", "--regid", "65533", "--clear-groups",
            "--inh-caps", some, "--ambient-caps", some,
            sys.executable, "-c", script, str(home / "run"),
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.stdout == "None False\n", ran.stderr


def test_a_removal_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """A step without time does one thing; the sum of steps is the whole."""
    folder = tmp_path / "run"
    folder.mkdir()
    for number in range(5):
        (folder / str(number)).touch()
    removal = Removal(folder)
    assert not removal.step(0.0)
    assert len(list(folder.iterdir())) == 4
    while not removal.step(0.0):
        pass
    assert not folder.exists()


def test_a_removal_that_is_given_up_leaves_nothing_open(tmp_path: Path) -> None:
    """Closed in the midst of it, the rest stays for the next time."""
    folder = tmp_path / "run"
    folder.mkdir()
    hostile.many(folder)
    before = open_files()
    removal = Removal(folder)
    removal.step(0.0)
    removal.close()
    removal.close()
    assert open_files() == before
    assert removed(folder).reason is None
    assert not folder.exists()


def test_links_are_removed_and_not_followed(tmp_path: Path) -> None:
    """What they lead to stays, also where the folder itself is one."""
    outside = tmp_path / "outside"
    (outside / "deep").mkdir(parents=True)
    (outside / "file").write_text("mine")
    folder = tmp_path / "run"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "link").symlink_to(outside)
    (folder / "link").symlink_to(outside, target_is_directory=True)
    os.link(outside / "file", folder / "hard")
    assert removed(folder).reason is None
    folder.symlink_to(outside)
    assert removed(folder).reason is None
    assert not os.path.lexists(folder)
    assert (outside / "file").read_text() == "mine"
    assert (outside / "deep").is_dir()


def test_a_folder_that_becomes_a_link_while_it_is_removed_is_not_followed(tmp_path: Path) -> None:
    """Somebody swaps a folder for a link between the look at it and its opening."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("mine")
    folder = tmp_path / "run"
    (folder / "a" / "b").mkdir(parents=True)
    removal = Removal(folder)
    real_rmdir = os.rmdir

    def swap(name: str, **options: int) -> None:
        try:
            real_rmdir(name, **options)
        except OSError:
            (folder / "a").rename(tmp_path / "away")
            (folder / "a").symlink_to(outside)
            raise

    with pytest.MonkeyPatch.context() as patch:  # the moment of the race cannot be met otherwise
        patch.setattr(os, "rmdir", swap)
        removal.step(0.0)
        while not removal.step(1.0):
            pass
    assert (outside / "file").read_text() == "mine"


def test_what_is_no_folder_or_not_there_is_no_trouble(tmp_path: Path) -> None:
    """A file in the folder's place goes, and nothing is fine."""
    (tmp_path / "file").touch()
    assert removed(tmp_path / "file").reason is None
    assert removed(tmp_path / "nothing").reason is None
    assert list(tmp_path.iterdir()) == []


MOUNTS = """
import subprocess, sys
from pathlib import Path
from tests.unit.workdir.test_removal import removed
home = Path(sys.argv[1])
outside, folder = home / "outside", home / "run"
(outside / "inner").mkdir(parents=True)
(outside / "inner" / "file").write_text("mine")
(folder / "a" / "bound").mkdir(parents=True)
(folder / "tmpfs").mkdir()
(folder / "a" / "file").touch()
def mount(*words): subprocess.run(["mount", *words], check=True)
mount("--bind", str(outside), str(folder / "a" / "bound"))
mount("-t", "tmpfs", "none", str(folder / "tmpfs"))
(folder / "tmpfs" / "file").write_text("another's")
removal = removed(folder)
assert removal.reason is not None and "busy" in removal.reason.lower(), removal.reason
assert (outside / "inner" / "file").read_text() == "mine"
assert (folder / "tmpfs" / "file").read_text() == "another's"
assert not (folder / "a" / "file").exists()
subprocess.run(["umount", str(folder / "tmpfs")], check=True)
subprocess.run(["umount", "-a", "-t", "tmpfs", "-O", "none"], check=False)
print("well")
"""


@needs_root
def test_what_is_mounted_in_a_folder_is_not_entered(tmp_path: Path) -> None:
    """Neither another file system nor a bound part of our own; the rest goes, and the reason is told."""
    ran = subprocess.run(
        ["unshare", "-m", sys.executable, "-c", MOUNTS, str(tmp_path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.stdout == "well\n", ran.stderr
    assert removed(tmp_path / "run").reason is None


@needs_root
def test_what_nobody_may_change_is_named(tmp_path: Path) -> None:
    """An immutable file resists; the rest of the folder goes."""
    folder = tmp_path / "run"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "stone").touch()
    (folder / "other").touch()
    if not hostile.immutable(folder / "sub" / "stone", is_on=True):
        pytest.skip("files cannot be made immutable here")
    try:
        removal = removed(folder)
        assert removal.reason is not None
        assert "stone" in removal.reason
        assert [path.name for path in folder.rglob("*") if path.is_file()] == ["stone"]
    finally:
        for path in folder.rglob("stone"):
            hostile.immutable(path, is_on=False)
    assert removed(folder).reason is None


def test_a_folder_is_moved_but_never_over_another(tmp_path: Path) -> None:
    """A locked one too; what stands at the target stays."""
    (tmp_path / "there").mkdir()
    folder = tmp_path / "run"
    folder.mkdir()
    with pytest.raises(FileExistsError):
        move_folder(folder, tmp_path / "there")
    folder.chmod(0)
    move_folder(folder, tmp_path / "new")
    assert (tmp_path / "new").is_dir()

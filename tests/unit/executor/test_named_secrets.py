"""Secrets that handlers ask for by name: where they are found, and what is said where they are not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from worker.executor.environment import child_environment
from worker.executor.named_secrets import MissingSecret, NamedSecrets, secret_variables


def test_a_file_wins_over_a_variable_and_is_read_anew(tmp_path: Path) -> None:
    """A secret that is renewed counts from the next run on; the line end of an editor is no part of it."""
    here = NamedSecrets(tmp_path, {"A": "by-variable", "B": "b-by-variable"})
    assert here.read(["A", "B"]) == {"A": "by-variable", "B": "b-by-variable"}
    (tmp_path / "A").write_text("first\n")
    assert here.read(["A"]) == {"A": "first"}
    (tmp_path / "A").write_text("two\nlines\n")
    assert here.read(["A"]) == {"A": "two\nlines"}
    assert here.lacks(["A", "B"]) == ()


def test_a_mount_of_kubernetes_is_such_a_folder(tmp_path: Path) -> None:
    """Its files are links to a folder that is replaced as a whole."""
    for version in ("1", "2"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "HF_TOKEN").write_text(f"token-{version}")
    (tmp_path / "..data").symlink_to("1")
    (tmp_path / "HF_TOKEN").symlink_to("..data/HF_TOKEN")
    here = NamedSecrets(tmp_path)
    assert here.read(["HF_TOKEN"]) == {"HF_TOKEN": "token-1"}
    (tmp_path / "new").symlink_to("2")
    (tmp_path / "new").rename(tmp_path / "..data")
    assert here.read(["HF_TOKEN"]) == {"HF_TOKEN": "token-2"}


def test_what_is_missing_is_named_with_what_to_do(tmp_path: Path) -> None:
    """All of it at once; what is there is not shown."""
    here = NamedSecrets(tmp_path, {"A": "value-of-a", "EMPTY": ""})
    (tmp_path / "LARGE").write_text("x" * 20_000)
    (tmp_path / "BYTES").write_bytes(b"\xff\xfe")
    (tmp_path / "FOLDER").mkdir()
    with pytest.raises(MissingSecret) as raised:
        here.read(["A", "B", "EMPTY", "LARGE", "BYTES", "FOLDER"])
    text = str(raised.value)
    assert (
        f"secret B is not on this machine; put it into {tmp_path}/B, or into the variable MILLHAND_SECRET_B"
        in text
    )
    for said in (
        "MILLHAND_SECRET_EMPTY is empty",
        "LARGE has more than",
        "BYTES is no text",
        "FOLDER cannot be read",
    ):
        assert said in text
    assert "value-of-a" not in text
    assert len(here.lacks(["A", "B", "EMPTY"])) == 2
    assert "in the folder MILLHAND_SECRETS_DIR" in NamedSecrets().lacks(["B"])[0]


def test_a_file_that_cannot_be_read_is_not_passed_by(tmp_path: Path) -> None:
    """The variable would be an old one."""
    (tmp_path / "A").mkdir()
    assert "cannot be read" in NamedSecrets(tmp_path, {"A": "old"}).lacks(["A"])[0]


def test_variables_are_found_by_their_prefix_and_reach_no_child() -> None:
    """Not even where the operator lets them through by name."""
    environment = {"MILLHAND_SECRET_A": "a", "MILLHAND_SECRETS_DIR": "/x", "MILLHAND_SECRET_": "", "B": "b"}
    assert secret_variables(environment) == {"A": "a"}
    passed = child_environment({**os.environ, **environment}, gpus=(), mark="m", also=environment)
    assert not [name for name in passed if name.startswith("MILLHAND_SECRET")]

"""What doctor says of secrets that handlers ask for by name."""

from __future__ import annotations

from pathlib import Path

from worker.cli.check_setup import check_variables
from worker.cli.doctor import check_secrets
from worker.executor.catalogue import Catalogue, HandlerEntry
from worker.executor.named_secrets import NamedSecrets


def test_each_type_that_lacks_a_secret_is_told_with_what_to_do(tmp_path: Path) -> None:
    """It is a warning: other types are served. A broken handler has worse to tell, and is told elsewhere."""
    asks = HandlerEntry(type="asks", target="a:b", source="a", secrets=("HERE", "GONE"))
    broken = HandlerEntry(type="broken", target="a:c", source="a", secrets=("GONE",), problem="no torch")
    catalogue = Catalogue(entries={"asks": asks, "broken": broken})
    (check,) = check_secrets(catalogue, NamedSecrets(tmp_path, {"HERE": "x"}))
    assert (check.name, check.state) == ("handler asks", "warn")
    assert "secret GONE is not on this machine" in check.said
    assert check_secrets(catalogue, NamedSecrets(tmp_path, {"HERE": "x", "GONE": "y"})) == []


def test_variables_of_secrets_are_no_slips_of_the_finger() -> None:
    """Their names are the handlers'; `MILLHAND_SECRET_DIR` is one too, and is no setting."""
    assert check_variables({"MILLHAND_SECRET_HF_TOKEN": "x"}).state == "ok"
    assert check_variables({"MILLHAND_SECRETZ": "x"}).state == "warn"

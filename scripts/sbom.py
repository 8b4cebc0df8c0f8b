"""Say in a bill of materials which very archive each distribution was installed from.

`cyclonedx-py environment` tells what is installed, with licences and who needs whom, but not from which file;
the reports that pip writes of an installation do. The Dockerfile uses both.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

__all__ = ["archives", "main", "with_hashes"]


def archives(reports: Iterable[dict[str, Any]]) -> dict[tuple[str, str], str]:
    """Return the SHA-256 of each archive that was installed, by name and version of what is in it."""
    installed = (one for report in reports for one in report["install"])
    return {
        (canonicalize_name(one["metadata"]["name"]), one["metadata"]["version"]): sha256_of(
            one["download_info"]["archive_info"]
        )
        for one in installed
    }


def sha256_of(archive: dict[str, Any]) -> str:
    """Return the hash that pip tells of an archive; before 23.1 it had one of them alone, with its kind."""
    hashes = archive.get("hashes") or dict([archive["hash"].split("=", 1)])
    return str(hashes["sha256"])


def with_hashes(bill: dict[str, Any], installed: dict[tuple[str, str], str]) -> dict[str, Any]:
    """Return a bill of materials in CycloneDX's form whose components have hashes.

    Raises: ValueError where bill and reports do not tell of the same distributions.
    """
    components = [bill["metadata"]["component"], *bill["components"]]
    named = {(canonicalize_name(one["name"]), one["version"]): one for one in components}
    if odd := named.keys() ^ installed.keys():
        raise ValueError(f"in the environment or in a report of pip, and not in both: {sorted(odd)}")
    hashed = [
        {**one, "hashes": [{"alg": "SHA-256", "content": installed[name]}]} for name, one in named.items()
    ]
    return {**bill, "metadata": {**bill["metadata"], "component": hashed[0]}, "components": hashed[1:]}


def main(bill: str, *reports: str) -> None:
    """Rewrite the bill, and check it against CycloneDX's schema."""
    # The image's build alone has it, by requirements/sbom.txt.
    from cyclonedx.schema import SchemaVersion  # noqa: PLC0415
    from cyclonedx.validation.json import JsonStrictValidator  # noqa: PLC0415

    path = Path(bill)
    known = json.loads(path.read_text())
    text = json.dumps(with_hashes(known, archives(json.loads(Path(one).read_text()) for one in reports)))
    version = SchemaVersion.from_version(known["specVersion"])
    if fault := JsonStrictValidator(version).validate_str(text):
        raise ValueError(f"not CycloneDX {known['specVersion']}: {fault}")
    path.write_text(text + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])

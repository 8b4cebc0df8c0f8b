"""The image as it is shipped: what is in it, and what it is built from: `make e2e-container`."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
from packaging.utils import canonicalize_name

from tests.e2e.yard import BASE, BUILD_S, HARDENED, HOME, IMAGE, Yard
from tests.nvml import FakeNvml, gpu
from tests.real.pixels import read_png

BUILT_FROM: Final = (
    "LICENSE", "README.md", "handlers", "millhand_pytest", "pyproject.toml", "requirements", "scripts",
    "server", "worker",
)  # fmt: skip


def test_the_image_says_what_it_is(yard: Yard) -> None:
    """Its labels, its user, and no shell between the engine and the program."""
    config = json.loads(yard.docker("inspect", "--format={{json .Config}}", IMAGE))
    version = yard.docker("run", "--rm", "--network=none", IMAGE, "--version")
    assert config["Labels"]["org.opencontainers.image.version"] in version
    assert config["Labels"]["org.opencontainers.image.revision"] == "abc"
    assert config["User"] == "10001:10001"
    assert config["Entrypoint"][0] == "dumb-init"


def test_its_bill_of_materials_has_all_that_is_installed(yard: Yard) -> None:
    """Each distribution by version, with a hash that the lock allows; nothing else is there."""
    inside = ("run", "--rm", "--network=none", "--entrypoint")
    bill = json.loads(yard.docker(*inside, "cat", IMAGE, "/opt/millhand/sbom.cdx.json"))
    listing = "import importlib.metadata as m; print(*(f'{d.name}=={d.version}' for d in m.distributions()))"
    installed = yard.docker(*inside, "/opt/millhand/bin/python", IMAGE, "-c", listing).split()
    own, others = bill["metadata"]["component"], bill["components"]
    named = [f"{one['name']}=={one['version']}" for one in (own, *others)]
    assert sorted(named) == sorted(installed)
    lock = (HOME / "requirements" / "image.txt").read_text().replace("\\\n", " ").splitlines()
    allowed = {entry.split()[0]: entry for entry in lock if entry}
    for one in others:
        (told,) = one["hashes"]
        pin = f"{canonicalize_name(one['name'])}=={one['version']}"
        assert f"--hash=sha256:{told['content']}" in allowed[pin].split(), pin
    assert len(own["hashes"][0]["content"]) == 64


def test_the_same_sources_make_the_same_layers(yard: Yard, tmp_path: Path) -> None:
    """In another folder, at another time, with nothing kept of the first build."""
    for name in ("Dockerfile", ".dockerignore", *BUILT_FROM):
        if (HOME / name).is_dir():
            shutil.copytree(HOME / name, tmp_path / name, copy_function=shutil.copyfile)
        else:
            shutil.copyfile(HOME / name, tmp_path / name)
    first = json.loads(yard.docker("inspect", "--format={{json .RootFS.Layers}}", IMAGE))
    base = json.loads(yard.docker("inspect", "--format={{json .RootFS.Layers}}", BASE))
    assert first[: len(base)] == base
    assert len(first) > len(base)
    assert yard.build("millhand:again", "--no-cache", home=tmp_path) == first


def test_handlers_are_added_as_the_page_says(yard: Yard, tmp_path: Path) -> None:
    """The Dockerfile of docs/packaging-handlers.md: the handler is found and works; no pip is left."""
    page = (HOME / "docs" / "packaging-handlers.md").read_text()
    (tmp_path / "Dockerfile").write_text(
        "FROM millhand\n" + page.split("```\nFROM millhand\n")[1].split("```")[0]
    )
    wheel = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", str(tmp_path)]
    example = shutil.copytree(HOME / "docs" / "examples" / "table-stats", tmp_path / "example")
    subprocess.run([*wheel, str(example)], check=True, capture_output=True, timeout=BUILD_S)
    yard.docker("tag", IMAGE, "millhand")
    yard.docker("build", "--network=none", "--tag=millhand:own", str(tmp_path))
    (yard.folder / "numbers.csv").write_text("size,colour\n1,red\n3,blue\n")
    run = ("run", "--rm", "--network=none", f"--volume={yard.folder}:/handlers:ro", *HARDENED)
    ran = yard.docker(*run, "millhand:own", "run", "table-stats", "/handlers/numbers.csv", "--json")
    assert json.loads(ran.splitlines()[-1])["value"]["version"] == "1.2.0"
    pip = ("run", "--rm", "--network=none", "--entrypoint=python", "millhand:own", "-m", "pip", "--version")
    yard.docker(*pip, code=1)


def test_the_variant_for_gpus_asks_for_them(yard: Yard) -> None:
    """By the variables that NVIDIA's runtime reads; it tells a GPU that the host's driver lets it see."""
    yard.build("millhand:gpu", "--build-arg=VARIANT=gpu")
    asks = {"NVIDIA_VISIBLE_DEVICES=all", "NVIDIA_DRIVER_CAPABILITIES=compute,utility"}
    assert asks <= yard.environment("millhand:gpu")
    assert not [one for one in yard.environment(IMAGE) if one.startswith("NVIDIA_")]
    driver = FakeNvml(yard.folder / "driver")  # where the runtime would put the host's
    driver.put(gpu(0))
    run = ("run", "--rm", "--network=none", f"--volume={driver.folder}:/driver:ro", *HARDENED)
    facts = json.loads(yard.docker(*run, "--env=LD_LIBRARY_PATH=/driver", "millhand:gpu", "facts", "--json"))
    assert "NVIDIA L4" in json.dumps(facts["gpus"]), facts


@pytest.mark.parametrize(
    "alone", ["--env=MILLHAND_CHROMIUM_SANDBOX=off", "--security-opt=seccomp=unconfined"]
)
def test_the_variant_with_a_browser_draws(yard: Yard, tmp_path: Path, alone: str) -> None:
    """Read-only, without capabilities and network; in its own sandbox where the engine lets it have one."""
    yard.build("millhand:webgl", "--build-arg=VARIANT=webgl")
    shutil.copyfile(HOME / "handlers" / "models" / "gear.glb", yard.folder / "gear.glb")
    pictures = yard.folder / "pictures"
    pictures.mkdir(exist_ok=True)
    pictures.chmod(0o777)
    run = ("run", "--rm", "--network=none", f"--volume={yard.folder}:/handlers", *HARDENED, alone)
    draw = ("run", "render-webgl", "/handlers/gear.glb", "-p", "width=256", "-p", "height=256", "--json")
    ran = yard.docker(*run, "millhand:webgl", *draw, "--out", "/handlers/pictures")
    told = json.loads(ran.splitlines()[-1])["value"]
    assert told["sandbox"] is ("seccomp" in alone), told
    picture = read_png(pictures / "gear.png")
    assert picture.shape[:2] == (256, 256)
    assert picture.std() > 10, "nothing is drawn"

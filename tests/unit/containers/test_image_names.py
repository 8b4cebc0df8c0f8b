"""Which images are meant, and which are allowed: decided on the written-out name that the engine gets."""

from __future__ import annotations

import pytest

from handlers.containers.allowed import check_allowed, read_pattern
from handlers.containers.image_name import read_image_name
from worker import Fail

DIGEST = "sha256:" + "a1" * 32
NAMES = {
    "debian": "docker.io/library/debian:latest",
    "debian:12": "docker.io/library/debian:12",
    "acme/render": "docker.io/acme/render:latest",
    "docker.io/debian": "docker.io/library/debian:latest",
    "index.docker.io/acme/render:1": "docker.io/acme/render:1",
    "library/debian": "docker.io/library/debian:latest",
    "REGISTRY.example.com/acme/render:V1.2-x": "registry.example.com/acme/render:V1.2-x",
    "localhost/render": "localhost/render:latest",
    "localhost:5000/a/b/c:t": "localhost:5000/a/b/c:t",
    "host:5000/render": "host:5000/render:latest",
    "[::1]:5000/render": "[::1]:5000/render:latest",
    f"debian@{DIGEST}": f"docker.io/library/debian@{DIGEST}",
    f"registry.example.com/acme/render:1@{DIGEST}": f"registry.example.com/acme/render@{DIGEST}",
    "a1b2c3d4e5f6": "docker.io/library/a1b2c3d4e5f6:latest",  # never an image's short id
}
NO_NAMES = (
    "", " debian", "debian ", "Debian", "acme//render", "/debian", "debian/", "debian:", "debian:a b", "../x",
    "--privileged", "-v/:/host", "debian@sha256:abc", f"sha256:{'a1' * 32}x/", "a" * 300, "débian",
    f"debian@md5:{'a1' * 16}", "debian\n", "host:99999999/x", "registry.example.com/acme/*", "docker://debian",
)  # fmt: skip
# pattern, image, whether it is allowed
ALLOWED = (
    ("debian", "debian", True),
    ("debian", "docker.io/library/debian:12", True),
    ("debian", f"debian@{DIGEST}", True),
    ("debian", "registry.example.com/library/debian", False),
    ("debian", "debian-evil", False),
    ("debian", "evil/debian", False),
    ("debian:12", "debian:12", True),
    ("debian:12", "debian:13", False),
    ("debian:12", f"debian:12@{DIGEST}", False),  # the digest decides what runs, and may be another tag's
    ("debian:12*", "debian:12.1", True),
    (f"debian@{DIGEST}", f"debian@{DIGEST}", True),
    (f"debian@{DIGEST}", "debian", False),
    (f"debian@{DIGEST}", f"debian@sha256:{'b2' * 32}", False),
    ("acme/*", "acme/render:1", True),
    ("acme/*", "acme/deep/render", True),
    ("acme/*", "acmeevil/render", False),
    ("acme/*", "registry.example.com/acme/render", False),
    ("registry.example.com/acme/*", "registry.example.com/acme/a/b:1", True),
    ("registry.example.com/acme/*", "registry.example.com.evil.com/acme/a", False),
    ("registry.example.com/*", "registry.example.com/a/b", True),
    ("registry.example.com/*", "registry.example.comx/a", False),
    ("docker.io/*", "debian", True),
    ("docker.io/*", "acme/render", True),
    ("localhost:5000/*", "localhost:5000/x", True),
    ("localhost:5000/*", "localhost:5001/x", False),
    ("*.example.com/team/app", "eu.example.com/team/app:1", True),
    ("*.example.com/team/app", "evil.com/x.example.com/team/app", False),
    ("registry.example.com/acme/render-*", "registry.example.com/acme/render-gpu:1", True),
    ("registry.example.com/acme/render-*", "registry.example.com/acme/render-x/y", False),
    ("*", "registry.example.com/any/thing:1", True),
    ("REGISTRY.example.com/acme/*", "registry.example.com/acme/x", True),
)


@pytest.mark.parametrize("text", NAMES)
def test_a_name_is_written_out(text: str) -> None:
    """As engines read it, and reading it again changes nothing."""
    name = read_image_name(text)
    assert str(name) == NAMES[text]
    assert str(read_image_name(str(name))) == NAMES[text]


@pytest.mark.parametrize("text", NO_NAMES)
def test_what_is_no_name_is_refused(text: str) -> None:
    """Options of an engine, bare ids, and what only looks like a name; the message quotes it."""
    with pytest.raises(Fail, match="is no name of an image"):
        read_image_name(text)


@pytest.mark.parametrize(("pattern", "image", "is_allowed"), ALLOWED)
def test_a_pattern_allows_what_it_says(pattern: str, image: str, is_allowed: bool) -> None:
    """Registry, repository, tag and digest are compared part by part."""
    assert read_pattern(pattern).allows(read_image_name(image)) is is_allowed


def test_none_is_allowed_by_default() -> None:
    """The message names the image as it was understood, what is allowed, and what an operator does."""
    with pytest.raises(Fail, match=r"docker.io/library/debian:latest .*\(allowed: none\).*MILLHAND_IMAGES"):
        check_allowed(read_image_name("debian"), {})
    with pytest.raises(Fail, match=r"\(allowed: acme/\*, registry.example.com/x\)"):
        check_allowed(read_image_name("debian"), {"MILLHAND_IMAGES": " acme/*,,registry.example.com/x "})
    check_allowed(read_image_name("debian"), {"MILLHAND_IMAGES": "acme/*, debian"})

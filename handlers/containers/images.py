"""Have an image on this machine: by the task's policy, and known by its id from then on."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from handlers.containers.engine import Engine, said
from handlers.containers.image_name import ImageName
from handlers.programs.program import run_program
from worker import Context, Fail, Retry

__all__ = ["Image", "PullPolicy", "have_image"]

PullPolicy = Literal["always", "missing", "never"]
KEPT_LINES = 50
# Of what registries and engines say, in lower case: what another attempt does not change.
MISSING = (
    "not found",
    "manifest unknown",
    "does not exist",
    "name unknown",
    "name invalid",
    "no matching manifest",
)
DENIED = ("denied", "unauthorized", "authentication required", "forbidden", "no basic auth credentials")
BUSY = ("toomanyrequests", "too many requests", "rate limit")
BUSY_S = 60.0  # registries that are asked too often count by the minute or longer


class Image(NamedTuple):
    """An image that is here."""

    id: str  # of its content: whatever its name means later, this is what ran
    digest: str | None  # by which a registry knows it; None: it was made here


def have_image(ctx: Context, engine: Engine, name: ImageName, policy: PullPolicy) -> Image:
    """Return the image, pulled where the policy says so.

    Raises:
        Fail: it is not here and may not be pulled, or the registry has or gives none.
        Retry: the registry could not be reached, or the disk is full.
    """
    found = None if policy == "always" else engine.look("image", str(name))
    if found is None and policy == "never":
        raise Fail(
            f"image {name} is not on this machine, and the task says pull: never; pull it there, or "
            "say missing"
        )
    if found is None:
        ctx.progress(0.0, f"pulling {name}")
        pull(ctx, engine, name)
        found = engine.look("image", str(name))
    if found is None:
        raise Retry(f"image {name} was pulled, and is not there any more; somebody removes images meanwhile")
    return image_of(found, name)


def pull(ctx: Context, engine: Engine, name: ImageName) -> None:
    """Pull an image; a stop of the run ends it."""
    lines: list[str] = []

    def keep(_: str, text: str, is_overwritten: bool) -> None:
        if not is_overwritten:
            lines.append(text)
            del lines[:-KEPT_LINES]

    code = run_program(
        ctx, engine.command("pull", "--quiet", str(name)), engine.environment, ctx.workdir, keep
    )
    if code != 0:
        raise pull_failure(engine, name, "\n".join(lines))


def pull_failure(engine: Engine, name: ImageName, text: str) -> Fail | Retry:
    """Return the error of a pull: for good where the registry has decided, else another attempt may do."""
    lower = text.lower()
    error = engine.failure(f"pull {name}", text)
    if isinstance(error, Retry) or "does not let the worker" in str(error):
        return error
    if any(part in lower for part in BUSY):
        return Retry(f"image {name}: its registry was asked too often: {said(text)}", after_s=BUSY_S)
    if any(part in lower for part in DENIED):
        return Fail(
            f"image {name}: its registry does not give it, or there is no such image: {said(text)}; "
            f"the worker's user may have to log in ({engine.name} login {name.registry})"
        )
    if any(part in lower for part in MISSING):
        return Fail(f"image {name}: its registry has no such image: {said(text)}")
    return Retry(f"image {name} could not be pulled: {said(text)}")


def image_of(found: dict[str, Any], name: ImageName) -> Image:
    """Read what the engine tells of an image."""
    id_ = found.get("Id")
    if not isinstance(id_, str) or not id_:
        raise Retry(f"image {name}: the engine tells no id of it")
    id_ = id_ if id_.startswith("sha256:") else f"sha256:{id_}"  # podman leaves it out
    digests = [str(one).rpartition("@") for one in found.get("RepoDigests") or ()]
    own = f"{name.registry}/{name.repository}"
    ours = [digest for at, _, digest in digests if at in (own, familiar(name))]
    return Image(id_, name.digest or next(iter(ours), None))


def familiar(name: ImageName) -> str:
    """Return the short name by which docker lists an image."""
    if name.registry != "docker.io":
        return f"{name.registry}/{name.repository}"
    return name.repository.removeprefix("library/")

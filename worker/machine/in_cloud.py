"""Facts that the metadata of a cloud tell: ask the one that the firmware hints at, all at once, in time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

from msgspec import Struct

from worker.machine.cloud import (
    AWS,
    AWS_FACTS,
    AZURE,
    CLOUD_FACTS,
    GCE,
    GCE_FACTS,
    GCE_MODEL,
    GCE_PREEMPTIBLE,
    read_aws,
    read_azure,
    read_gce,
    text_of,
)
from worker.machine.dmi import hinted, read_dmi
from worker.machine.facts import Fact
from worker.machine.metadata import ADDRESS, Answer, ask

__all__ = ["AWS_TOKEN_HEADER", "GCE_BASE", "GCE_METADATA_HOST", "Clouds", "Gce", "ask_aws_token"]

# Where GCE's metadata answers instead; Google's own libraries go by it too:
# https://cloud.google.com/compute/docs/metadata/querying-metadata
GCE_METADATA_HOST: Final = "GCE_METADATA_HOST"
NAMED: Final = {"gce": (GCE,), "aws": (AWS,), "azure": (AZURE,), "any": (GCE, AWS, AZURE), "none": ()}

GCE_HOST: Final = "metadata.google.internal"
GCE_BASE: Final = "/computeMetadata/v1/instance/"
AWS_TOKEN_HEADER: Final = "X-aws-ec2-metadata-token"  # noqa: S105 - the name of a header
AWS_TOKEN_TTL_S: Final = 60  # it is used at once
# The first version with all that is read. The whole of `instance` would hold the network too.
AZURE_PATH: Final = "/metadata/instance/compute?api-version=2021-02-01&format=json"

Value = TypeVar("Value")


class Told(Struct, frozen=True):
    """What one cloud told."""

    facts: dict[str, Fact]
    may_change: bool = False  # an answer came late, or the cloud was not well: asked again, it may tell more


class Gce(Struct, frozen=True):
    """Where the metadata of Compute Engine answer."""

    address: tuple[str, int] = ADDRESS
    problem: str = ""  # why nobody can be asked

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Gce:
        """Return where by `GCE_METADATA_HOST`: `HOST` or `HOST:PORT`; left out, the address of all clouds."""
        given = environment.get(GCE_METADATA_HOST, "").strip()
        if not given:
            return cls()
        host, _, port = given.rpartition(":") if given.count(":") == 1 else (given.strip("[]"), "", "80")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            return cls(problem=f"{GCE_METADATA_HOST} is no HOST or HOST:PORT")
        return cls((host, int(port)))

    async def ask(self, path: str, *, limit_s: float) -> Answer:
        """Ask below `instance/`; what does not say that it is Compute Engine has not answered."""
        if self.problem:
            return Answer(problem=f"was not asked: {self.problem}")
        host = GCE_HOST if self.address == ADDRESS else "{}:{}".format(*self.address)
        headers = {"Metadata-Flavor": "Google"}
        return await ask("GET", GCE_BASE + path, headers, limit_s=limit_s, address=self.address, host=host)


class Clouds:
    """The clouds whose metadata may be asked here, and which of them it is."""

    def __init__(self, root: Path, chosen: str, environment: Mapping[str, str]) -> None:
        """Choose whom to ask: `chosen` (gce, aws, azure, any, none), or with `auto` by the firmware.

        Nobody is asked where a person said `none`, nor where the firmware hints at no cloud that we know and
        nobody said which: an address that is somebody else's must not be asked on a guess.
        """
        dmi = read_dmi(root) if chosen == "auto" else {}
        self.candidates = hinted(dmi) if chosen == "auto" else NAMED[chosen]
        self.gce = Gce.of(environment)
        self.may_tell_more = bool(self.candidates)  # asked again
        self.why_none = why_none(chosen, has_dmi=bool(dmi))
        self._found = asyncio.Event()
        self._cloud = self.candidates[0] if len(self.candidates) == 1 else None
        if self._cloud is not None:
            self._found.set()

    async def cloud(self) -> str:
        """Return which cloud it is; where several may be, wait until one has named the instance."""
        await self._found.wait()
        assert self._cloud is not None
        return self._cloud

    async def ask(self, limit_s: float) -> dict[str, Fact]:
        """Return machineType, instanceID, zone and preemptible, on GCE cpuPlatform too, within `limit_s`."""
        if not self.candidates:
            return unknown(self.why_none)
        asks: dict[str, Callable[[float], Awaitable[Told]]] = {
            GCE: self._ask_gce, AWS: ask_aws, AZURE: ask_azure
        }  # fmt: skip
        told = await at_once(lambda cloud: asks[cloud](limit_s), self.candidates)
        known = [cloud for cloud, one in told.items() if one.facts["instanceID"].state == "measured"]
        if known:
            self._cloud = known[0]
            self._found.set()
            self.may_tell_more = told[known[0]].may_change
            return told[known[0]].facts
        self.may_tell_more = any(one.may_change for one in told.values())
        return none_known([one.facts for one in told.values()])

    async def _ask_gce(self, limit_s: float) -> Told:
        """Ask Compute Engine, path by path: all of `instance` at once would hold keys and scripts."""
        answers = await at_once(
            lambda path: self.gce.ask(path, limit_s=limit_s),
            (*GCE_FACTS.values(), GCE_PREEMPTIBLE, GCE_MODEL),
        )
        return Told(read_gce(answers), any(answer.may_change for answer in answers.values()))


def why_none(chosen: str, *, has_dmi: bool) -> str:
    """Say why no cloud is asked."""
    if chosen == "none":
        return "MILLHAND_CLOUD is none"
    if has_dmi:
        return "the firmware (DMI) names no cloud that can be asked"
    todo = "where it is one, set MILLHAND_CLOUD to gce, aws, azure or any"
    return f"no firmware (DMI) tells the cloud here; {todo}"


def unknown(reason: str) -> dict[str, Fact]:
    """Return the facts without any value."""
    return dict.fromkeys(CLOUD_FACTS, Fact.unknown(reason))


def none_known(by_cloud: Sequence[dict[str, Fact]]) -> dict[str, Fact]:
    """Return the facts where no cloud named the instance: why each of them did not."""
    if len(by_cloud) == 1:
        return by_cloud[0]
    reasons = dict.fromkeys(facts["instanceID"].reason for facts in by_cloud)
    return unknown(f"no cloud answered: {'; '.join(reasons)}")


async def ask_aws(limit_s: float) -> Told:
    """Ask EC2 with a token (IMDSv2); without one nothing is asked.

    From a pod the answer of the token may never come: a hop limit of 1 ends at the node.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + limit_s
    answer = await ask_aws_token(AWS_TOKEN_TTL_S, limit_s=limit_s)
    if answer.problem:
        _, problem = text_of(AWS, "token", answer)
        return Told(unknown(problem), answer.may_change)
    headers = {AWS_TOKEN_HEADER: answer.body.decode()}
    answers = await at_once(
        lambda path: ask("GET", f"/latest/meta-data/{path}", headers, limit_s=until - loop.time()),
        tuple(AWS_FACTS.values()),
    )
    return Told(read_aws(answers), any(one.may_change for one in answers.values()))


async def ask_aws_token(ttl_s: int, *, limit_s: float) -> Answer:
    """Return the answer that holds a token in its body, or has a problem."""
    headers = {"X-aws-ec2-metadata-token-ttl-seconds": str(ttl_s)}
    answer = await ask("PUT", "/latest/api/token", headers, limit_s=limit_s)
    token, problem = text_of(AWS, "token", answer)
    if answer.problem:
        return answer
    if problem:
        return Answer(answer.status, problem=f"answered {answer.status}")
    if not token.isascii() or not token.isprintable() or not 0 < len(token) <= 1024:
        return Answer(problem="answered something else than a token")
    return Answer(200, token.encode())


async def ask_azure(limit_s: float) -> Told:
    """Ask Azure once; it allows few requests a second."""
    answer = await ask("GET", AZURE_PATH, {"Metadata": "true"}, limit_s=limit_s)
    return Told(read_azure(answer), answer.may_change)


async def at_once(call: Callable[[str], Awaitable[Value]], keys: Sequence[str]) -> dict[str, Value]:
    """Call for every key beside each other, so that one that hangs takes no time from the others."""
    return dict(zip(keys, await asyncio.gather(*map(call, keys)), strict=True))

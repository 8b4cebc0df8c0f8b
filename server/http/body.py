"""Bodies of requests: their fields declared, read with a bound, refused with the field's name."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, TypedDict

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import force_setattr

from server.http.exchange import exchange_of
from server.http.failure import ApiError
from server.http.kinds import Kind
from server.http.load import Load
from server.http.request import Request

__all__ = ["Body", "BodyField", "Fields", "body_of"]

MOST_S: Final = 60.0  # for a body to arrive; who is slower holds a connection and nothing else
DISCARDED_AT_MOST: Final = 4  # times the limit; a client that sends yet more is cut off

CLOSE: Final = {"Connection": "close"}  # what is still to come of the body is of no use

NULL: Final = b"null"
RAW_NULL: Final = Raw(NULL)
OBJECT_OF_RAW: Final = msgspec.json.Decoder(dict[str, Raw])


# What becomes of a decoded value: its attribute, whether it is JSON text, what takes it (None: nothing).
Step = tuple[str, bool, Callable[[Any], Any] | None]


class Fields(Struct, frozen=True):
    """What a body said: declared fields by their names in the program, others as JSON text."""

    values: dict[str, Any]
    extra: dict[str, str]


class BodyField(Struct, frozen=True):
    """A field of a body: its name on the wire, in the program (None: accepted, not used), its kind."""

    name: str
    attribute: str | None
    kind: Kind
    description: str
    is_required: bool = False


class Body(Struct, frozen=True, kw_only=True):
    """What a request's body may hold, and the code of the error if it does not.

    `null` is the same as not there. `keeps_extra`: fields not declared are kept for who sent them,
    except `ignored` ones; else they are ignored.
    """

    name: str
    code: str
    fields: tuple[BodyField, ...]
    keeps_extra: bool = False
    ignored: frozenset[str] = frozenset()
    known: dict[str, BodyField] = {}  # made of `fields`
    required: tuple[BodyField, ...] = ()  # of them
    decoder: msgspec.json.Decoder[Any] | None = None  # made of `fields`, where nothing else is kept
    steps: dict[str, Step] = {}  # for each field that it decodes

    def __post_init__(self) -> None:
        """Prepare for reading many bodies."""
        force_setattr(self, "known", {field.name: field for field in self.fields})
        force_setattr(self, "required", tuple(field for field in self.fields if field.is_required))
        if not self.keeps_extra:
            force_setattr(self, "decoder", _decoder(self))
            force_setattr(self, "steps", {field.name: _step(field) for field in self.fields})

    def read(self, content: bytes | Raw) -> Fields:
        """Read and check a body.

        Raises:
            ApiError: 422 whose message names the field.
        """
        fields = self._read_at_once(content) or self._read_each(content)
        for field in self.required:
            if field.attribute not in fields.values:
                raise self.error(field.name, "is required")
        fields.values.pop("", None)
        return fields

    def _read_at_once(self, content: bytes | Raw) -> Fields | None:
        """Decode all fields together; None where that fails, and somebody wants to know which one."""
        if self.decoder is None:
            return None
        try:
            decoded = self.decoder.decode(content)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None
        values: dict[str, Any] = {}
        steps, name = self.steps, ""
        try:
            for name, value in decoded.items():
                attribute, is_raw, take = steps[name]
                if value is None or (is_raw and value == RAW_NULL):
                    continue
                values[attribute] = value if take is None else take(value)
        except ValueError as exc:
            raise self.error(name, str(exc)) from exc
        return Fields(values, {})

    def _read_each(self, content: bytes | Raw) -> Fields:
        values, extra = dict[str, Any](), dict[str, str]()
        for name, raw in self._decode(content).items():
            json = bytes(raw)
            if (field := self.known.get(name)) is None:
                if self.keeps_extra and name not in self.ignored:
                    extra[name] = self._extra(name, json)
            elif json != NULL:
                values[field.attribute or ""] = self._value(field, json)
        return Fields(values, extra)

    def error(self, field: str, wanted: str) -> ApiError:
        """Return the refusal of a body because of a field."""
        return ApiError(422, self.code, f"{field}: {wanted}")

    def _decode(self, content: bytes | Raw) -> dict[str, Raw]:
        try:
            return OBJECT_OF_RAW.decode(content)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
            raise self.error("body", f"must be a JSON object ({exc})") from exc

    def _value(self, field: BodyField, json: bytes) -> Any:
        try:
            return field.kind.read(json)
        except ValueError as exc:
            raise self.error(field.name, str(exc)) from exc

    def _extra(self, name: str, json: bytes) -> str:
        try:
            msgspec.json.decode(json)
            return json.decode()
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
            raise self.error(name, "must be JSON of reasonable depth and size of numbers") from exc


def _decoder(body: Body) -> msgspec.json.Decoder[Any]:
    """Return a decoder of all fields at once, each decoded or left as text as its kind wants it."""
    types = {field.name: _decoded_as(field.kind) for field in body.fields}
    return msgspec.json.Decoder(TypedDict(body.name, types, total=False))  # type: ignore[operator]


def _decoded_as(kind: Kind) -> Any:
    if kind.is_raw:
        return Raw
    return Any if kind.plain is None else kind.plain | None


def _step(field: BodyField) -> Step:
    kind = field.kind
    return field.attribute or "", kind.is_raw, kind.take if kind.plain is None else None


async def body_of(request: Request, body: Body, most_bytes: int, load: Load) -> bytes:
    """Read a body that is not larger than the limit; it counts as load until `Load.forget_bytes`.

    What is too large is read on, up to a bound, and thrown away: a client that is still sending
    would not see the answer.

    Raises:
        ApiError: 413, it is too large; 408, it comes too slowly; 503, too much is under way;
            422, the client went away. It does not count as load then.
    """
    exchange = exchange_of(request.scope)
    content = exchange.take_body() if exchange is not None else None
    if content is None:
        return await _receive(request, body, most_bytes, load)
    if len(content) > most_bytes:
        raise _too_large(most_bytes)
    load.add_bytes(len(content))
    return content


async def _receive(request: Request, body: Body, most_bytes: int, load: Load) -> bytes:
    content = bytearray()
    try:
        return await _read(request, body, most_bytes, load, content)
    except BaseException:
        load.forget_bytes(len(content))
        raise


async def _read(request: Request, body: Body, most_bytes: int, load: Load, content: bytearray) -> bytes:
    size, is_more = 0, True
    try:
        async with asyncio.timeout(MOST_S):
            while is_more and size <= DISCARDED_AT_MOST * most_bytes:
                message = await request.receive()
                if message["type"] == "http.disconnect":
                    raise body.error("body", "ended early")
                chunk, is_more = message.get("body", b""), message.get("more_body", False)
                size += len(chunk)
                if size <= most_bytes:
                    load.add_bytes(len(chunk))
                    content += chunk
    except TimeoutError as exc:
        raise ApiError(408, "too_slow", f"body: did not arrive within {MOST_S:g} s", CLOSE) from exc
    if size > most_bytes:
        raise _too_large(most_bytes)
    return bytes(content)


def _too_large(most_bytes: int) -> ApiError:
    return ApiError(413, "body_too_large", f"body: must not be larger than {most_bytes} bytes")

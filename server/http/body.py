"""Bodies of requests: their fields declared, read with a bound, refused with the field's name."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Raw, Struct
from starlette.requests import ClientDisconnect, Request

from server.http.failure import ApiError
from server.http.kinds import Kind

__all__ = ["Body", "BodyField", "Fields", "read_bytes"]

DISCARDED_AT_MOST: Final = 4  # times the limit; a client that sends yet more is cut off

OBJECT_OF_RAW: Final = msgspec.json.Decoder(dict[str, Raw])


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

    def read(self, content: bytes) -> Fields:
        """Read and check a body.

        Raises:
            ApiError: 422 whose message names the field.
        """
        values, extra = dict[str, Any](), dict[str, str]()
        known = {field.name: field for field in self.fields}
        for name, raw in self._decode(content).items():
            json = bytes(raw)
            if (field := known.get(name)) is None:
                if self.keeps_extra and name not in self.ignored:
                    extra[name] = self._extra(name, json)
            elif json != b"null":
                values[field.attribute or ""] = self._value(field, json)
        for field in self.fields:
            if field.is_required and field.attribute not in values:
                raise self.error(field.name, "is required")
        values.pop("", None)
        return Fields(values, extra)

    def error(self, field: str, wanted: str) -> ApiError:
        """Return the refusal of a body because of a field."""
        return ApiError(422, self.code, f"{field}: {wanted}")

    def _decode(self, content: bytes) -> dict[str, Raw]:
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


async def read_bytes(request: Request, body: Body, most_bytes: int) -> bytes:
    """Read a body that is not larger than the limit.

    What is too large is read on, up to a bound, and thrown away: a client that is still sending
    would not see the answer.

    Raises:
        ApiError: 422, it is too large, or the client went away.
    """
    content, size = bytearray(), 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size <= most_bytes:
                content += chunk
            elif size > DISCARDED_AT_MOST * most_bytes:
                break
    except ClientDisconnect as exc:
        raise body.error("body", "ended early") from exc
    if size > most_bytes:
        raise body.error("body", f"must not be larger than {most_bytes} bytes")
    return bytes(content)

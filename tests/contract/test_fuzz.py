"""Requests made of our OpenAPI document, right, wrong, hostile: no failure, and only documented answers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from server.routes.site import described
from server.testing import RunningServer, running_server
from tests.contract.openapi_shapes import misfit, schema_of
from tests.contract.reference import assert_error

DOCUMENT: Final = described()
OPERATIONS: Final = sorted(
    (path, method, one) for path, methods in DOCUMENT["paths"].items() for method, one in methods.items()
)
# What has taken programs apart: SQL, HTML, templates, formats, paths, headers, Unicode.
HOSTILE: Final = (
    "'; DROP TABLE tasks; --", "' OR '1'='1", "\") OR 1=1 --", "1; SELECT sqlite_sleep(1)", "%' ESCAPE '!",
    "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{7*7}}", "${jndi:ldap://x}", "%s%n%x",
    "../../etc/passwd", "%00", "\x00", "a\x00b", "\r\nSet-Cookie: x=1", "\x1b[31m", "\u202e", "\ufeff",
    "\ud800", "\uffff", "ß" * 300, "😀", "-1", "0", "9" * 400, "1e400", "NaN", "true", "null",
    "2020-13-45T99:99:99Z", "", " ", "x" * 9_000,
)  # fmt: skip
OFFER: Final = {"id": "offer", "podId": "pod", "startedAt": "2026-01-02T03:04:05.678Z"}
KNOWN_IDS: Final = ("job", "task", "run", "o", "other")
URL_BYTES: Final = 32_000  # of a query; the client refuses to send a URL of more than twice as much
EXAMPLES: Final = 50  # for each operation; bounds the time

texts = st.one_of(st.sampled_from(HOSTILE), st.sampled_from(KNOWN_IDS), st.text(max_size=30))
anything = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), texts),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)),
    max_leaves=8,
)


def values_of(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Return values that mostly fit a schema."""
    if "anyOf" in schema:
        return st.one_of(*(values_of(one) for one in schema["anyOf"]))
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema.get("type"):
        case "string" if schema.get("format") == "date-time":
            return st.datetimes().map(lambda at: f"{at.isoformat(timespec='milliseconds')}Z")
        case "string" if "examples" in schema:
            return st.sampled_from(schema["examples"]) | texts
        case "string":
            return texts
        case "integer":
            return st.integers(-10, 200)
        case "number":
            return st.floats(-1, 1e12)
        case "boolean":
            return st.booleans()
        case "array" if schema["items"].get("type") == "object":  # in a body
            return st.lists(values_of(schema["items"]), min_size=schema["minItems"], max_size=3)
        case "object" if "properties" in schema:
            return st.fixed_dictionaries({name: values_of(one) for name, one in schema["properties"].items()})
        case "array":
            return st.lists(values_of(schema["items"]), max_size=3).map(
                lambda parts: ",".join(map(str, parts))
            )
    return st.dictionaries(texts, anything, max_size=3)


def joined(parts: list[Any]) -> str:
    """Return values as one parameter of a query holds them."""
    return ",".join(map(str, parts))


def mixed(schemas: dict[str, dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """Return some fields, most of which fit, and at times one that nobody knows."""
    names = {name: values_of(schema) | texts | anything for name, schema in schemas.items()}
    return st.builds(
        lambda known, unknown: {**unknown, **known},
        st.fixed_dictionaries({}, optional=names),
        st.dictionaries(texts, anything, max_size=1),
    )


@st.composite
def requests(draw: st.DrawFn, path: str, operation: dict[str, Any]) -> httpx.Request:
    """Return a request of an operation."""
    declared = operation["parameters"]
    url = path
    for one in (one for one in declared if one["in"] == "path"):
        url = url.replace(f"{{{one['name']}}}", escaped(draw(texts)))
    query = draw(mixed({one["name"]: one["schema"] for one in declared if one["in"] == "query"}))
    pairs = "&".join(f"{escaped(str(name))}={escaped(str(value))}" for name, value in query.items())
    headers = {"content-type": "application/json"}
    for name in ("Millhand-Agent", "Prefer", "X-Request-Id", "X-Forwarded-For"):
        if draw(st.booleans()):
            headers[name] = re.sub(r"[^\x20-\x7e]", "?", draw(texts)).strip()[:500]
    if "wait" in headers.get("Prefer", ""):
        del headers["Prefer"]
    content = b""
    if "requestBody" in operation:
        reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
        schema = DOCUMENT["components"]["schemas"][reference.rpartition("/")[2]]
        fields = schema["properties"]
        match draw(st.sampled_from(["right", "mixed", "any"])):
            case "right":
                few = draw(st.lists(st.sampled_from(sorted(fields)), max_size=2, unique=True))
                right = {name: draw(values_of(fields[name])) for name in few}
                needed = OFFER if path == "/api/offers" else {"jobId": "job", "taskId": "task", "type": "x"}
                content = encoded(right | needed)
            case "mixed":
                content = encoded(draw(mixed(fields)))
            case _:
                content = draw(anything.map(encoded) | st.binary(max_size=50))
    pairs = pairs[:URL_BYTES]
    return httpx.Request("x", f"http://x{url}?{pairs}", headers=headers, content=content)


def escaped(text: str) -> str:
    """Return a text as a part of a URL, every byte escaped."""
    return "".join(f"%{byte:02x}" for byte in text.encode("utf-8", "surrogatepass"))


def encoded(value: Any) -> bytes:
    """Return JSON as hostile clients write it: with NaN, and with halves of characters."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


@pytest.fixture(scope="module")
def api() -> Iterator[httpx.Client]:
    """A client of a server that has a job, a task and a run."""
    with running_server() as server, client_of(server) as client:
        started = "2026-01-02T03:04:05.678Z"
        client.post("/api/jobs", json={"id": "job", "type": "x"}).raise_for_status()
        client.post("/api/jobs/tasks", json={"id": "task", "jobId": "job"}).raise_for_status()
        claim = {"id": "run", "taskId": "task", "startedAt": started}
        client.post("/api/jobs/runs", json=claim).raise_for_status()
        yield client


def client_of(server: RunningServer) -> httpx.Client:
    """Return a client with the token."""
    headers = {"Authorization": f"Bearer {server.token}"}
    return httpx.Client(base_url=server.url, headers=headers, timeout=20, trust_env=False)


@pytest.mark.parametrize(
    ("path", "method", "operation"), OPERATIONS, ids=[one["operationId"] for _, _, one in OPERATIONS]
)
def test_no_request_gets_an_answer_that_is_not_documented(
    api: httpx.Client, path: str, method: str, operation: dict[str, Any]
) -> None:
    """Its status and its shape are in the document, and it is never a failure of the server."""
    seen = set[int]()

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(requests(path, operation))
    def check(request: httpx.Request) -> None:
        answer = api.request(
            method, str(request.url.raw_path, "ascii"), headers=request.headers, content=request.content
        )
        seen.add(check_answer(answer, path, method))

    check()
    assert seen - {404, 422} or path.endswith("}"), seen


def check_answer(answer: httpx.Response, path: str, method: str) -> int:
    """See that an answer is documented; return its status."""
    assert answer.status_code < 500, answer.text
    body = answer.json()
    if answer.status_code in (404, 405) and body["error"]["code"] in ("not_found", "method_not_allowed"):
        return answer.status_code  # the id made another path of it
    schema = schema_of(DOCUMENT, path, method, answer.status_code)
    assert schema is not None, f"{answer.status_code} is not documented: {answer.text}"
    assert misfit(body, schema, DOCUMENT) is None
    return answer.status_code


PLAIN_TEXT: Final = {"type": "string"}
FIELDS: Final = sorted(
    (path, name, {**schema, "description": None} == {**PLAIN_TEXT, "description": None})
    for path, method, operation in OPERATIONS
    if method == "post"
    for name, schema in DOCUMENT["components"]["schemas"][
        operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    ]["properties"].items()
)


@pytest.mark.parametrize(("path", "field", "is_plain"), FIELDS)
def test_a_hostile_text_is_kept_as_it_is_or_refused_by_its_field(
    api: httpx.Client, path: str, field: str, is_plain: bool
) -> None:
    """It is data: no SQL, no HTML, no end of a header; a text is answered as it was sent."""
    for at, text in enumerate(HOSTILE):
        task = {"jobId": "job", "id": f"task-{field}-{at}", "type": "x"}
        if path.endswith("/runs"):
            assert api.post("/api/jobs/tasks", json=task).status_code == 200
        needed = {} if path == "/api/jobs" else {"jobId": "job", "taskId": task["id"], "type": "x"}
        if path == "/api/offers":
            started = f"2026-01-02T03:04:{at:02}.678Z"
            needed = {"id": f"offer-{field}-{at}", "podId": f"pod/{field}", "startedAt": started}
        answer = api.post(path, content=encoded({**needed, field: text}))
        assert "set-cookie" not in answer.headers
        if answer.status_code != 200:
            assert answer.status_code in (403, 409, 422), answer.text
            assert_error(answer, answer.status_code)
            is_kept_out = field == "orgId" or text == "\ud800"
            assert is_kept_out or not is_plain, f"{text!r}: {answer.text}"
        elif path == "/api/offers":
            assert "run" not in answer.json()  # nothing was made while it waited
        elif is_plain and text:  # an empty one may mean the default
            made = answer.json()[0] if isinstance(answer.json(), list) else answer.json()
            assert made[field] == text
    (job,) = api.get("/api/jobs/job").json()
    assert job["id"] == "job"  # the tables are there still


def test_the_page_of_the_api_shows_nothing_that_clients_gave(api: httpx.Client) -> None:
    """It is made of the program alone."""
    assert "onerror" not in api.get("/docs").text


def test_an_answer_that_does_not_fit_would_be_seen() -> None:
    """Else the tests above would look at nothing."""
    error = {"error": {"code": "x", "message": "y"}}
    schema = schema_of(DOCUMENT, "/api/jobs", "GET", 401)
    assert schema is not None
    assert misfit(error, schema, DOCUMENT) is None
    assert misfit({"error": {"code": 1, "message": "y"}}, schema, DOCUMENT) == "$.error.code: 1 is no string"
    assert misfit({}, schema, DOCUMENT) == "$: ['error'] are missing"
    assert schema_of(DOCUMENT, "/api/jobs", "GET", 500) is None

"""Who may call: 403 without a token, 401 with a wrong one, at every endpoint."""

from __future__ import annotations

import pytest

from tests.contract.caller import Caller
from tests.contract.reference import ENDPOINTS, assert_error

every_endpoint = pytest.mark.parametrize(("method", "path", "not_found"), ENDPOINTS)


def body_for(method: str) -> dict[str, str] | None:
    """Return the smallest body of a method."""
    return None if method == "GET" else {}


@every_endpoint
def test_no_token_is_forbidden(nobody: Caller, method: str, path: str, not_found: str | None) -> None:
    """403 `forbidden`, before anything else is looked at."""
    body = body_for(method)
    assert_error(nobody.call(method, path, json=body), 403, "forbidden")


@every_endpoint
def test_a_wrong_token_is_unauthorized(
    api: Caller, nobody: Caller, method: str, path: str, not_found: str | None
) -> None:
    """401 with the documented code, whether the token comes as header or in the query."""
    body = body_for(method)
    header = {"Authorization": "Bearer not-a-token"}
    assert_error(nobody.call(method, path, json=body, headers=header), 401, "users_service_unavailable")
    query = {"bearer_token": "not-a-token"}
    assert_error(nobody.call(method, path, json=body, params=query), 401, "users_service_unavailable")


@every_endpoint
def test_what_is_not_there_is_not_found(api: Caller, method: str, path: str, not_found: str | None) -> None:
    """404 with the code of what was looked for; lists and POSTs have none."""
    body = body_for(method)
    answer = api.call(method, path, json=body)
    if not_found is None:
        assert answer.status_code in (200, 422)
    else:
        assert_error(answer, 404, not_found)


def test_a_token_in_the_query_is_as_good_as_a_header(nobody: Caller, token: str) -> None:
    """`bearer_token` opens reading and writing."""
    query = {"bearer_token": token}
    (job,) = nobody.expect("POST", "/api/jobs", params=query, json={"title": "by query", "type": "noop"})
    assert nobody.expect("GET", f"/api/jobs/{job['id']}", params=query)[0]["title"] == "by query"


def test_the_scheme_of_the_header_is_read_in_any_case(nobody: Caller, token: str) -> None:
    """RFC 9110: schemes are case-insensitive."""
    assert nobody.call("GET", "/api/jobs", headers={"Authorization": f"bearer {token}"}).status_code == 200


def test_no_answer_repeats_the_token(nobody: Caller, token: str) -> None:
    """Error bodies are logged and shown; a token must not be in them."""
    for wrong in (f"{token}x", "not-a-token"):
        answer = nobody.call("GET", "/api/jobs", params={"bearer_token": wrong})
        assert answer.status_code == 401
        assert wrong not in answer.text

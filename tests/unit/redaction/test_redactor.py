"""No secret comes out of texts and values, in whatever form; and everything else does."""

import json
import re
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.unit.redaction.disguises import LINE_DISGUISES, base64_form, secrets
from worker.redaction import REDACTED, Redactor
from worker.redaction.cleaning import Cleaning
from worker.redaction.patterns import may_hold_credentials

TOKEN = "mh-3f9c1d-secret"
names = st.sampled_from(sorted(LINE_DISGUISES))
quick = settings(deadline=None, max_examples=25)  # each example compiles expressions
KEY = """-----BEGIN PRIVATE KEY-----
MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj
MzEfYyjiWA4R4/M2bS1GB4t7NXp98C3SC6dVMvDuictGeurT8jNbvJZHtCSuYEvu
p5c9W
-----END PRIVATE KEY-----
"""


@settings(quick, max_examples=100)
@given(secret=secrets, name=names)
def test_a_secret_is_taken_out_in_every_form(secret: str, name: str) -> None:
    """One mark stands for it, and what is around it is as it was."""
    form = LINE_DISGUISES[name](secret)
    assert Redactor([secret]).text(f"<<{form}>>") == f"<<{REDACTED}>>"


@pytest.mark.parametrize("name", LINE_DISGUISES)
@pytest.mark.parametrize("secret", ['a"b\\c/d%20e f', "\\\\server\\new\\u0041", "%25%2525%25", "0000\\u"])
def test_so_is_one_that_looks_like_an_escape_itself(secret: str, name: str) -> None:
    """What is in a secret must not be read as a form of something else."""
    test_a_secret_is_taken_out_in_every_form.hypothesis.inner_test(secret, name)  # type: ignore[attr-defined]


@quick
@given(secret=secrets, form=names, before=st.text(), after=st.text())
def test_neighbours_do_not_hide_a_secret(secret: str, form: str, before: str, after: str) -> None:
    """Whatever stands around it, even where it could be read as a part of an escape."""
    disguised = LINE_DISGUISES[form](secret)
    assert REDACTED in Redactor([secret]).text(before + disguised + after)


@quick
@given(secret=secrets, before=st.binary(max_size=4), after=st.binary(max_size=4), is_url=st.booleans())
def test_a_secret_is_taken_out_of_base64(secret: str, before: bytes, after: bytes, is_url: bool) -> None:
    """At each place in the groups of three bytes; the digits at its edges may stay."""
    form, core = base64_form(secret, before, after, is_url=is_url)
    text = Redactor([secret]).text(f"<<{form}>>")
    assert core not in text
    assert text.startswith("<<" + form.partition(core)[0][:2])
    assert len(text) <= len(form) - len(core) + len(f"<<{REDACTED}>>")


@quick
@given(secret=secrets, text=st.text(st.sampled_from("<>(){};:,. \n"), max_size=60))
def test_what_is_no_secret_is_unchanged(secret: str, text: str) -> None:
    """Byte for byte."""
    if secret not in text:
        assert Redactor([secret]).text(text) == text


@quick
@given(secret=secrets, form=names, word=st.from_regex(r"[0-9A-Za-z_.-]{0,40}", fullmatch=True))
def test_a_word_is_looked_at_no_less_than_any_text(secret: str, form: str, word: str) -> None:
    """Ids and events are most of a log: what can be in them is looked for first, and is all that can be."""
    redactor = Redactor([secret])
    for text in (word, word + secret + word, word + LINE_DISGUISES[form](secret)):
        data = text.encode("utf-8", "surrogatepass")
        is_found = bool(redactor.spans(data))
        assert (redactor.text(text) != text) == is_found


@quick
@given(st.text(st.characters(codec=None)))
def test_any_text_can_be_read(text: str) -> None:
    """Also one with halves of surrogate pairs, which Python has for undecodable bytes."""
    assert Redactor(["not-there-at-all"]).text(text) == text or "://" in text or "=" in text


def test_each_line_of_a_key_counts_by_itself() -> None:
    """Keys come out a line at a time, with other line ends, or as one line."""
    redact = Redactor([KEY]).text
    lines = KEY.splitlines()
    assert redact(lines[1]) == redact(lines[2]) == REDACTED
    assert redact("p5c9W is short") == "p5c9W is short"
    assert redact(KEY.replace("\n", "\r\n")).split() == [
        "-----BEGIN", "PRIVATE", "KEY-----", REDACTED, REDACTED, "p5c9W", "-----END", "PRIVATE", "KEY-----",
    ]  # fmt: skip
    assert "MIIE" not in redact(json.dumps({"key": KEY}))


def test_overlapping_secrets_leave_nothing_of_each_other() -> None:
    """What is left of one by the other would be a part of it."""
    redact = Redactor(["abcdefgh", "cdefghijklmnop", "aaaaaaaaaa"]).text
    assert redact("<abcdefghijklmnop>") == f"<{REDACTED}>"
    assert redact("<" + "a" * 17 + ">") == f"<{REDACTED}>"


def test_short_secrets_are_only_whole_values() -> None:
    """Searched for in text they would blank out ordinary words."""
    redactor = Redactor(["no", "x1"])
    assert redactor.text("no news") == "no news"
    assert redactor.value({"answer": "no", "x1": ["no news", "x1"]}) == {
        "answer": REDACTED,
        REDACTED: ["no news", REDACTED],
    }


def test_values_are_clean_in_depth() -> None:
    """Keys too; what would then be the same key is kept apart."""
    redactor = Redactor([TOKEN, "second-secret"])
    given_value: dict[str, Any] = {
        "a": [TOKEN, {"b": f"x {TOKEN}"}, 1, None, True, 1.5],
        TOKEN: 1,
        "second-secret": 2,
        "url": "postgres://user:pass@db/x",
    }
    assert redactor.value(given_value) == {
        "a": [REDACTED, {"b": f"x {REDACTED}"}, 1, None, True, 1.5],
        REDACTED: 1,
        f"{REDACTED} (2)": 2,
        "url": f"postgres://{REDACTED}@db/x",
    }


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda parts: st.lists(parts, max_size=4) | st.dictionaries(st.text(max_size=8), parts, max_size=4),
)


@quick
@given(json_values)
def test_a_clean_value_is_the_same_value(value: Any) -> None:
    """Results of handlers are not touched without need; what may be an URL with credentials is not clean."""
    assume(not may_hold_credentials(msgspec.json.encode(value)))
    assert Redactor([TOKEN]).value(value) is value


@quick
@given(secrets, json_values, names)
def test_a_value_is_never_clean_by_its_encoding_alone(secret: str, other: Any, form: str) -> None:
    """The quick look at a value as JSON sees everything that the slow one does."""
    redactor = Redactor([secret])
    disguised = LINE_DISGUISES[form](secret)
    assert redactor.value([other, {"deep": disguised}])[1] == {"deep": REDACTED}


def test_links_in_results_work_but_their_credentials_are_gone() -> None:
    """Text of logs is read by many; a link that a handler returns is its result."""
    link = "https://storage.example/o/part.stl?alt=media&token=0af3-11ee"
    assert Redactor().value({"link": link}) == {"link": link}
    assert REDACTED in Redactor().text(link)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://user:pass@host/p", "https://[redacted]@host/p"),
        ("git+ssh://ghp_abc@host and http://a b@c", "git+ssh://[redacted]@host and http://a b@c"),
        ('{"url":"http://host","mail":"me@x"}', None),
        ("Bearer abc123DEF", "Bearer [redacted]"),
        ("authorization: bearer abcdefgh", "authorization: bearer [redacted]"),
        ("{'Authorization': 'Basic dXNlcjpwYXNz'}", "{'Authorization': 'Basic [redacted]'}"),
        ("Basic settings and bearer certificates", None),
        ("?token=abc&a=1", "?token=[redacted]&a=1"),
        ("password='hunter 2' api_key=k", "password='[redacted] 2' api_key=[redacted]"),
        ("max_tokens=3 mytoken=4 key=5 tokens=6", None),
        ("http://host/path?page=2", None),
        ("a token of thanks", None),
        ("", None),
    ],
)
def test_what_looks_like_a_secret_is_taken_out(text: str, shown: str | None) -> None:
    """Without knowing it; ordinary words stay."""
    assert Redactor().text(text) == (text if shown is None else shown)


@settings(quick, max_examples=100)
@given(name=names, secret=secrets, kept=st.floats(0, 1))
def test_a_cut_leaves_no_more_than_five_characters(name: str, secret: str, kept: float) -> None:
    """Texts that come from a child may have been cut there; they end with `…` then."""
    form = LINE_DISGUISES[name](secret)
    text = Redactor([secret]).text(f"<<{form[: int(len(form) * kept)]}…")
    shown = re.sub(r"^<<|…$", "", text)
    assert REDACTED in shown or len(shown) < len(LINE_DISGUISES[name](secret[:7]))
    assert len(shown.rpartition(REDACTED)[2]) < max(
        len(LINE_DISGUISES[name](secret[at : at + 7])) for at in range(len(secret))
    )


def test_a_redactor_does_not_show_what_it_knows() -> None:
    """It may stand in a log or a traceback itself."""
    assert TOKEN not in repr(Redactor([TOKEN])) + str(Redactor([TOKEN]).stream())


def test_more_secrets_make_another_redactor() -> None:
    """Known ones make none, and empty ones are no secrets."""
    redactor = Redactor([TOKEN, "", " \n"])
    assert redactor.with_secrets([TOKEN, ""]) is not None
    both = redactor.with_secrets(["other-secret"])
    assert both.text(f"{TOKEN} other-secret") == f"{REDACTED} {REDACTED}"
    assert redactor.text("other-secret") == "other-secret"
    assert redactor.with_secrets([TOKEN]) is redactor


def test_a_value_that_is_slow_to_search_is_taken_out() -> None:
    """Whoever made it so gets no more of the time of others."""
    cleaning = Cleaning(Redactor([TOKEN]), busy_s=0.0)
    assert cleaning.clean({"a": ["b", 1]}) == {REDACTED: [REDACTED, 1]}


def test_a_value_of_hundreds_of_levels_is_no_trouble() -> None:
    """It comes out as it is, or not at all."""
    for inner, expected in (("fine", None), (TOKEN, {REDACTED: REDACTED})):
        deep: dict[str, Any] = {"a": inner}
        for _ in range(600):
            deep = {"a": deep}
        assert Redactor([TOKEN]).value(deep) == (deep if expected is None else expected)


def test_a_text_that_is_slow_to_search_is_taken_out_from_some_place_on() -> None:
    """It would be searched for seconds: each of its places could begin each of the secrets."""
    redactor = Redactor(["a" * count + "b" for count in range(6, 60)])
    text = "a%61" * 4000
    shown = redactor.text(text)
    assert text.startswith(shown.removesuffix(REDACTED))
    assert len(shown) < 1000


@quick
@given(secrets, st.lists(st.text(alphabet="ab-_.=@\n %", max_size=9), min_size=1, max_size=4), names)
def test_what_are_plain_words_together_is_each_left_as_it_is(
    secret: str, others: list[str], form: str
) -> None:
    """The look at several texts at once never takes for harmless what the look at one of them does not."""
    redactor = Redactor([secret])
    for texts in ([*others, secret], [LINE_DISGUISES[form](secret), *others], others):
        if redactor.are_plain_words(texts):
            assert [redactor.text(text) for text in texts] == texts


def test_ids_are_plain_words() -> None:
    """What most lines of a log are made of is seen to be harmless at one look."""
    assert Redactor([TOKEN]).are_plain_words(["9b2f-11", "noop", "run.ended"])
    assert not Redactor([TOKEN]).are_plain_words(["9b2f-11", TOKEN])

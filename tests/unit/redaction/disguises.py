"""The forms in which a secret may come out, as strategies and functions of it."""

import base64
import json
from collections.abc import Callable
from urllib.parse import quote, quote_plus

from hypothesis import strategies as st

Disguise = Callable[[str], str]


def unicode_escaped(text: str) -> str:
    r"""Return every character as ``\uXXXX``."""
    units = text.encode("utf-16-be").hex()
    return "".join("\\u" + units[at : at + 4] for at in range(0, len(units), 4))


def percent_escaped(text: str) -> str:
    """Return every byte as ``%xx``, in lower case."""
    return "".join(f"%{byte:02x}" for byte in text.encode())


def json_string(text: str) -> str:
    """Return a text as it stands in JSON, without its quotes."""
    return json.dumps(text)[1:-1]


def slash_escaped(text: str) -> str:
    r"""Return a text as PHP and others write it in JSON."""
    return json_string(text).replace("/", "\\/")


def json_string_of_unicode(text: str) -> str:
    """Return a text as it stands in JSON that is not ASCII."""
    return json.dumps(text, ensure_ascii=False)[1:-1]


def twice(disguise: Disguise) -> Disguise:
    """Return a disguise put on twice."""
    return lambda text: disguise(disguise(text))


LINE_DISGUISES: dict[str, Disguise] = {
    "plain": str,
    "JSON": json_string,
    "JSON of Unicode": json_string_of_unicode,
    "JSON twice": twice(json_string),
    "JSON with slashes": slash_escaped,
    "JSON with slashes, twice": twice(slash_escaped),
    "Unicode escapes": unicode_escaped,
    "Unicode escapes in JSON": lambda text: json_string(unicode_escaped(text)),
    "upper Unicode escapes": lambda text: unicode_escaped(text).upper().replace("\\U", "\\u"),
    "URL": lambda text: quote(text, safe=""),
    "URL with slashes": quote,
    "query": quote_plus,
    "URL twice": twice(lambda text: quote(text, safe="")),
    "percent escapes": percent_escaped,
    "upper percent escapes": lambda text: percent_escaped(text).upper(),
    "percent escapes in JSON": lambda text: json_string(percent_escaped(text)),
    "JSON in URL": lambda text: quote(json_string(text)),
}


def base64_form(text: str, before: bytes, after: bytes, *, is_url: bool) -> tuple[str, str]:
    """Return base64 of a text between neighbours, and the part that depends on the text alone."""
    raw = text.encode()
    encode = base64.urlsafe_b64encode if is_url else base64.b64encode
    form = encode(before + raw + after).decode()
    return form, form[-(-8 * len(before) // 6) : 8 * (len(before) + len(raw)) // 6]


# Without line ends, edges of white space and runs of backslashes, which count as no part of a secret.
secrets = (
    st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), min_size=6, max_size=150)
    | st.text(st.sampled_from('aA1"\\/%+ nu{=é😀'), min_size=6, max_size=80)
    | st.from_regex(r"(gh[ps]_|mh-|eyJ)[A-Za-z0-9_.~+/=-]{6,200}", fullmatch=True)
).filter(lambda text: len(text.strip()) >= 6 and text == text.strip() and "\\" * 4 not in text)

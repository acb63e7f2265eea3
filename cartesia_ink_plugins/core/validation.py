"""Checks of options where they are given; each error names the argument and says what to give.

Limits of the API: https://docs.cartesia.ai/api-reference/stt/turns/websocket
"""

from __future__ import annotations

import ipaddress
import math
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import SplitResult, urlsplit, urlunsplit

from cartesia_ink_plugins.core.errors import UsageError

# Limits of the API: https://docs.cartesia.ai/api-reference/stt/turns/websocket
MAX_KEYTERMS = 100  # a count
MAX_KEYTERM_CHARACTERS = 1200  # of all keyterms together
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_OUR_HEADERS = frozenset(
    "authorization x-api-key cartesia-version host connection upgrade content-length "
    "transfer-encoding".split()
)
_SCHEMES = {"": "wss", "wss": "wss", "https": "wss", "ws": "ws", "http": "ws"}


def is_text(value: object) -> bool:
    """Tell whether something is a string that can be encoded: it has no lone surrogate."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_header_value(value: object) -> bool:
    """Tell whether a header can carry something: printable ASCII, so that no header follows it."""
    return isinstance(value, str) and value.isascii() and value.isprintable()


def validate_name(argument: str, value: object, example: str) -> None:
    """Check a name that is sent in a URL or a form.

    Raises:
        UsageError: It is not a string, is empty, or has characters that cannot be printed.
    """
    if not (isinstance(value, str) and value):
        raise UsageError(f"{argument}: {value!r} is no name; use {example!r}")
    if not value.isprintable():
        raise UsageError(f"{argument}: {value!r} has characters that cannot be sent")


def validate_number(argument: str, value: object, least: float, most: float, unit: str) -> None:
    """Check a number; NaN is none.

    Raises:
        UsageError: It is not a number from `least` to `most`.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (is_number and least <= value <= most):  # type: ignore[operator]
        bounds = f"from {least:g} to {most:g}" if most < math.inf else f"of at least {least:g}"
        raise UsageError(f"{argument}: {value!r} is not a number {bounds} {unit}".rstrip())


def validate_positive(argument: str, value: object, unit: str) -> None:
    """Check a number that is greater than 0; NaN is none.

    Raises:
        UsageError: It is not.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (is_number and value > 0):  # type: ignore[operator]
        raise UsageError(f"{argument}: {value!r} is not a positive number of {unit}")


def validate_version(version: object) -> None:
    """Check a version of the API, which is sent in a header.

    Raises:
        UsageError: It is not printable ASCII, such as 2026-03-01.
    """
    if not (version and is_header_value(version)):
        raise UsageError(f"cartesia_version: {version!r} is not like '2026-03-01'")


def language_code(language: str | None) -> str | None:
    """Return a language as the API writes it: `en` for `en-US`.

    What is no code, such as `auto`, is left as it is: which languages a model knows is for the
    server to say.

    Raises:
        UsageError: It cannot be sent.
    """
    if language is None:
        return None
    validate_name("language", language, "en")
    code = re.match("[A-Za-z]{2,3}(?=[-_]|$)", language)
    return code[0].lower() if code else language


def validated_keyterms(keyterms: Sequence[str]) -> tuple[str, ...]:
    """Return the keyterms as a tuple.

    Raises:
        UsageError: There are more than 100, they are longer than 1200 characters, or one is empty.
    """
    if isinstance(keyterms, str):
        raise UsageError("keyterms: is one string; give a list of strings")
    try:
        terms = tuple(keyterms)
    except TypeError:
        raise UsageError(f"keyterms: {keyterms!r} is not a list of strings") from None
    for term in terms:
        if not isinstance(term, str):
            raise UsageError(f"keyterms: {term!r} is not a string")
        if not is_text(term):
            raise UsageError(f"keyterms: {term!r} has a lone surrogate, which no URL can carry")
    if not all(map(str.strip, terms)):
        raise UsageError("keyterms: a term is empty")
    if len(terms) > MAX_KEYTERMS:
        raise UsageError(f"keyterms: {len(terms)} terms; the API takes at most {MAX_KEYTERMS}")
    characters = sum(map(len, terms))
    if characters > MAX_KEYTERM_CHARACTERS:
        raise UsageError(
            f"keyterms: {characters} characters; the API takes at most {MAX_KEYTERM_CHARACTERS}"
        )
    return terms


def validate_sample_rate(sample_rate: object) -> None:
    """Check that a sample rate is plausible.

    Raises:
        UsageError: It is not a whole number from 1000 to 384000 Hz.
    """
    if not (isinstance(sample_rate, int) and 1_000 <= sample_rate <= 384_000):
        raise UsageError(f"sample_rate: {sample_rate!r} is not a rate in Hz, such as 16000")


def validated_headers(headers: Mapping[Any, Any]) -> dict[str, str]:
    """Return a copy of the headers.

    Raises:
        UsageError: One is not a header, or is one that the client writes itself.
    """
    if not isinstance(headers, Mapping):
        raise UsageError("extra_headers: is not a mapping of names to values")
    for name, value in headers.items():
        if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
            raise UsageError(f"extra_headers: {name!r} is not a header name")
        if name.lower() in _OUR_HEADERS or name.lower().startswith("sec-"):
            raise UsageError(f"extra_headers: {name!r} is written by the client")
        if not is_header_value(value):
            raise UsageError(f"extra_headers: the value of {name!r} is not printable ASCII")
    return dict(headers)


def websocket_url(base_url: str, path: str) -> str:
    """Join a base URL of any scheme and an API path into a WebSocket address.

    A base URL that already ends in an API path keeps its host and gets `path` instead.

    Raises:
        UsageError: It has no host, or a scheme that does not lead to a WebSocket.
    """
    parts = _split(base_url)
    if parts is None:
        raise UsageError(
            f"base_url: {_host_only(base_url)!r} is not like 'https://api.cartesia.ai'"
        )
    prefix = parts.path.rstrip("/")
    if "/stt" in prefix:
        prefix = prefix[: prefix.index("/stt")]
    return urlunsplit((_SCHEMES[parts.scheme], parts.netloc, prefix + path, "", ""))


def insecure_allowed(given: bool | None = None) -> bool:
    """What is given, or else whether `CARTESIA_ALLOW_INSECURE` is set to 1."""
    return os.environ.get("CARTESIA_ALLOW_INSECURE") == "1" if given is None else given


def require_encryption(base_url: str, *, allow_insecure: bool) -> None:
    """Check that a key and a caller's audio go to another machine over TLS only.

    Raises:
        UsageError: The address is plain `ws` or `http`, and is not of this machine.
    """
    parts = _split(base_url)
    if parts is None or _SCHEMES[parts.scheme] == "wss" or allow_insecure:
        return
    if not _is_loopback(parts.hostname or ""):
        raise UsageError(
            f"base_url: {_host_only(base_url)!r} is not encrypted, so that everyone on the way can "
            "read the key and the audio; use https or wss, or allow it with allow_insecure=True or "
            "CARTESIA_ALLOW_INSECURE=1"
        )


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _split(base_url: object) -> SplitResult | None:
    """Return the parts of a base URL; None if it does not lead to a WebSocket."""
    if not isinstance(base_url, str) or not base_url.isprintable() or " " in base_url:
        return None
    try:
        parts = urlsplit(base_url if "://" in base_url else f"//{base_url}")
        host = (parts.hostname or "").encode("idna")  # what DNS is asked, and the header has
        usable = parts.scheme in _SCHEMES and host and parts.port != 0
    except ValueError:
        return None
    return parts if usable and not parts.query and "@" not in parts.netloc else None


def _host_only(base_url: str) -> str:
    """Return the part of a wrong base URL that an error may repeat: never a secret."""
    return str(base_url).split("?")[0].rpartition("@")[2]

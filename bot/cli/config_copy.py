"""The text of config.toml as it may lie in a backup: without the secrets that stand in it."""

import re
import tomllib
from collections.abc import Iterator
from typing import Any, Final

from generation import toml_text

SECRETS: Final = {"huggingface": ("token",), "nats": ("password", "token")}
HARMLESS: Final = re.compile("endpoint|region|bucket|prefix|aws_endpoint|aws_region", re.IGNORECASE)
"""Options of an object store that are no secrets."""
IN_URL: Final = re.compile(r"(?<=://)([^/@\s]*):([^/\s]*)@")
TOKEN_IN_URL: Final = re.compile(r"\b((?:nats|tls|wss?)://)([^/@:\s]+)@")
"""NATS' way to give a token in an address."""
IN_FLAGS: Final = re.compile(r"(--[\w-]*(?:auth|token|key|password)[\w-]*[ =]+)(\S+)")
LEFT_OUT: Final = "LEFT-OUT"


def without_secrets(text: str) -> str | None:
    """The text with each secret replaced by `LEFT-OUT`; None where one can't be taken out."""
    try:
        secrets = set(_secrets(toml_text.loads(text)))
    except tomllib.TOMLDecodeError:
        return None
    cleaned = IN_FLAGS.sub(rf"\1{LEFT_OUT}", IN_URL.sub(rf"\1:{LEFT_OUT}@", text))
    cleaned = TOKEN_IN_URL.sub(rf"\1{LEFT_OUT}@", cleaned)
    for secret in secrets:
        for quote in ('"', "'"):
            cleaned = cleaned.replace(f"{quote}{secret}{quote}", f"{quote}{LEFT_OUT}{quote}")
    try:
        left = secrets & set(_secrets(toml_text.loads(cleaned)))
    except tomllib.TOMLDecodeError:
        return None
    # it may be written otherwise than it reads, or stand in a comment
    return None if left or any(len(s) > 3 and s in cleaned for s in secrets) else cleaned


def _secrets(tables: dict[str, Any]) -> Iterator[str]:
    for table, keys in SECRETS.items():
        found = tables.get(table)
        if isinstance(found, dict):
            yield from _texts(found.get(key) for key in keys)
    storage = tables.get("storage")
    options = storage.get("picture_options") if isinstance(storage, dict) else None
    if isinstance(options, dict):
        yield from _texts(value for key, value in options.items() if not HARMLESS.fullmatch(key))
    for text in _all_texts(tables):
        for pattern in (IN_URL, TOKEN_IN_URL):
            yield from _texts(match[2] for match in pattern.finditer(text))
        yield from _texts(match[2] for match in IN_FLAGS.finditer(text))


def _texts(values: Iterator[Any]) -> Iterator[str]:
    return (value for value in values if isinstance(value, str) and value not in ("", LEFT_OUT))


def _all_texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _all_texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _all_texts(each)

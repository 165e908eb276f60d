"""Numbers in a query string."""

from __future__ import annotations

from aiohttp import web

from playground.errors import InvalidForm


def whole(
    request: web.Request, name: str, default: int, *, low: int = 0, high: int = 2**63 - 1
) -> int:
    """The parameter as a whole number; 50035 for anything else or out of bounds."""
    text = request.query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        wrong = {"code": "NUMBER_TYPE_COERCE", "message": f'Value "{text}" is not int.'}
    elif not low <= int(text) <= high:
        message = f"int value should be between {low} and {high}."
        wrong = {"code": "NUMBER_TYPE_MAX", "message": message}
    else:
        return int(text)
    raise InvalidForm({name: {"_errors": [wrong]}})

"""What a webui says of a picture that it can't draw, as sentences of `bot/locales/`."""

import json
from typing import Any, Final

WHY_MAX: Final = 200
"""Signs of what it says in its own words."""
MEMORY: Final = ("outofmemory", "out of memory", "not enough memory", "failed to allocate")
NAN: Final = ("nansexception", "nans was produced", "all nans")


def what_failed(status: int, text: str) -> tuple[str, dict[str, str], str]:
    """From an answer: code, what the sentence names, and all that it said."""
    try:
        said = json.loads(text)
    except ValueError:
        said = None
    kind, why = _said(said if isinstance(said, dict) else {})
    # newer versions say no more of a fault than its kind
    whole = f"{kind}: {why}".casefold()
    detail = f"status {status}: {text[:2000]}"
    if status == 404 and why in ("", "Not Found"):
        return "webui_api_gone", {}, detail
    if any(sign in whole for sign in MEMORY):
        return "out_of_memory", {}, detail
    if any(sign in whole for sign in NAN):
        return "webui_nan", {}, detail
    return "webui_failed", {"why": cut(why or kind or text or f"status {status}")}, detail


def _said(said: dict[str, Any]) -> tuple[str, str]:
    """The kind of a fault, and why."""
    detail = said.get("detail")
    if isinstance(detail, list):
        # what pydantic refuses
        detail = "; ".join(_field(each) for each in detail)
    why = said.get("errors") or said.get("message") or detail or ""
    return str(said.get("error") or ""), str(why).strip()


def _field(reason: Any) -> str:
    if not isinstance(reason, dict):
        return str(reason)
    where = ".".join(str(part) for part in reason.get("loc", ()) if part != "body")
    return f"{where}: {reason.get('msg', '')}"


def cut(text: str) -> str:
    """One line, and no longer than people read."""
    line = " ".join(text.split())
    return line if len(line) <= WHY_MAX else f"{line[: WHY_MAX - 1]}…"

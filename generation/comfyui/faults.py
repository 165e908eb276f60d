"""What ComfyUI says of a graph that it can't draw, as sentences of `bot/locales/`."""

import re
from collections.abc import Mapping
from typing import Any, Final

WHY_MAX: Final = 200
"""Signs of what it says in its own words."""
_MISSING: Final = re.compile(r"node (?P<node>\S+) does not exist")
_NOT_LISTED: Final = re.compile(r"\w+: '(?P<name>.*?)' not in", re.DOTALL)
PACKS: Final[Mapping[str, str]] = {
    "SaveImageWebsocket": "ComfyUI's own custom_nodes/websocket_image_save.py",
}
"""Where nodes come from that a ComfyUI may lack; all others are its own."""


def rejection(error: Mapping[str, Any], nodes: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    """Why a graph was not taken: the sentence's code, and what it names."""
    message = str(error.get("message", ""))
    extra = error.get("extra_info")
    node = str(extra.get("class_type", "")) if isinstance(extra, dict) else ""
    found = _MISSING.search(message)
    if found is not None or error.get("type") == "missing_node_type":
        node = node or (found["node"] if found is not None else message)
        return "comfyui_node", {"node": node, "pack": PACKS.get(node, "a newer ComfyUI")}
    for about in nodes.values():
        reasons = about.get("errors", ()) if isinstance(about, dict) else ()
        for reason in reasons:
            details = str(reason.get("details", ""))
            missing = _NOT_LISTED.match(details)
            if reason.get("type") == "value_not_in_list" and missing is not None:
                return "comfyui_file", {"file": missing["name"]}
            why = f"{reason.get('message', '')}: {details}"
            return "comfyui_failed", {"node": str(about.get("class_type")), "why": _cut(why)}
    return "comfyui_failed", {"node": "its API", "why": _cut(message)}


def what_failed(data: Mapping[str, Any]) -> tuple[str, dict[str, str], str]:
    """What an `execution_error` says: code, what the sentence names, and the traceback."""
    kind, said = str(data.get("exception_type", "")), str(data.get("exception_message", "")).strip()
    lines = data.get("traceback")
    detail = "".join(map(str, lines)) if isinstance(lines, list) else ""
    detail = f"{kind}: {said}\n{detail}"
    if "OutOfMemory" in kind or "out of memory" in said.casefold():
        return "out_of_memory", {}, detail
    node = str(data.get("node_type", ""))
    return "comfyui_failed", {"node": node, "why": _cut(said or kind)}, detail


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= WHY_MAX else f"{line[: WHY_MAX - 1]}…"

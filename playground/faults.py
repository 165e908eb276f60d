"""Faults that a test asks for: refusals, server errors, lost answers, a closed door.

A fault strikes the bot's next matching REST requests, or with `socket` its next attempts to open
the gateway's WebSocket.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from .errors import Refused
from .world import Json

MESSAGES = {
    429: "You are being rate limited.",
    500: "500: Internal Server Error",
    502: "502: Bad Gateway",
    503: "503: Service Unavailable",
    504: "504: Gateway Timeout",
}

REFUSALS: dict[int, tuple[int, str]] = {
    10003: (404, "Unknown Channel"),
    10008: (404, "Unknown Message"),
    10015: (404, "Unknown Webhook"),
    10062: (404, "Unknown interaction"),
    20016: (429, "This action cannot be performed due to slowmode rate limit"),
    30046: (400, "Maximum number of edits to messages older than 1 hour reached"),
    40005: (413, "Request entity too large"),
    40060: (400, "Interaction has already been acknowledged."),
    50001: (403, "Missing Access"),
    50006: (400, "Cannot send an empty message"),
    50007: (403, "Cannot send messages to this user"),
    50013: (403, "Missing Permissions"),
    50027: (401, "Invalid Webhook Token"),
    50035: (400, "Invalid Form Body"),
    50083: (400, "Thread is archived"),
    90001: (403, "Reaction was blocked"),
    200000: (400, "Message was blocked by automatic moderation"),
    240000: (400, "Message blocked by harmful links filter"),
}
"""Discord's JSON error codes that can be asked for by the code alone: HTTP status, message."""

FORM_ERRORS: Json = {
    "content": {
        "_errors": [{"code": "BASE_TYPE_MAX_LENGTH", "message": "Must be 2000 or fewer in length."}]
    }
}
"""What stands in `errors` of a 50035, as an example."""

CLOUDFLARE_TITLES = {429: "Access denied", 413: "Request Entity Too Large"}


class Fault(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, rename={"global_": "global"}):
    """Happens to the next `times` requests whose method and path match."""

    path: str = ""
    """A regular expression, searched for in the path without `/api/v10`; "" is every path."""
    method: str | None = None
    socket: bool = False
    """Strikes the opening of the gateway's WebSocket instead of REST requests."""
    files: bool | None = None
    """Strikes only requests that carry files, or only those that carry none."""
    status: Annotated[int, Meta(ge=400, le=599)] | None = None
    """By default that of `code`, else 500."""
    times: Annotated[int, Meta(ge=1)] | None = None
    """By default 1, or without end where `seconds` says how long it lasts."""
    seconds: Annotated[float, Meta(ge=0)] | None = None
    """The fault is over after so long, however often it struck."""
    skip: Annotated[int, Meta(ge=0)] = 0
    """So many matching requests pass first."""
    retry_after: Annotated[float, Meta(ge=0)] | None = None
    """Seconds; a 429 of Discord's has 0.5 by default, other answers have none unless told."""
    code: int = 0
    body: Any = None
    cloudflare: bool = False
    """As Cloudflare's own answers: text/html, no `Via`, none of Discord's headers."""
    global_: bool = False
    delay: Annotated[float, Meta(ge=0)] = 0.0
    """Seconds before the answer, or before the connection breaks."""
    drop: bool = False
    """The connection is closed instead of an answer."""
    reset: bool = False
    """The connection is reset (TCP RST) instead of an answer."""
    after: bool = False
    """The request is carried out first; only its answer is lost or replaced."""
    begun: float = msgspec.field(default_factory=time.monotonic)
    """Set by `Faults.add`."""

    @property
    def http_status(self) -> int:
        if self.status is not None:
            return self.status
        return REFUSALS[self.code][0] if self.code in REFUSALS else 500

    @property
    def breaks(self) -> bool:
        """Is the connection lost instead of an answer given?"""
        return self.drop or self.reset

    @property
    def over(self) -> bool:
        return self.seconds is not None and time.monotonic() - self.begun >= self.seconds

    def matches(self, method: str, path: str, *, files: bool) -> bool:
        if self.method not in (None, method) or self.files not in (None, files):
            return False
        return re.search(self.path, path) is not None

    def answer(self) -> object:
        """The body: text for HTML, else JSON."""
        if self.body is not None:
            return self.body
        status = self.http_status
        if self.cloudflare:
            return cloudflare_page(status)
        if status == 429 and not self.code:
            wait = 0.5 if self.retry_after is None else self.retry_after
            return {"message": MESSAGES[429], "retry_after": wait, "global": self.global_}
        _, message = REFUSALS.get(self.code, (0, MESSAGES.get(status, "A fault")))
        answer: Json = {"message": message, "code": self.code}
        if self.code == 50035:
            answer["errors"] = FORM_ERRORS
        return answer


def cloudflare_page(status: int) -> str:
    title = CLOUDFLARE_TITLES.get(status, MESSAGES.get(status, "A fault").partition(": ")[2])
    reason = "error code: 1015" if status == 429 else f"error code: {status}"
    return (
        f"<!DOCTYPE html><html><head><title>{title} | discord.com</title></head>"
        f"<body><h1>{title}</h1><p>{reason}</p><p>cloudflare</p></body></html>"
    )


class Faults:
    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def add(self, described: Json) -> Fault:
        """From the control protocol's object."""
        try:
            fault = msgspec.convert(described, Fault)
            re.compile(fault.path)
        except (msgspec.ValidationError, re.error) as error:
            raise Refused(message=f"This is no fault: {error}") from error
        if not ("path" in described or fault.socket):
            raise Refused(message="A fault needs a `path`, a regular expression, or `socket`.")
        fault.begun = time.monotonic()
        if fault.times is None and fault.seconds is None:
            fault.times = 1
        self._faults.append(fault)
        return fault

    def clear(self) -> None:
        self._faults.clear()

    def next(self, method: str, path: str, *, files: bool = False) -> Fault | None:
        """The fault that strikes this request, used up by one."""
        return self._strike(lambda f: not f.socket and f.matches(method, path, files=files))

    def next_of_socket(self) -> Fault | None:
        """The fault that strikes this opening of the gateway's WebSocket."""
        return self._strike(lambda fault: fault.socket)

    def _strike(self, strikes: Callable[[Fault], bool]) -> Fault | None:
        self._faults = [fault for fault in self._faults if not fault.over]
        for fault in self._faults:
            if not strikes(fault):
                continue
            if fault.skip:
                fault.skip -= 1
                continue
            if fault.times is not None:
                fault.times -= 1
                if fault.times == 0:
                    self._faults.remove(fault)
            return fault
        return None

"""Faults that a test asks for: refusals, server errors, lost answers to the bot's requests."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .errors import Refused
from .world import Json

MESSAGES = {
    429: "You are being rate limited.",
    500: "500: Internal Server Error",
    502: "502: Bad Gateway",
    503: "503: Service Unavailable",
    504: "504: Gateway Timeout",
}


@dataclass
class Fault:
    """Happens to the next `times` requests whose method and path match."""

    path: re.Pattern[str]
    method: str | None = None
    status: int = 500
    times: int = 1
    retry_after: float = 0.5
    code: int = 0
    body: object = None
    global_: bool = False
    drop: bool = False
    after: bool = False
    """The request is carried out first; only its answer is lost or replaced."""

    def answer(self) -> object:
        if self.body is not None:
            return self.body
        answer: Json = {"message": MESSAGES.get(self.status, "A fault"), "code": self.code}
        if self.status == 429:
            answer = {
                "message": MESSAGES[429],
                "retry_after": self.retry_after,
                "global": self.global_,
            }
        return answer


class Faults:
    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def add(self, described: Json) -> Fault:
        """From the control protocol's object."""
        try:
            path = re.compile(str(described["path"]))
        except (KeyError, re.error) as error:
            raise Refused(message=f"A fault needs a path, a regular expression: {error}") from error
        fault = Fault(
            path,
            method=described.get("method"),
            status=int(described.get("status", 500)),
            times=int(described.get("times", 1)),
            retry_after=float(described.get("retry_after", 0.5)),
            code=int(described.get("code", 0)),
            body=described.get("body"),
            global_=bool(described.get("global")),
            drop=bool(described.get("drop")),
            after=bool(described.get("after")),
        )
        self._faults.append(fault)
        return fault

    def clear(self) -> None:
        self._faults.clear()

    def next(self, method: str, path: str) -> Fault | None:
        """The fault that strikes this request, used up by one."""
        for fault in self._faults:
            if fault.method in (None, method) and fault.path.search(path):
                fault.times -= 1
                if fault.times <= 0:
                    self._faults.remove(fault)
                return fault
        return None

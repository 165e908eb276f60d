"""What a server in this process is joined to in place of its pipe."""

from typing import Any

from generation.messages import FromRuntime, RuntimeSettings

SETTINGS = RuntimeSettings(device="cpu", preview_every=0, low_priority=False, cpu_threads=1)


class Ends:
    """Both ends of the pipe: what was sent, and whether the job is cancelled."""

    def __init__(self) -> None:
        self.sent: list[FromRuntime] = []
        self.cancelled = False

    def send(self, message: FromRuntime) -> None:
        self.sent.append(message)

    def is_cancelled(self, job: str) -> bool:
        return self.cancelled

    def of(self, type_: type) -> list[Any]:
        return [message for message in self.sent if isinstance(message, type_)]

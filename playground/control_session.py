"""Calls of the control protocol over HTTP: what `Control` and each `Person` stand on."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

import aiohttp

from .world import Json


class ControlError(Exception):
    """The playground refused: HTTP status, Discord's code, one sentence."""

    def __init__(self, status: int, code: int, message: str, errors: Json | None = None) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status, self.code, self.message, self.errors = status, code, message, errors


class ControlSession:
    """The playground at `url`; open as an async context manager."""

    def __init__(self, url: str) -> None:
        self.url = url

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._session.close()

    async def call(
        self, method: str, path: str, body: object = None, data: aiohttp.FormData | None = None
    ) -> Any:
        """Any call of the protocol: `call("POST", "/clock", {"advance": 900})`."""
        sent: dict[str, Any] = {"data": data} if data is not None else {"json": body}
        if data is None and body is None:
            sent = {}
        async with self._session.request(method, f"{self.url}/control{path}", **sent) as answer:
            content = await answer.json()
            if answer.status >= 400:
                raise ControlError(
                    answer.status, content["code"], content["message"], content.get("errors")
                )
            return content

    async def get(self, url: str) -> tuple[int, bytes]:
        """Status and bytes of a link, such as an attachment's."""
        async with self._session.get(url) as answer:
            return answer.status, await answer.read()

    async def events_of(self, name: str) -> aiohttp.ClientWebSocketResponse:
        """The socket of everything that this person's own client would get."""
        return await self._session.ws_connect(f"{self.url}/control/events?user={name}")

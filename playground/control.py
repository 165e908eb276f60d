"""A client of the control protocol: be the people, in a test.

    async with Control(discord.url) as control:
        ada = await control.person("ada")
        act = await ada.command("general", "imagine", prompt="a cat")
        message = await act.response()

Every object is Discord's own JSON (see README.md); an error answer raises `ControlError`.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

import aiohttp

from .person import InteractionFailed, Person
from .world import Json

__all__ = ["Control", "ControlError", "InteractionFailed", "Person"]


class ControlError(Exception):
    """The playground refused: HTTP status, Discord's code, one sentence."""

    def __init__(self, status: int, code: int, message: str, errors: Json | None = None) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status, self.code, self.message, self.errors = status, code, message, errors


class Control:
    """The playground at `url`; makes people and holds the tools for tests."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._people: dict[str, Person] = {}

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for person in self._people.values():
            await person.leave()
        await self._session.close()

    async def person(self, name: str) -> Person:
        """Someone who listens to events from now on; by name or id."""
        if name not in self._people:
            person = Person(self, name)
            await person.listen(
                await self._session.ws_connect(f"{self.url}/control/events?user={name}")
            )
            self._people[name] = person
        return self._people[name]

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

    # -- the stage --------------------------------------------------------------------------

    async def add_guild(self, name: str, owner: str | None = None) -> Json:
        return dict(await self.call("POST", "/guilds", {"name": name, "owner": owner}))

    async def change_guild(self, guild: str, **changes: Any) -> Json:
        return dict(await self.call("PATCH", f"/guilds/{guild}", changes))

    async def add_channel(self, guild: str, name: str, *, nsfw: bool = False) -> Json:
        body = {"name": name, "nsfw": nsfw}
        return dict(await self.call("POST", f"/guilds/{guild}/channels", body))

    async def delete_channel(self, channel: str) -> None:
        await self.call("DELETE", f"/channels/{channel}")

    async def add_role(self, guild: str, name: str, permissions: int = 0) -> Json:
        body = {"name": name, "permissions": str(permissions)}
        return dict(await self.call("POST", f"/guilds/{guild}/roles", body))

    async def change_role(self, guild: str, role: str, **changes: Any) -> Json:
        return dict(await self.call("PATCH", f"/guilds/{guild}/roles/{role}", changes))

    async def add_user(self, name: str, **more: Any) -> Json:
        return dict(await self.call("POST", "/users", {"name": name, **more}))

    async def change_member(self, guild: str, user: str, **changes: Any) -> Json:
        return dict(await self.call("PATCH", f"/guilds/{guild}/members/{user}", changes))

    async def remove_member(self, guild: str, user: str) -> None:
        await self.call("DELETE", f"/guilds/{guild}/members/{user}")

    async def overwrite(self, channel: str, target: str, *, allow: int = 0, deny: int = 0) -> Json:
        """An exception to permissions for a role's id or a user's id or name."""
        body = {"allow": str(allow), "deny": str(deny)}
        return dict(await self.call("PATCH", f"/channels/{channel}/permissions/{target}", body))

    # -- tools ------------------------------------------------------------------------------

    async def fault(self, path: str, **how: Any) -> None:
        """`fault("/messages", method="POST", status=429, retry_after=1)`; see README.md."""
        await self.call("POST", "/faults", {"path": path, **how})

    async def clear_faults(self) -> None:
        await self.call("DELETE", "/faults")

    async def gateway(self, do: str, *, resumable: bool = False) -> None:
        await self.call("POST", "/gateway", {"do": do, "resumable": resumable})

    async def clock(self, advance: float) -> None:
        """Move the playground's clock forward by so many seconds."""
        await self.call("POST", "/clock", {"advance": advance})

    async def requests(self, since: int = 0) -> list[Json]:
        return list((await self.call("GET", f"/requests?since={since}"))["requests"])

    async def forget_requests(self) -> None:
        await self.call("DELETE", "/requests")

    async def limits(self, *, enabled: bool) -> None:
        """Switch the rate limits off, for a test that is about something else."""
        await self.call("POST", "/limits", {"enabled": enabled})

    async def reset(self) -> None:
        await self.call("POST", "/reset")

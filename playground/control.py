"""A client of the control protocol: be the people, in a test.

    async with Control(discord.url) as control:
        ada = await control.person("ada")
        act = await ada.command("general", "imagine", prompt="a cat")
        message = await act.response()

Every object is Discord's own JSON (see README.md); an error answer raises `ControlError`.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any

from .control_session import ControlError, ControlSession
from .person import InteractionFailed, Person
from .world import FORUM, TEXT, Json

__all__ = ["Control", "ControlError", "InteractionFailed", "Person"]


class Control(ControlSession):
    """The playground at `url`; makes people and holds the tools for tests."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._people: dict[str, Person] = {}

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for person in self._people.values():
            await person.leave()
        await super().__aexit__(kind, error, trace)

    async def person(self, name: str) -> Person:
        """Someone who listens to events from now on; by name or id."""
        if name not in self._people:
            person = Person(self, name)
            await person.listen(await self.events_of(name))
            self._people[name] = person
        return self._people[name]

    # -- the stage --------------------------------------------------------------------------

    async def add_guild(self, name: str, owner: str | None = None, *, bot: bool = True) -> Json:
        """Another server, with or without the bot."""
        body = {"name": name, "owner": owner, "bot": bot}
        return dict(await self.call("POST", "/guilds", body))

    async def change_guild(self, guild: str, **changes: Any) -> Json:
        return dict(await self.call("PATCH", f"/guilds/{guild}", changes))

    async def add_channel(
        self,
        guild: str,
        name: str,
        *,
        nsfw: bool = False,
        forum: bool = False,
        tags: Sequence[str] = (),
    ) -> Json:
        """A text channel, or a forum with the tags that its posts may have."""
        body = {"name": name, "nsfw": nsfw, "type": FORUM if forum else TEXT, "tags": [*tags]}
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

    async def add_crowd(self, guild: str, count: int, name: str = "crowd") -> list[str]:
        """The ids of so many new members, whom nobody is told of."""
        body = {"guild": guild, "count": count, "name": name}
        return [user["id"] for user in await self.call("POST", "/crowds", body)]

    async def change_member(self, guild: str, user: str, **changes: Any) -> Json:
        return dict(await self.call("PATCH", f"/guilds/{guild}/members/{user}", changes))

    async def remove_member(self, guild: str, user: str) -> None:
        await self.call("DELETE", f"/guilds/{guild}/members/{user}")

    async def overwrite(self, channel: str, target: str, *, allow: int = 0, deny: int = 0) -> Json:
        """An exception to permissions for a role's id or a user's id or name."""
        body = {"allow": str(allow), "deny": str(deny)}
        return dict(await self.call("PATCH", f"/channels/{channel}/permissions/{target}", body))

    # -- tools ------------------------------------------------------------------------------

    async def fault(self, path: str = "", **how: Any) -> None:
        """`fault("/messages", method="POST", status=429, retry_after=1)`; see README.md."""
        await self.call("POST", "/faults", {"path": path, **how})

    async def clear_faults(self) -> None:
        await self.call("DELETE", "/faults")

    async def outage(self, seconds: float | None = None, *, rest: bool = True) -> None:
        """The gateway's connections break and no new ones are made; with `rest`, 503 there too.

        Over after so many seconds, or with `clear_faults`.
        """
        lasting: Json = {"seconds": 86_400.0 if seconds is None else seconds, "status": 503}
        await self.fault(socket=True, **lasting)
        if rest:
            await self.fault(cloudflare=True, **lasting)
        await self.gateway("drop")

    async def gateway(self, do: str, **how: Any) -> None:
        """`gateway("close", code=4004)`, `gateway("twice", event="INTERACTION_CREATE")`, …"""
        await self.call("POST", "/gateway", {"do": do, **how})

    async def clock(self, advance: float) -> None:
        """Let so many seconds pass for the playground."""
        await self.call("POST", "/clock", {"advance": advance})

    async def skew(self, seconds: float) -> None:
        """What the playground takes for the time of day, against this machine's clock."""
        await self.call("POST", "/clock", {"skew": seconds})

    async def forget_nonces(self, *, lifetime: float | None = None) -> None:
        """No message is found by its nonce any more; with `lifetime`, later ones so long."""
        await self.call("POST", "/nonces", {"lifetime": lifetime})

    async def rate_limits(self) -> Json:
        """How many 429s were given and which requests came before they should."""
        return dict(await self.call("GET", "/limits"))

    async def requests(self, since: int = 0) -> list[Json]:
        return list((await self.call("GET", f"/requests?since={since}"))["requests"])

    async def forget_requests(self) -> None:
        await self.call("DELETE", "/requests")

    async def limits(self, *, enabled: bool) -> None:
        """Switch the rate limits off, for a test that is about something else."""
        await self.call("POST", "/limits", {"enabled": enabled})

    async def burst(
        self, *, reactions: Sequence[Json] = (), interactions: Sequence[Json] = ()
    ) -> list[Json]:
        """Everything in one instant; ids and tokens of the interactions. See README.md."""
        body = {"reactions": [*reactions], "interactions": [*interactions]}
        return list(await self.call("POST", "/bursts", body))

    async def reset(self) -> None:
        await self.call("POST", "/reset")

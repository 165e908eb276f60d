"""What handlers are given, and the client that carries it to them.

discord.py hands every callback nothing but the client: so the client carries the services, and all
that handles an interaction knows this module, which knows none of them.
"""

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import aiohttp
import discord
from discord import app_commands

from bot.access.caller import Caller
from bot.background import BackgroundTasks
from bot.clock import DiscordClock
from bot.config import DiscordSettings
from bot.delivery.audit import Audit
from bot.delivery.tracker import Tracker
from bot.pausing import PauseSwitch
from bot.pictures.decoding import PictureDecoder
from bot.recent import Recent
from bot.requests.actions import ActionTarget
from bot.requests.service import RequestService
from bot.ui.action_buttons import ActionClient
from bot.ui.modal import Modal
from generation.catalog import Catalog
from generation.fleet.hosts import Fleet
from generation.info.file_hashes import FileHashes
from generation.memory_outlook import Outlook
from generation.worker_pool import WorkerPool
from storage.drafts import Draft
from storage.store import Store

INTERACTION_SECONDS: Final = 900.0
"""How long an interaction is remembered, to know one that comes twice."""
TOLD_SECONDS: Final = 60.0
HINT_SECONDS: Final = 3600.0
DAY_SECONDS: Final = 86_400.0
TAKEN_AWAY_MAX: Final = 10_000
"""Reactions that were taken away and are remembered."""


@dataclass(frozen=True)
class Services:
    """Everything that handlers work with."""

    requests: RequestService
    store: Store
    catalog: Catalog
    workers: WorkerPool
    decoder: PictureDecoder
    delivery: Tracker
    audit: Audit
    clock: DiscordClock
    discord: DiscordSettings
    hashes: FileHashes
    """Which of the model files here others mean by a hash."""
    pausing: PauseSwitch
    outlook: Callable[[], Outlook | None]
    """How models run here; None until that is known."""
    on_action: "ActionHandler"
    """What happens when somebody presses the button of an action on a job."""
    on_more: "MoreHandler"
    """What happens when somebody wants to see the rest of the buttons of a job."""
    fleet: Fleet | None = None
    """Workers on other hosts, where there may be any."""


class Client(ActionClient):
    """A Discord client that carries the services."""

    services: Services
    """Set once, before the client connects."""
    tree: app_commands.CommandTree[Any]

    def __init__(
        self,
        intents: discord.Intents,
        *,
        shard_ids: Sequence[int] = (),
        shard_count: int = 0,
        trace: aiohttp.TraceConfig | None = None,
    ) -> None:
        super().__init__(
            intents=intents,
            http_trace=trace,  # type: ignore[arg-type]
            shard_ids=list(shard_ids) or None,  # type: ignore[arg-type]
            shard_count=shard_count or None,
            allowed_mentions=discord.AllowedMentions.none(),
            # messages are found by id in the database; the client need not remember any
            max_messages=None,
        )
        self._begun = time.monotonic()
        self.answers = BackgroundTasks()
        """Answers under way: the client does not end before them."""
        self.reopeners: Mapping[str, Reopener] = {}
        """What opens a modal again, by its name."""
        self.online_shards: set[int] = set()
        """Those whose connection to the gateway stands."""
        self._seen = Recent(INTERACTION_SECONDS)
        self.told = Recent(TOLD_SECONDS)
        """Who has just been told that a reaction came to nothing, or was left out."""
        self.hinted = Recent(HINT_SECONDS)
        """Who has been answered to a direct message."""
        self.pictures_kept = Recent(DAY_SECONDS)
        """Who had how many pictures kept with requests that were refused."""
        self.command_ids: dict[str, int] = {}
        """Discord's ids of the commands by name, once it knows them."""
        self._taken_away: OrderedDict[str, int] = OrderedDict()

    @property
    def online(self) -> bool:
        """Whether the connections of all shards stand."""
        return bool(self.shards) and self.online_shards >= self.shards.keys()

    @property
    def registers_commands(self) -> bool:
        """Whether this process is the one of several that registers the commands."""
        return self.shard_ids is None or 0 in self.shard_ids

    @property
    def started_at(self) -> datetime:
        """When the bot was started, by Discord's clock as it is known by now."""
        return self.services.clock.now() - timedelta(seconds=time.monotonic() - self._begun)

    def is_new(self, interaction: "discord.Interaction[Client]") -> bool:
        """Whether an interaction came for the first time; Discord may send an event twice."""
        self.services.clock.observe(interaction.created_at)
        return self._seen.add(interaction.id)

    def reaction_key(
        self, payload: discord.RawReactionActionEvent, *, taken_away: bool = False
    ) -> str:
        """What names a reaction: the same for an event that comes twice, another for one that was
        taken away in between.
        """
        key = f"r:{payload.message_id}:{payload.user_id}:{payload.emoji}"
        if taken_away:
            self._taken_away[key] = self._taken_away.pop(key, 0) + 1
            if len(self._taken_away) > TAKEN_AWAY_MAX:
                self._taken_away.popitem(last=False)
        return f"{key}:{self._taken_away.get(key, 0)}"

    async def on_action(
        self, interaction: "discord.Interaction[Client]", target: ActionTarget, job_id: int
    ) -> None:
        """The button of an action was pressed."""
        if self.is_new(interaction):
            await self.services.on_action(interaction, target, job_id)

    async def on_more(
        self, interaction: "discord.Interaction[Client]", job_id: int, index: int | None
    ) -> None:
        """The rest of the buttons is wanted."""
        if self.is_new(interaction):
            await self.services.on_more(interaction, job_id, index)


Reopener = Callable[[discord.Interaction[Client], Caller, Draft, int], Awaitable[Modal]]
"""Makes the modal of a draft with this number, not yet filled in, for whoever pressed its button.
Raises Refused.
"""
MoreHandler = Callable[[discord.Interaction[Client], int, int | None], Awaitable[None]]
ActionHandler = Callable[[discord.Interaction[Client], ActionTarget, int], Awaitable[None]]

"""What handlers are given, and the client that carries it to them.

discord.py hands every callback nothing but the client: so the client carries the services, and all
that handles an interaction knows this module, which knows none of them.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import discord

from bot.background import BackgroundTasks
from bot.delivery.audit import Audit
from bot.delivery.tracker import Tracker
from bot.pictures.decoding import PictureDecoder
from bot.requests.actions import ActionTarget
from bot.requests.service import RequestService
from bot.ui.action_buttons import ActionClient
from generation.catalog import Catalog
from generation.worker import Worker
from storage.store import Store


@dataclass(frozen=True)
class Services:
    """Everything that handlers work with."""

    requests: RequestService
    store: Store
    catalog: Catalog
    worker: Worker
    decoder: PictureDecoder
    delivery: Tracker
    audit: Audit
    on_action: "ActionHandler"
    """What happens when somebody presses the button of an action on a job."""


class Client(ActionClient):
    """A Discord client that carries the services."""

    services: Services
    """Set once, before the client connects."""

    def __init__(self, intents: discord.Intents) -> None:
        super().__init__(
            intents=intents,
            allowed_mentions=discord.AllowedMentions.none(),
            # messages are found by id in the database; the client need not remember any
            max_messages=None,
        )
        self.started_at = datetime.now(UTC)
        self.answers = BackgroundTasks()
        """Answers under way: the client does not end before them."""

    async def on_action(
        self, interaction: "discord.Interaction[Client]", target: ActionTarget, job_id: int
    ) -> None:
        """The button of an action was pressed."""
        await self.services.on_action(interaction, target, job_id)


ActionHandler = Callable[[discord.Interaction[Client], ActionTarget, int], Awaitable[None]]

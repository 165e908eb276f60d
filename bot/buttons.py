"""Buttons whose custom_id is all they know, so that they work for ever."""

import re
from typing import TYPE_CHECKING, Any, Self

import discord

from bot.actions import ACTIONS, Action, offered
from bot.answering import answering, origin_of, person_of
from bot.locales import Texts
from generation.job import Job
from generation.refusal import Refused

if TYPE_CHECKING:
    from bot.client import DarkroomClient

TEMPLATE = r"darkroom:(?P<action>[a-z_]+):(?P<job>[0-9]+)"


class ActionButton(discord.ui.DynamicItem[discord.ui.Button[Any]], template=TEMPLATE):
    """The button of one action on one job."""

    def __init__(self, action: Action, job_id: int, label: str) -> None:
        super().__init__(
            discord.ui.Button(
                style=action.style,
                emoji=action.emoji,
                label=label,
                custom_id=f"darkroom:{action.name}:{job_id}",
            )
        )
        self.action = action
        self.job_id = job_id

    @classmethod
    async def from_custom_id(
        cls, _interaction: discord.Interaction[Any], item: Any, match: re.Match[str], /
    ) -> Self:
        """The button that a message from whenever carries."""
        action = ACTIONS.get(match["action"])
        if action is None:
            raise LookupError(f"a button of an action that is gone: {match[0]}")
        return cls(action, int(match["job"]), item.label or "")

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        """Do the action for whoever pressed."""
        client: DarkroomClient = interaction.client
        async with answering(interaction):
            job = await client.desk.jobs.get(self.job_id)
            if job is None:
                raise Refused("job_unknown")
            origin = origin_of(interaction, private=job.origin.private)
            new = await client.desk.act(self.action, job, person_of(interaction), origin)
            if new is not None:
                await interaction.response.defer(thinking=True, ephemeral=origin.private)
                client.delivery.watch(new)
                return
            await interaction.response.defer()
            if self.action.name == "delete":
                await interaction.delete_original_response()


def view(job: Job, texts: Texts) -> discord.ui.View:
    """The buttons of the actions that apply to a job."""
    buttons = discord.ui.View(timeout=None)
    for action in offered(job):
        buttons.add_item(ActionButton(action, job.id, texts(action.label)))
    return buttons

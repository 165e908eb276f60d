"""Buttons whose custom_id is all they know, so that they work for ever."""

from typing import TYPE_CHECKING, Any, Self

import discord

from bot import presses
from bot.actions import ACTIONS, Action, Press, offered
from bot.answering import answering
from bot.locales import Texts
from generation.job import Job
from generation.refusal import Refused

if TYPE_CHECKING:
    import re

    from bot.client import DarkroomClient

TEMPLATE = r"darkroom:(?P<action>[a-z_]+):(?P<job>[0-9]+)(:(?P<index>[0-9]+))?"
ROW = 5
"""Buttons in a row, at most."""


class ActionButton(discord.ui.DynamicItem[discord.ui.Button[Any]], template=TEMPLATE):
    """The button of one action on one job, or on one of its pictures."""

    def __init__(
        self, press: Press, job_id: int, label: str, *, emoji: str = "", row: int | None = None
    ) -> None:
        where = f"{job_id}" if press.index is None else f"{job_id}:{press.index}"
        super().__init__(
            discord.ui.Button(
                style=press.action.style,
                emoji=emoji or press.emoji,
                label=label or None,
                custom_id=f"darkroom:{press.action.name}:{where}",
            ),
            row=row,
        )
        self.press = press
        self.job_id = job_id

    @classmethod
    async def from_custom_id(
        cls, _interaction: discord.Interaction[Any], item: Any, match: "re.Match[str]", /
    ) -> Self:
        """The button that a message from whenever carries."""
        action: Action | None = ACTIONS.get(match["action"])
        if action is None:
            raise LookupError(f"a button of an action that is gone: {match[0]}")
        index = match["index"]
        press = Press(action, None if index is None else int(index))
        return cls(press, int(match["job"]), item.label or "")

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        """Do the action for whoever pressed."""
        client: DarkroomClient = interaction.client
        async with answering(interaction) as visit:
            job = await client.desk.jobs.get(self.job_id)
            if job is None:
                raise Refused("job_unknown")
            await presses.by_button(client, interaction, visit, self.press, job)


def view(job: Job, texts: Texts, index: int | None = None) -> discord.ui.View:
    """The buttons of what applies to a job, or to its picture `index`; picks in rows below."""
    buttons = discord.ui.View(timeout=None)
    found = offered(job, index)
    picks = [press for press in found if press.action.on == "pick"]
    others = [press for press in found if press.action.on != "pick"]
    for group in (others, picks):
        first = -(-len(buttons.children) // ROW)
        for place, press in enumerate(group):
            label = texts(press.action.label) if press.action.label else ""
            buttons.add_item(ActionButton(press, job.id, label, row=first + place // ROW))
    return buttons

"""Buttons whose custom_id is all they know, so that they work for ever."""

from collections.abc import Collection
from typing import Any, Final, Self

import discord

from bot.locales import Texts
from bot.requests.actions import ACTIONS, Accepts, ActionTarget, offered
from bot.ui.persistent_items import PersistentItem, StatelessView
from generation.job import Job

ROW: Final = 5
"""Buttons in a row, at most."""
ROWS: Final = 5
"""Of a message."""


class ActionClient(discord.AutoShardedClient):
    """A client that knows what the buttons of actions do."""

    async def on_action(
        self, interaction: discord.Interaction[Any], target: ActionTarget, job_id: int
    ) -> None:
        """Somebody has pressed the button of an action."""
        raise NotImplementedError


class ActionButton(
    PersistentItem[discord.ui.Button[Any]],
    template=rf"darkroom:(?P<action>{'|'.join(ACTIONS)}):(?P<job>[0-9]{{1,18}})"
    r"(:(?P<index>[0-9]{1,3}))?",
):
    """The button of one action on one job, or on one of its pictures."""

    @classmethod
    def of(
        cls,
        target: ActionTarget,
        job_id: int,
        label: str,
        *,
        emoji: str = "",
        row: int | None = None,
    ) -> Self:
        """A new button; its emoji is the action's unless another is given."""
        where = f"{job_id}" if target.index is None else f"{job_id}:{target.index}"
        danger = target.action.danger
        button: discord.ui.Button[Any] = discord.ui.Button(
            style=discord.ButtonStyle.danger if danger else discord.ButtonStyle.secondary,
            emoji=emoji or target.emoji,
            label=label or None,
            custom_id=f"darkroom:{target.action.name}:{where}",
            row=row,
        )
        return cls(button)

    @property
    def action_name(self) -> str:
        """Of the table of actions. One that is no longer there is nobody's button."""
        return self.fields["action"]

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        """Do the action for whoever pressed."""
        index = self.fields["index"]
        target = ActionTarget(ACTIONS[self.action_name], int(index) if index else None)
        client: ActionClient = interaction.client
        await client.on_action(interaction, target, int(self.fields["job"]))


def view(
    job: Job,
    texts: Texts,
    accepts: Accepts,
    index: int | None = None,
    *,
    rows: int = ROWS,
    without: Collection[str] = (),
) -> discord.ui.View:
    """The buttons of what is offered on a job, or on its picture `index`, but for the actions
    `without`; in rows below where to a picture grows, and picks. Reactions do what there is no room
    for in so many `rows`.
    """
    buttons = StatelessView()
    found = [one for one in offered(job, index, accepts) if one.action.name not in without]
    groups = [
        [target for target in found if target.action.on != "pick" and not target.action.apart],
        [target for target in found if target.action.apart],
        [target for target in found if target.action.on == "pick"],
    ]
    if sum(-(-len(group) // ROW) for group in groups) > rows:
        # what grows goes first: a dialog does that, too
        others, grows, picks = groups
        groups = [[*others, *picks, *grows][: ROW * rows]]
    for group in groups:
        first = -(-len(buttons.children) // ROW)
        for place, target in enumerate(group):
            label = texts(target.action.label) if target.action.label else ""
            buttons.add_item(ActionButton.of(target, job.id, label, row=first + place // ROW))
    return buttons

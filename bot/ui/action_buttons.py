"""Buttons whose custom_id is all they know, so that they work for ever."""

from collections.abc import Collection, Sequence
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

    async def on_more(
        self, interaction: discord.Interaction[Any], job_id: int, index: int | None
    ) -> None:
        """Somebody wants to see the rest of the buttons."""
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


class MoreButton(
    PersistentItem[discord.ui.Button[Any]],
    template=r"darkroom:more:(?P<job>[0-9]{1,18})(:(?P<index>[0-9]{1,3}))?",
):
    """Shows what is rarely pressed of what is offered on a job, or on one of its pictures."""

    @classmethod
    def of(cls, job_id: int, index: int | None, label: str, row: int) -> Self:
        """A new button."""
        where = f"{job_id}" if index is None else f"{job_id}:{index}"
        return cls(discord.ui.Button(label=label, custom_id=f"darkroom:more:{where}", row=row))

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        """Show the rest to whoever pressed."""
        index = self.fields["index"]
        client: ActionClient = interaction.client
        await client.on_more(interaction, int(self.fields["job"]), int(index) if index else None)


def view(
    job: Job,
    texts: Texts,
    accepts: Accepts,
    index: int | None = None,
    *,
    rows: int = ROWS,
    without: Collection[str] = (),
    unfolded: bool = False,
) -> discord.ui.View:
    """The buttons of what is offered on a job, or on its picture `index`, but for the actions
    `without`; in rows below where to a picture grows, and picks.

    Several that are rarely pressed stand behind *More…*, unless they are to be `unfolded` and have
    room in so many `rows`. Reactions do what there is no room for all the same.
    """
    found = [one for one in offered(job, index, accepts) if one.action.name not in without]
    rare = [one for one in found if one.action.rare]
    groups = _groups(found)
    more = len(rare) > 1 and not (unfolded and _rows(groups) <= rows)
    if more:
        groups = _groups([one for one in found if not one.action.rare])
    if _rows(groups, more=more) > rows:
        others, grows, picks = groups
        groups = [[*others, *picks, *grows][: ROW * rows - more]]
    buttons, first = StatelessView(), 0
    behind = _behind(groups) if more else None
    for place, group in enumerate(groups):
        _add(buttons, group, job, texts, first)
        if place == behind:
            row = first + len(group) // ROW
            buttons.add_item(MoreButton.of(job.id, index, texts("button_more"), row))
        first += -(-(len(group) + (place == behind)) // ROW)
    return buttons


def rare_view(
    job: Job, texts: Texts, accepts: Accepts, index: int | None = None
) -> discord.ui.View:
    """The buttons of what is rarely pressed."""
    buttons = StatelessView()
    found = [one for one in offered(job, index, accepts) if one.action.rare]
    _add(buttons, found, job, texts, 0)
    return buttons


def _groups(found: Sequence[ActionTarget]) -> list[list[ActionTarget]]:
    """Buttons that stand in rows of their own."""
    return [
        [target for target in found if target.action.on != "pick" and not target.action.apart],
        [target for target in found if target.action.apart],
        [target for target in found if target.action.on == "pick"],
    ]


def _behind(groups: Sequence[Sequence[ActionTarget]]) -> int:
    """Which group *More…* stands behind: the first whose last row has room, or else the first."""
    found = (place for place, group in enumerate(groups) if len(group) % ROW)
    return next(found, 0)


def _rows(groups: Sequence[Sequence[ActionTarget]], *, more: bool = False) -> int:
    """How many rows they fill, with *More…*"""
    behind = _behind(groups) if more else None
    sizes = [len(group) + (place == behind) for place, group in enumerate(groups)]
    return sum(-(-size // ROW) for size in sizes)


def _add(
    buttons: discord.ui.View,
    group: Sequence[ActionTarget],
    job: Job,
    texts: Texts,
    first: int,
) -> None:
    for place, target in enumerate(group):
        label = texts(target.action.label) if target.action.label else ""
        buttons.add_item(ActionButton.of(target, job.id, label, row=first + place // ROW))

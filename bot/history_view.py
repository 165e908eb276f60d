"""The pages of somebody's history, and one entry of it with all that can be done with it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Self

import discord

from bot import buttons, overviews, presenter, thumbnails
from bot.actions import ACTIONS, Press
from bot.answering import NO_MENTIONS, answering, think
from bot.attachments import Print
from bot.buttons import ActionButton
from bot.locales import Texts
from bot.visits import Visit
from generation.job import Job
from generation.refusal import Refused
from storage.history import Page, Query

if TYPE_CHECKING:
    import re

    from bot.client import DarkroomClient

ENTRIES: Final = 6
"""On a page."""
IN_HISTORY: Final = ("replay", "send", "forget")
"""Actions on one's own entries, beside those on any picture."""


async def page_message(
    client: "DarkroomClient", visit: Visit, query_id: int, *, before: int | None = None,
    after: int | None = None,
) -> dict[str, Any]:  # fmt: skip
    """A page as arguments of a message. Raises Refused where nothing is found."""
    query = await client.desk.store.history.query(query_id, visit.person.id)
    if query is None:
        raise Refused("history_gone")
    page = await client.desk.store.history.page(
        visit.person.id, query, before=before, after=after, limit=ENTRIES
    )
    if not page.jobs:
        raise Refused("history_nothing_found" if query != Query() else "history_empty")
    prints = [await _thumbnail(client, job) for job in page.jobs]
    return {
        "view": _page(page, prints, query_id, visit.texts),
        "files": [shown.file() for shown in prints if shown is not None],
    }


async def _thumbnail(client: "DarkroomClient", job: Job) -> Print | None:
    prints, _ = await client.delivery.prints.of(job)
    if not prints:
        return None
    return await thumbnails.small(prints, f"history-{job.id}.webp")


def _page(
    page: Page, prints: Sequence[Print | None], query_id: int, texts: Texts
) -> discord.ui.LayoutView:
    view = discord.ui.LayoutView(timeout=None)
    for job, shown in zip(page.jobs, prints, strict=True):
        text = discord.ui.TextDisplay[Any](overviews.history_entry(job, texts))
        if shown is None:
            view.add_item(text)
        else:
            thumbnail = discord.ui.Thumbnail[Any](
                f"attachment://{shown.file().filename}", spoiler=shown.spoiler
            )
            view.add_item(discord.ui.Section(text, accessory=thumbnail))
    menu: discord.ui.Select[Any] = discord.ui.Select(
        placeholder=texts("history_choose"),
        options=[
            discord.SelectOption(label=f"#{job.id} {job.request.prompt}"[:100], value=str(job.id))
            for job in page.jobs
        ],
        custom_id="darkroom:entry",
    )
    view.add_item(discord.ui.ActionRow(EntryMenu(menu)))
    row: discord.ui.ActionRow[Any] = discord.ui.ActionRow()
    newest, oldest = page.jobs[0].id, page.jobs[-1].id
    row.add_item(PageButton(query_id, "after", newest, texts("button_newer"), not page.newer))
    row.add_item(PageButton(query_id, "before", oldest, texts("button_older"), not page.older))
    view.add_item(row)
    return view


class PageButton(
    discord.ui.DynamicItem[discord.ui.Button[Any]],
    template=r"darkroom:history:(?P<query>[0-9]+):(?P<side>before|after):(?P<cursor>[0-9]+)",
):
    """Turns a page."""

    def __init__(
        self, query_id: int, side: str, cursor: int, label: str, disabled: bool = False
    ) -> None:
        super().__init__(
            discord.ui.Button(
                label=label,
                emoji="◀️" if side == "after" else "▶️",
                disabled=disabled,
                custom_id=f"darkroom:history:{query_id}:{side}:{cursor}",
            )
        )
        self.query_id = query_id
        self.where = {side: cursor}

    @classmethod
    async def from_custom_id(
        cls, _interaction: discord.Interaction[Any], item: Any, match: "re.Match[str]", /
    ) -> Self:
        """The button of a page from whenever."""
        return cls(int(match["query"]), match["side"], int(match["cursor"]), item.label or "")

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        """Show the page instead of this one."""
        client: DarkroomClient = interaction.client
        async with answering(interaction) as visit:
            await interaction.response.defer()
            shown = await page_message(client, visit, self.query_id, **self.where)
            files = shown.pop("files")
            await interaction.edit_original_response(
                **shown, attachments=files, allowed_mentions=NO_MENTIONS
            )


class EntryMenu(discord.ui.DynamicItem[discord.ui.Select[Any]], template=r"darkroom:entry"):
    """Chooses an entry of a page."""

    def __init__(self, menu: discord.ui.Select[Any]) -> None:
        super().__init__(menu)

    @classmethod
    async def from_custom_id(
        cls, _interaction: discord.Interaction[Any], item: Any, _match: "re.Match[str]", /
    ) -> Self:
        """The menu of a page from whenever."""
        return cls(item)

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        """Show the entry with all that can be done with it."""
        client: DarkroomClient = interaction.client
        async with answering(interaction) as visit:
            job = await client.desk.jobs.get(int(self.item.values[0]))
            if job is None or job.origin.user_id != visit.person.id:
                raise Refused("job_unknown")
            await think(interaction, private=True)
            prints, held_back = await client.delivery.prints.of(job)
            await interaction.followup.send(
                presenter.remarks(held_back, lightened=False, texts=visit.texts),
                embed=presenter.parameters(job, visit.texts),
                files=[shown.file() for shown in prints],
                view=entry_view(job, visit.texts),
                ephemeral=True,
                allowed_mentions=NO_MENTIONS,
            )


def entry_view(job: Job, texts: Texts) -> discord.ui.View:
    """The buttons of an entry: those of its message, but for deleting it, and the history's."""
    view = discord.ui.View(timeout=None)
    for item in buttons.view(job, texts).children:
        if isinstance(item, ActionButton) and item.press.action.name != "delete":
            view.add_item(item)
    for name in IN_HISTORY:
        action = ACTIONS[name]
        view.add_item(ActionButton(Press(action), job.id, texts(action.label), row=4))
    return view

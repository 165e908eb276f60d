"""The pages of somebody's history, and one entry of it with all that can be done with it."""

from collections.abc import Sequence
from typing import Any, Final, Self

import discord
import structlog

from bot.access.caller import Caller
from bot.features.history import entries
from bot.interactions.modal_submit import number_in, part_of
from bot.interactions.responding import Interaction, PageButton, RespondingItem, answer, defer
from bot.locales import Texts
from bot.pictures import thumbnails
from bot.pictures.attachments import Attachment
from bot.requests.actions import ACTIONS, Accepts, ActionTarget
from bot.services import Services
from bot.ui import action_buttons, job_embeds
from bot.ui.action_buttons import ActionButton
from bot.ui.persistent_items import StatelessLayout
from generation.job import Job
from generation.refusal import Refused
from storage.history import Page, Query

log = structlog.get_logger(__name__)

ENTRIES: Final = 6
"""On a page."""
IN_HISTORY: Final = ("replay", "send", "forget")
"""Actions on one's own entries, beside those on any picture."""


async def page_message(
    services: Services, caller: Caller, query_id: int, *, before: int | None = None,
    after: int | None = None,
) -> dict[str, Any]:  # fmt: skip
    """A page as arguments of a message. Raises Refused where nothing is found."""
    query = await services.store.history.query(query_id, caller.person.id)
    if query is None:
        raise Refused("history_gone")
    page = await services.store.history.page(
        caller.person.id, query, before=before, after=after, limit=ENTRIES
    )
    if not page.jobs:
        raise Refused("history_nothing_found" if query != Query() else "history_empty")
    attachments = [await _thumbnail(services, job) for job in page.jobs]
    return {
        "view": _page(page, attachments, query_id, caller.texts),
        "files": [shown.file() for shown in attachments if shown is not None],
    }


async def _thumbnail(services: Services, job: Job) -> Attachment | None:
    shown = await services.delivery.attachments.of(job)
    if not shown.attachments:
        return None
    try:
        return await thumbnails.small(shown.attachments, f"history-{job.id}.webp", services.decoder)
    except Refused as refused:
        log.error("a picture can't be read", job=job.id, error=str(refused))
        return None


def _page(
    page: Page, attachments: Sequence[Attachment | None], query_id: int, texts: Texts
) -> discord.ui.LayoutView:
    view = StatelessLayout()
    for job, shown in zip(page.jobs, attachments, strict=True):
        text = discord.ui.TextDisplay[Any](entries.entry(job, texts))
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
            discord.SelectOption(
                label=f"#{job.id} {job_embeds.subject(job, texts)}"[:100], value=str(job.id)
            )
            for job in page.jobs
        ],
        custom_id="darkroom:entry",
    )
    view.add_item(discord.ui.ActionRow(EntryMenu(menu)))
    row: discord.ui.ActionRow[Any] = discord.ui.ActionRow()
    newest, oldest = page.jobs[0].id, page.jobs[-1].id
    row.add_item(
        HistoryPageButton.of(query_id, "after", newest, texts("button_newer"), not page.newer)
    )
    row.add_item(
        HistoryPageButton.of(query_id, "before", oldest, texts("button_older"), not page.older)
    )
    view.add_item(row)
    return view


class HistoryPageButton(
    PageButton,
    template=r"darkroom:history:(?P<query>[0-9]{1,18}):(?P<side>before|after):(?P<cursor>[0-9]{1,18})",
):
    """Turns a page."""

    @classmethod
    def of(cls, query_id: int, side: str, cursor: int, label: str, disabled: bool) -> Self:
        """A new button to what lies `before` or `after` the job `cursor`."""
        return cls(
            discord.ui.Button(
                label=label,
                emoji="◀️" if side == "after" else "▶️",
                disabled=disabled,
                custom_id=f"darkroom:history:{query_id}:{side}:{cursor}",
            )
        )

    async def page(self, interaction: Interaction, caller: Caller) -> dict[str, Any]:
        """The next page on its side."""
        where = {self.fields["side"]: int(self.fields["cursor"])}
        query_id = int(self.fields["query"])
        return await page_message(interaction.client.services, caller, query_id, **where)


class EntryMenu(RespondingItem[discord.ui.Select[Any]], template=r"darkroom:entry"):
    """Chooses an entry of a page."""

    async def respond(self, interaction: Interaction, caller: Caller) -> None:
        """Show the entry with all that can be done with it."""
        services = interaction.client.services
        job = await services.store.jobs.get(number_in(part_of(self.item.values, 0)))
        if job is None:
            raise Refused("job_unknown")
        await services.requests.check("/history entry", caller, job)
        await defer(interaction, private=True)
        limit = interaction.filesize_limit
        pictures = services.delivery.attachments
        shown = await pictures.within(await pictures.of(job), limit)
        await answer(
            interaction,
            content=shown.remarks(caller.texts),
            embed=job_embeds.parameters(job, caller.texts),
            files=shown.files(),
            view=entry_view(job, caller.texts, services.requests.remaking.accepts),
        )


def entry_view(job: Job, texts: Texts, accepts: Accepts) -> discord.ui.View:
    """The buttons of an entry: those of its message, but for deleting it, and the history's."""
    last = action_buttons.ROWS - 1
    view = action_buttons.view(job, texts, accepts, rows=last, without=("delete",), unfolded=True)
    for name in IN_HISTORY:
        target = ActionTarget(ACTIONS[name])
        if accepts(target, job):
            view.add_item(ActionButton.of(target, job.id, texts(target.action.label), row=last))
    return view

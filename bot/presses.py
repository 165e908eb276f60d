"""What happens when somebody presses a button or reacts: the same actions, answered in each way."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import discord

from bot import buttons, dialogs, presenter
from bot.actions import Press, start_from
from bot.answering import NO_MENTIONS, say, think
from bot.visits import Visit, interaction_of
from generation.job import Job, Origin, PictureRecord
from generation.refusal import Refused

if TYPE_CHECKING:
    from bot.client import DarkroomClient

TEXT_MAX: Final = 1900
"""Characters of a code block that fit in a message; a longer text becomes a file."""

ByButton = Callable[
    ["DarkroomClient", discord.Interaction[Any], Visit, Press, Job], Awaitable[None]
]


async def by_button(
    client: "DarkroomClient",
    interaction: discord.Interaction[Any],
    visit: Visit,
    press: Press,
    job: Job,
) -> None:
    """Do an action for whoever pressed its button. Raises Refused."""
    client.desk.check_press(press, job, visit)
    if press.action.request is not None:
        origin = visit.origin(private=job.origin.private, interaction=interaction_of(interaction))
        client.check_permissions(interaction, visit, private=origin.private)
        await client.acknowledge(interaction, await client.desk.remake(press, job, visit, origin))
        return
    await BUTTONS[press.action.name](client, interaction, visit, press, job)


async def _cancel(
    client: "DarkroomClient",
    interaction: discord.Interaction[Any],
    _visit: Visit,
    _press: Press,
    job: Job,
) -> None:
    await client.desk.cancel(job)
    await interaction.response.defer()


async def _delete(
    _client: "DarkroomClient",
    interaction: discord.Interaction[Any],
    _visit: Visit,
    _press: Press,
    _job: Job,
) -> None:
    await interaction.response.defer()
    await interaction.delete_original_response()


async def _favourite(
    client: "DarkroomClient",
    interaction: discord.Interaction[Any],
    visit: Visit,
    press: Press,
    job: Job,
) -> None:
    on = not await client.desk.is_favourite(visit.person.id, job, press.index)
    await client.desk.set_favourite(visit.person.id, job, press.index, on)
    await say(interaction, visit.texts("favourite_on" if on else "favourite_off"))


async def _parameters(
    client: "DarkroomClient",
    interaction: discord.Interaction[Any],
    visit: Visit,
    press: Press,
    job: Job,
) -> None:
    await think(interaction, private=True)
    text, files = await parameters(client, job, press.index, visit.origin(private=True))
    await interaction.followup.send(text, files=files, ephemeral=True, allowed_mentions=NO_MENTIONS)


async def _edit(
    _client: "DarkroomClient",
    interaction: discord.Interaction[Any],
    visit: Visit,
    press: Press,
    job: Job,
) -> None:
    await interaction.response.send_modal(dialogs.edit(job, press.index, visit.texts))


async def _start(
    client: "DarkroomClient",
    interaction: discord.Interaction[Any],
    visit: Visit,
    press: Press,
    job: Job,
) -> None:
    request = start_from(client.desk.source(job, press.index))
    await interaction.response.send_modal(
        dialogs.start(job, press.index or 0, request, visit.texts)
    )


async def _pick(
    client: "DarkroomClient",
    interaction: discord.Interaction[Any],
    visit: Visit,
    press: Press,
    job: Job,
) -> None:
    await think(interaction, private=job.origin.private)
    shown = await picked(client, job, press.index or 0, visit)
    sent = await interaction.followup.send(**shown, wait=True)
    await client.desk.jobs.add_message(
        sent.id, sent.channel.id, job.id, "picture", position=press.index
    )
    if not job.origin.private:
        client.delivery.invite(job, sent.channel.id, sent.id, press.index)


async def _replay(
    client: "DarkroomClient",
    interaction: discord.Interaction[Any],
    visit: Visit,
    _press: Press,
    job: Job,
) -> None:
    origin = visit.origin(private=True, interaction=interaction_of(interaction))
    await client.acknowledge(interaction, await client.desk.replay(job, visit, origin))


async def _send(
    client: "DarkroomClient",
    interaction: discord.Interaction[Any],
    visit: Visit,
    _press: Press,
    job: Job,
) -> None:
    """Post an entry of one's own history where one is, for all to see."""
    client.desk.check_place(visit)
    client.desk.check_words(job.request, visit)
    client.check_permissions(interaction, visit, private=False)
    await think(interaction, private=False)
    prints, held_back = await client.delivery.prints.of(job, visit.origin(private=False))
    sent = await interaction.followup.send(
        presenter.remarks(held_back, lightened=False, texts=visit.texts),
        embed=presenter.parameters(job, visit.texts),
        files=[shown.file() for shown in prints],
        view=buttons.view(job, visit.texts),
        allowed_mentions=NO_MENTIONS,
        wait=True,
    )
    await client.desk.jobs.add_message(sent.id, sent.channel.id, job.id, "sent")
    client.delivery.invite(job, sent.channel.id, sent.id)


async def _forget(
    client: "DarkroomClient",
    interaction: discord.Interaction[Any],
    visit: Visit,
    _press: Press,
    job: Job,
) -> None:
    """Delete an entry of one's own history for good."""
    await client.desk.forget_job(job)
    await say(interaction, visit.texts("history_forgotten", job=job.id))


BUTTONS: Final[Mapping[str, ByButton]] = {
    "cancel": _cancel,
    "delete": _delete,
    "favourite": _favourite,
    "parameters": _parameters,
    "edit": _edit,
    "start": _start,
    "pick": _pick,
    "replay": _replay,
    "send": _send,
    "forget": _forget,
}


async def by_reaction(
    client: "DarkroomClient",
    payload: discord.RawReactionActionEvent,
    visit: Visit,
    press: Press,
    job: Job,
) -> None:
    """Do an action for whoever reacted; answers that only they may see go to them directly."""
    client.desk.check_press(press, job, visit)
    messageable = client.get_partial_messageable(payload.channel_id, guild_id=payload.guild_id)
    message = messageable.get_partial_message(payload.message_id)
    match press.action.name:
        case "cancel":
            await client.desk.cancel(job)
        case "delete":
            await message.delete()
        case "favourite":
            await client.desk.set_favourite(visit.person.id, job, press.index, True)
        case "parameters":
            text, files = await parameters(client, job, press.index, visit.origin(private=True))
            user = await client.fetch_user(payload.user_id)
            await user.send(text, files=files, allowed_mentions=NO_MENTIONS)
        case "pick":
            shown = await picked(client, job, press.index or 0, visit)
            reference = message.to_reference(fail_if_not_exists=False)
            sent = await messageable.send(**shown, reference=reference)
            await client.desk.jobs.add_message(
                sent.id, sent.channel.id, job.id, "picture", position=press.index
            )
            client.delivery.invite(job, sent.channel.id, sent.id, press.index)
        case "edit" | "start":
            view = discord.ui.View(timeout=None)
            view.add_item(buttons.ActionButton(press, job.id, visit.texts(press.action.label)))
            hint = await messageable.send(
                visit.texts("press_to_go_on"),
                view=view,
                reference=message.to_reference(fail_if_not_exists=False),
                allowed_mentions=NO_MENTIONS,
            )
            client.delivery.hint(hint)
        case _:
            new = await client.desk.remake(press, job, visit, visit.origin(private=False))
            client.delivery.watch(new, reply_to=payload.message_id)


async def parameters(
    client: "DarkroomClient", job: Job, index: int | None, where: Origin
) -> tuple[str, list[discord.File]]:
    """The infotext, and the PNGs that carry it, of a job or of one picture."""
    pictures = [p for p in job.pictures if index is None or p.index == index]
    if not pictures:
        raise Refused("picture_gone")
    text = presenter.infotext(job, pictures[0])
    prints = [(await client.delivery.prints.one(job, picture, where))[0] for picture in pictures]
    files = [shown.file() for shown in prints]
    if len(text) > TEXT_MAX:
        return "", [presenter.text_file(text, f"darkroom-{job.id}.txt"), *files[:9]]
    return f"```\n{text.replace('```', 'ˋˋˋ')}\n```", files


async def picked(client: "DarkroomClient", job: Job, index: int, visit: Visit) -> dict[str, Any]:
    """The message of one picture among several, with what can be done with it."""
    texts, picture = visit.texts, _picture(job, index)
    where = visit.origin(private=job.origin.private)
    shown, lightened = await client.delivery.prints.one(job, picture, where)
    return {
        "content": presenter.remarks(0, lightened=lightened, texts=texts),
        "embed": presenter.picture(job, picture, texts),
        "file": shown.file(),
        "view": buttons.view(job, texts, index),
        "allowed_mentions": NO_MENTIONS,
    }


def _picture(job: Job, index: int) -> PictureRecord:
    for picture in job.pictures:
        if picture.index == index:
            return picture
    raise Refused("picture_gone")

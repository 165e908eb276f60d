"""*Blend with…* on any message: its picture and others become one."""

import re
from collections.abc import Mapping
from typing import Any, Final

import discord
import msgspec
from discord import app_commands
from discord.app_commands import locale_str

from bot.access.caller import Caller
from bot.features.blend.asking import SHARE, Blended, Drawn, Wanted, ask, drawn_by_number, which_of
from bot.interactions.contexts import message_menu
from bot.interactions.modal_submit import (
    SubmitHandler,
    Values,
    number_in,
    part_of,
    text_of,
)
from bot.interactions.responding import Interaction, check_can_post, responding
from bot.interactions.shown_jobs import shown_by
from bot.interactions.sight import at_menu_modal, at_message
from bot.interactions.uploaded_files import uploaded_files
from bot.locales import Texts
from bot.services import Reopener, Services
from bot.ui.modal import Modal
from generation import blending
from generation.job import Job
from generation.refusal import Refused
from generation.request_fields import check_text
from generation.request_options import exact
from storage.drafts import Draft

NAME: Final = "blend_with"
OF_JOB: Final = "/blend job"
OTHERS_MAX: Final = blending.MOST - 1
_NUMBER: Final = re.compile(r"#?(\d{1,18})(?:[:.](\d{1,2}))?")
_LINK: Final = re.compile(
    r"<?https?://(?:\w+\.)?discord(?:app)?\.com/channels/(?:@me|\d{1,20})/\d{1,20}/(\d{1,20})>?"
)


class Begun(msgspec.Struct, frozen=True):
    """The pictures of the message that a menu was used on: of a request, or attached by anybody."""

    job: int | None = None
    pictures: tuple[int, ...] = ()
    """Which of that request's it shows, from 0."""
    message: tuple[int, int] | None = None
    """Its channel and itself, where others read it."""
    attachments: tuple[dict[str, Any], ...] = ()

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.pictures) or len(self.attachments)


def menu(services: Services) -> app_commands.ContextMenu:
    """The context menu of messages."""

    async def blend_with(interaction: Interaction, message: discord.Message) -> None:
        async with responding(interaction) as caller:
            check_can_post(interaction, caller, private=caller.own.private)
            await services.requests.shares.check_asking(caller)
            begun = await _of_message(services, interaction, caller, message)
            about = msgspec.json.encode(begun).decode()
            kept = Draft(name=NAME, about=about)
            number = await services.store.drafts.keep(caller.person.id, kept)
            await interaction.response.send_modal(_modal(number, begun, caller.texts))

    return message_menu(locale_str("Blend with…", key="menu_blend"), blend_with)


async def _of_message(
    services: Services, interaction: Interaction, caller: Caller, message: discord.Message
) -> Begun:
    ours = message.author == interaction.client.user
    shown = await shown_by(services, message.id, ours=ours)
    where = None if message.flags.ephemeral else (message.channel.id, message.id)
    if shown is None:
        found = tuple(
            dict(one.to_dict())
            for one in message.attachments
            if (one.content_type or "").startswith("image/")
        )
        if not found:
            raise Refused("message_without_picture")
        return Begun(attachments=found)
    job, index = shown
    there = at_message(caller, ephemeral=message.flags.ephemeral)
    await services.requests.check(OF_JOB, caller, job, there)
    pictures = tuple(picture.index for picture in job.pictures)
    if not pictures:
        raise Refused("own_picture_gone", job=job.id)
    return Begun(job.id, pictures if index is None else (index,), where)


def _modal(number: int, begun: Begun, texts: Texts) -> Modal:
    modal = Modal(f"darkroom:{NAME}:{number}", texts("dialog_blend"))
    if begun.count > 1:
        shown = {str(place): str(place + 1) for place in range(begun.count)}
        label, most = texts("dialog_blend_which"), min(blending.MOST, begun.count)
        modal.options("pictures", label, shown, "0", most=most)
    about = texts("blend_more_about")
    modal.file("more", texts("dialog_blend_more"), about, required=False, most=OTHERS_MAX)
    modal.text("others", texts("dialog_blend_others"), placeholder=texts("blend_others_example"))
    modal.text("share", texts("dialog_blend_share"), placeholder=exact(blending.EVEN))
    return modal.text("prompt", texts("dialog_blend_prompt"), long=True)


async def _on_submit(
    services: Services,
    interaction: Interaction,
    caller: Caller,
    where: list[str],
    values: Values,
) -> None:
    begun = await _begun(services, caller, where)
    chosen = values.get("pictures")
    places = [number_in(str(one)) for one in chosen] if isinstance(chosen, list) else [0]
    job = await _job(services, interaction, caller, begun)
    sources = [_source(interaction, begun, job, place) for place in places]
    sources += await _others(services, interaction, caller, text_of(values, "others"))
    sources += uploaded_files(interaction, values, "more")
    prompt = text_of(values, "prompt")
    check_text("prompt", prompt)
    share = text_of(values, "share")
    said = float(SHARE.take(share)) if share else None
    wanted = Wanted(sources, said, prompt, caller.own.private)
    await ask(services, interaction, caller, wanted)


async def _begun(services: Services, caller: Caller, where: list[str]) -> Begun:
    draft = await services.store.drafts.get(caller.person.id, number_in(part_of(where, 0)))
    try:
        if draft is not None and draft.name == NAME:
            return msgspec.json.decode(draft.about, type=Begun)
    except msgspec.MsgspecError:
        pass
    raise Refused("press_gone")


async def _job(
    services: Services, interaction: Interaction, caller: Caller, begun: Begun
) -> Job | None:
    """The request whose picture is blended. Raises Refused for whoever may not."""
    if begun.job is None:
        return None
    job = await services.store.jobs.get(begun.job)
    if job is None:
        raise Refused("job_unknown")
    there = await at_menu_modal(interaction, caller, job, begun.message)
    await services.requests.check(OF_JOB, caller, job, there)
    return job


def _source(interaction: Interaction, begun: Begun, job: Job | None, place: int) -> Blended:
    if not 0 <= place < begun.count:
        raise Refused("press_gone")
    if job is not None:
        return which_of(job, begun.pictures[place] + 1)
    about: Any = begun.attachments[place]
    return discord.Attachment(data=about, state=interaction.client._connection)


async def _others(
    services: Services, interaction: Interaction, caller: Caller, text: str
) -> list[Blended]:
    """Pictures that were drawn here, by the numbers under them (`12`, `12:2`) or by links to the
    messages that show them. Raises Refused.
    """
    found: list[Blended] = []
    for word in text.replace(",", " ").split():
        number, link = _NUMBER.fullmatch(word), _LINK.fullmatch(word)
        if number is not None:
            which = int(number[2]) if number[2] else None
            job_number = int(number[1])
            found.append(await drawn_by_number(services, interaction, caller, job_number, which))
        elif link is not None:
            found.append(await _linked(services, interaction, caller, int(link[1])))
        else:
            raise Refused("blend_other", text=word[:80])
    return found


async def _linked(
    services: Services, interaction: Interaction, caller: Caller, message: int
) -> Drawn:
    shown = await services.store.jobs.shown_by(message)
    if shown is None:
        raise Refused("blend_linked")
    job, index = shown
    which = None if index is None else index + 1
    # whoever names a message need not have seen it
    return await drawn_by_number(services, interaction, caller, job.id, which)


async def _reopen(interaction: Interaction, caller: Caller, draft: Draft, _number: int) -> Modal:
    where = list(draft.where)
    begun = await _begun(interaction.client.services, caller, where)
    return _modal(number_in(part_of(where, 0)), begun, caller.texts)


ON_SUBMIT: Final[Mapping[str, SubmitHandler]] = {NAME: _on_submit}
REOPEN: Final[Mapping[str, Reopener]] = {NAME: _reopen}

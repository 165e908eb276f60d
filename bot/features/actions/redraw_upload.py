"""*Draw a part anew…* of a picture that was not drawn here: the modal of a message's menu."""

from collections.abc import Mapping
from typing import Any, Final

import discord
import msgspec

from bot.access.caller import Caller
from bot.features.actions import redraw_fields
from bot.features.actions.redraw_fields import MASK, GivenMask
from bot.interactions.asking import ask_parsed, merged
from bot.interactions.drafts import typing
from bot.interactions.modal_submit import SubmitHandler, Values, prompt_of, typed_in
from bot.interactions.responding import Interaction, check_can_post, defer
from bot.pictures.uploads import read_attachment
from bot.services import Reopener, Services
from bot.ui.modal import Modal
from generation import prompt_flags
from generation.picture_files import size_of
from generation.prompt_flags import Parsed
from generation.refusal import Refused
from generation.sizes import ASPECT_MAX
from storage.drafts import Draft

NAME: Final = "redraw_upload"
PICTURE: Final = "init_picture"
SIZED: Final = frozenset(("aspect", "width", "height"))


async def open_modal(
    services: Services, interaction: Interaction, caller: Caller, attachment: discord.Attachment
) -> None:
    """Ask what of a picture is drawn anew; it is fetched once that is known. Raises Refused."""
    check_can_post(interaction, caller, private=caller.own.private)
    await services.requests.shares.check_asking(caller)
    about = msgspec.json.encode(attachment.to_dict()).decode()
    draft = Draft(name=NAME, about=about)
    number = await services.store.drafts.keep(caller.person.id, draft)
    await interaction.response.send_modal(_modal(number, draft, caller))


def _modal(number: int, draft: Draft, caller: Caller) -> Modal:
    title = caller.texts("dialog_redraw_upload")
    masked = MASK in draft.uploads
    where = f"darkroom:{NAME}:{number}"
    return redraw_fields.modal_of(where, title, "", 1.0, caller.texts, masked=masked)


async def _on_submit(
    services: Services, interaction: Interaction, caller: Caller, where: list[str], values: Values
) -> None:
    before = await redraw_fields.draft_in(services, caller, where, 0)
    if before is None or before.name != NAME:
        raise Refused("press_gone")
    draft = msgspec.structs.replace(before, values=typed_in(values))
    given_mask = GivenMask(services, interaction, values, draft)
    typing(interaction, given_mask.draft)
    redraw_fields.check_masked(values, given_mask)
    fields, parsed = redraw_fields.given_in(values), prompt_flags.parse(prompt_of(values))
    pictures = [PICTURE, *([MASK] if given_mask.there else [])]
    asked, private, preset = merged(parsed, fields, caller, pictures)
    check_can_post(interaction, caller, private=private)
    await services.requests.shares.check_asking(caller)
    await services.requests.check_given(asked, pictures, caller, preset)
    # fetching may take longer than the three seconds that Discord waits
    await defer(interaction, private=private)
    fields[PICTURE] = draft.uploads.get(PICTURE) or await _fetched(services, interaction, draft)
    given_mask.kept_beside[PICTURE] = fields[PICTURE]
    mask = await given_mask.read()
    fields |= {MASK: mask} if mask else {}
    fields |= await _shape(services, parsed, fields[PICTURE])
    await ask_parsed(interaction, caller, parsed, fields)


async def _fetched(services: Services, interaction: Interaction, draft: Draft) -> str:
    """The picture's hash in the store. Raises Refused for what is none, moves or is gone."""
    about: Any = msgspec.json.decode(draft.about)
    attachment = discord.Attachment(data=about, state=interaction.client._connection)
    limits, person = services.requests.rules.limits, interaction.user.id
    [content] = await read_attachment(attachment, person, services.decoder, limits)
    return await services.store.jobs.keep_upload(content)


async def _shape(services: Services, parsed: Parsed, picture: str) -> dict[str, str]:
    """That of the picture, where nobody says another: what is drawn whole is cut to its size."""
    width, height = size_of(await services.store.jobs.read_upload(picture))
    told = {*parsed.given, *parsed.pasted} & SIZED
    if told or max(width, height) > ASPECT_MAX * min(width, height):
        return {}
    return {"aspect": f"{width}:{height}"}


async def _reopen(_interaction: Interaction, caller: Caller, draft: Draft, number: int) -> Modal:
    return _modal(number, draft, caller)


ON_SUBMIT: Final[Mapping[str, SubmitHandler]] = {NAME: _on_submit}
REOPEN: Final[Mapping[str, Reopener]] = {NAME: _reopen}

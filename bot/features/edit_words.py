"""Editing by words: *Edit with words…* on any message, and `/edit`."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import discord
from discord import app_commands
from discord.app_commands import Choice, Range, locale_str

from bot.access.caller import Caller
from bot.interactions.asking import merged, origin_of
from bot.interactions.autocomplete import choices
from bot.interactions.contexts import Command, message_menu, slash_command
from bot.interactions.drafts import typing
from bot.interactions.edit_modal import edit_modal, modal_of, of_message
from bot.interactions.edited_pictures import DRAFT, EditedPictures, offered_in, picture_of
from bot.interactions.modal_submit import (
    SubmitHandler,
    Values,
    number_in,
    part_of,
    prompt_of,
    text_of,
)
from bot.interactions.responding import (
    Interaction,
    acknowledge,
    check_can_post,
    defer,
    responding,
)
from bot.interactions.shown_jobs import shown_by
from bot.interactions.sight import at_menu_modal, at_message, job_by_number
from bot.interactions.uploaded_files import uploaded_files
from bot.requests.edits import PLACES, Offered, of_job
from bot.services import Reopener, Services
from bot.ui.modal import Modal
from generation import edit_models, prompt_flags
from generation.job import Job
from generation.refusal import Refused
from generation.request_options import options
from storage.drafts import Draft

MODELS_SECONDS: Final = 1.0
"""So long a modal waits for the first look at the models."""
PICTURES_MAX: Final = 10
"""Of one request."""
NOTHING: Final = Offered((), ())


def menu(services: Services) -> app_commands.ContextMenu:
    """The context menu of messages."""

    async def edit_with_words(interaction: Interaction, message: discord.Message) -> None:
        async with responding(interaction) as caller:
            await services.requests.shares.check_asking(caller)
            await services.catalog.ready(MODELS_SECONDS)
            edit_models.check_any(services.catalog, services.requests.rules)
            offered = await _of_message(services, interaction, caller, message)
            await interaction.response.send_modal(await edit_modal(services, caller, offered))

    return message_menu(locale_str("Edit with words…", key="menu_edit_words"), edit_with_words)


async def _of_message(
    services: Services, interaction: Interaction, caller: Caller, message: discord.Message
) -> Offered:
    """The pictures of a message: those of the request that it shows, or else what is attached."""
    ours = message.author == interaction.client.user
    shown = await shown_by(services, message.id, ours=ours)
    published = not message.flags.ephemeral
    if shown is None:
        return of_message(message, services, published=published)
    job, index = shown
    there = at_message(caller, ephemeral=message.flags.ephemeral)
    await services.requests.check("edit_words", caller, job, there)
    where = (message.channel.id, message.id) if published else None
    return of_job(job, index, where)


def command(services: Services) -> Command:
    """The command."""

    async def edit(
        interaction: Interaction,
        prompt: str,
        picture: discord.Attachment | None = None,
        second_picture: discord.Attachment | None = None,
        third_picture: discord.Attachment | None = None,
        fourth_picture: discord.Attachment | None = None,
        job: int | None = None,
        number: Range[int, 1, PICTURES_MAX] | None = None,
        model: str | None = None,
        image_guidance: Range[float, 0, 30] | None = None,
        private: bool | None = None,
    ) -> None:
        uploads = (picture, second_picture, third_picture, fourth_picture)
        more = tuple(picture_of(one) for one in uploads if one is not None)
        values: dict[str, str | list[str]] = {"prompt": prompt}
        values |= {"model": [model]} if model else {}
        values |= {} if image_guidance is None else {"image_guidance": str(image_guidance)}
        given = {"prompt": prompt, "model": model, "image_guidance": image_guidance}
        given["private"] = private
        with_uploads = Offered(more, tuple(range(len(more))))
        pictures = EditedPictures(services, interaction, with_uploads, values)
        typing(interaction, pictures.draft)
        async with responding(interaction) as caller:
            edit_models.check_any(services.catalog, services.requests.rules)
            found = None
            if job is not None:
                found = await job_by_number(services, interaction, caller, "/edit job", job)
                if number is None and len(found.pictures) > 1:
                    raise Refused("which_number", job=job, high=len(found.pictures))
                drawn = of_job(found, (number or 1) - 1)
                pictures.offered = drawn.with_more(more)
            asked = {name: value for name, value in given.items() if value is not None}
            await _ask(services, interaction, caller, asked, pictures, found)

    async def names(_: Interaction, typed: str) -> list[Choice[str]]:
        found = edit_models.models_here(services.catalog, services.requests.rules)
        return choices([model.name for model in found], typed)

    described = app_commands.describe(
        prompt=locale_str("what to change, such as: make it night", key="option_edit_prompt_help"),
        picture=locale_str("a picture of your own", key="option_upscale_picture_help"),
        second_picture=locale_str(
            "another picture, for a model that is shown several", key="option_second_picture_help"
        ),
        third_picture=locale_str(
            "a third picture, for a model that is shown several", key="option_third_picture_help"
        ),
        fourth_picture=locale_str(
            "a fourth picture, for a model that is shown several", key="option_fourth_picture_help"
        ),
        job=locale_str(
            "or the number under a picture that was drawn here", key="option_upscale_job_help"
        ),
        number=locale_str("which of its pictures", key="option_upscale_number_help"),
        model=locale_str("what edits it", key="option_edit_model_help"),
        image_guidance=locale_str(
            "how closely an edit by InstructPix2Pix keeps to the picture (image CFG scale)",
            key="option_image_guidance_help",
        ),
        private=locale_str("answer so that only you see it", key="option_private_help"),
    )
    completed = app_commands.autocomplete(model=names)
    return slash_command("edit", "Change pictures by words", completed(described(edit)))


async def _ask(
    services: Services,
    interaction: Interaction,
    caller: Caller,
    given: Mapping[str, Any],
    pictures: EditedPictures,
    came_of: Job | None,
) -> None:
    """Ask for an edit, once its pictures are here. Raises Refused."""
    requests = services.requests
    parsed = prompt_flags.parse(str(given["prompt"]))
    given, private, preset = merged(parsed, given, caller)
    if came_of is not None:
        private |= came_of.origin.private
    check_can_post(interaction, caller, private=private)
    await requests.shares.check_asking(caller)
    pictures.offered.check()
    count = len(pictures.offered.chosen)
    named = str(given["model"]) if given.get("model") else None
    model = edit_models.chosen(named, count, services.catalog, requests.rules)
    given["model"] = model.name
    pictures.check()
    await requests.check_given(given, PLACES[:count], caller, preset, usual=False)
    # fetching may take longer than the three seconds that Discord waits
    await defer(interaction, private=private)
    given |= await pictures.read()
    origin = origin_of(interaction, caller, parsed, given, private=private)
    index = pictures.offered.index
    job = await requests.edit(given, caller, origin, preset, came_of, index)
    await acknowledge(interaction, job)


async def _on_submit(
    services: Services,
    interaction: Interaction,
    caller: Caller,
    where: list[str],
    values: Values,
) -> None:
    draft = await services.store.drafts.get(caller.person.id, number_in(part_of(where, 0)))
    if draft is None:
        raise Refused("press_gone")
    offered = offered_in(draft)
    places = [number_in(str(place)) for place in _listed(values, "pictures")]
    uploads = uploaded_files(interaction, values, "more")
    typed = {name: values[name] for name in ("prompt", "model", "image_guidance") if name in values}
    pictures = EditedPictures(services, interaction, offered, typed)
    typing(interaction, pictures.draft)
    chosen = offered.choosing(tuple(places) or offered.chosen)
    pictures.offered = chosen.with_more(tuple(map(picture_of, uploads)))
    edit_models.check_any(services.catalog, services.requests.rules)
    came_of = await _came_of(services, interaction, caller, offered)
    given: dict[str, Any] = {"prompt": prompt_of(values)}
    for model in _listed(values, "model")[:1]:
        given["model"] = str(model)
    if text_of(values, "image_guidance"):
        option = options()["image_guidance"]
        given["image_guidance"] = option.take(text_of(values, "image_guidance"))
    await _ask(services, interaction, caller, given, pictures, came_of)


def _listed(values: Values, name: str) -> Sequence[object]:
    """What was chosen in a menu."""
    chosen = values.get(name)
    return chosen if isinstance(chosen, list) else ()


async def _came_of(
    services: Services, interaction: Interaction, caller: Caller, offered: Offered
) -> Job | None:
    """The request whose pictures are edited; None where they are anybody's. Raises Refused for
    whoever may not.
    """
    if offered.job is None:
        return None
    job = await services.store.jobs.get(offered.job)
    if job is None:
        raise Refused("job_unknown")
    there = await at_menu_modal(interaction, caller, job, offered.message)
    await services.requests.check("edit_words", caller, job, there)
    return job


async def _reopen(interaction: Interaction, caller: Caller, draft: Draft, number: int) -> Modal:
    services = interaction.client.services
    models = edit_models.check_any(services.catalog, services.requests.rules)
    return modal_of(number, offered_in(draft), models, caller.texts)


ON_SUBMIT: Final[Mapping[str, SubmitHandler]] = {DRAFT: _on_submit}
REOPEN: Final[Mapping[str, Reopener]] = {DRAFT: _reopen}

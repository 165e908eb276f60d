"""`/blend`: two to four pictures become one, as in Midjourney."""

from collections.abc import Sequence
from typing import Final

import discord
from discord import app_commands
from discord.app_commands import Range, locale_str

from bot.access.caller import Caller
from bot.interactions.callers import token_of
from bot.interactions.contexts import Command, slash_command
from bot.interactions.kept_pictures import keep
from bot.interactions.responding import (
    Interaction,
    acknowledge,
    check_can_post,
    defer,
    responding,
)
from bot.interactions.sight import job_by_number
from bot.services import Services
from generation import blending
from generation.blending import DrawnHere
from generation.job import Job
from generation.refusal import Refused
from generation.rules import default_model

PICTURES_MAX: Final = 10
"""Of one request."""
WhichPicture = Range[int, 1, PICTURES_MAX]


def command(services: Services) -> Command:
    """The command."""

    async def blend(
        interaction: Interaction,
        picture_1: discord.Attachment | None = None,
        picture_2: discord.Attachment | None = None,
        picture_3: discord.Attachment | None = None,
        picture_4: discord.Attachment | None = None,
        job_1: int | None = None,
        number_1: WhichPicture | None = None,
        job_2: int | None = None,
        number_2: WhichPicture | None = None,
        share: Range[float, 0, 1] | None = None,
        prompt: str | None = None,
        private: bool | None = None,
    ) -> None:
        async with responding(interaction) as caller:
            hidden = caller.own.private if private is None else private
            given = [one for one in (picture_1, picture_2, picture_3, picture_4) if one is not None]
            jobs = [(j, n) for j, n in ((job_1, number_1), (job_2, number_2)) if j is not None]
            if len(given) + len(jobs) < 2 or (len(given) + len(jobs) > 2 and share is not None):
                raise Refused("blend_two" if share is None else "blend_share")
            check_can_post(interaction, caller, private=hidden)
            await services.requests.check_asking(caller)
            drawn = [await _drawn(services, interaction, caller, *which) for which in jobs]
            await _blend(
                services,
                interaction,
                caller,
                given,
                drawn,
                blending.EVEN if share is None else share,
                (prompt or "").strip(),
                hidden,
            )

    described = app_commands.describe(
        **{
            f"picture_{n}": locale_str("a picture to blend", key="option_blend_picture_help")
            for n in (1, 2, 3, 4)
        },
        **{
            f"job_{n}": locale_str(
                "or the number under a picture that was drawn here", key="option_blend_job_help"
            )
            for n in (1, 2)
        },
        **{
            f"number_{n}": locale_str("which of its pictures", key="option_upscale_number_help")
            for n in (1, 2)
        },
        share=locale_str("how much of the second of two; 0.5 is even", key="option_share_help"),
        prompt=locale_str("what the picture shows", key="option_prompt_help"),
        private=locale_str("answer so that only you see it", key="option_private_help"),
    )
    return slash_command("blend", "Blend pictures into one", described(blend))


async def _drawn(
    services: Services, interaction: Interaction, caller: Caller, number: int, which: int | None
) -> tuple[Job, int]:
    """A request by its number, and which of its pictures. Raises Refused."""
    job = await job_by_number(services, interaction, caller, "/blend job", number)
    if not job.pictures:
        raise Refused("own_picture_gone", job=number)
    if which is None and len(job.pictures) > 1:
        raise Refused("which_number", job=number, high=len(job.pictures))
    index = (which or 1) - 1
    if all(picture.index != index for picture in job.pictures):
        raise Refused("which_number", job=number, high=len(job.pictures))
    return job, index


async def _blend(
    services: Services,
    interaction: Interaction,
    caller: Caller,
    given: Sequence[discord.Attachment],
    drawn: Sequence[tuple[Job, int]],
    share: float,
    prompt: str,
    private: bool,
) -> None:
    catalog, requests = services.catalog, services.requests
    name = drawn[0][0].request.model if drawn and drawn[0][0].request.model else ""
    model = blending.model_of(catalog, name or default_model(catalog, requests.rules))
    count = len(given) + len(drawn)
    shares = [1 - share, share] if count == 2 else [1.0] * count
    known = [_drawn_here(job, index) for job, index in drawn]
    try:
        # before pictures are fetched for it
        blending.of_pictures(["0" * 64] * count, prompt, shares, catalog, model)
    except Refused:
        if given or len(known) != 2:
            raise
        one, other = known
        request = blending.of_drawn(one, other, share, prompt)
        origin = caller.origin(private=private, interaction=token_of(interaction))
        job, index = drawn[0]
        await acknowledge(interaction, await requests.blend(request, caller, origin, job, index))
        return
    if given:
        await defer(interaction, private=private)
    pictures = [one.file for one in known]
    pictures += [await keep(services, caller, attachment) for attachment in given]
    asked = blending.of_pictures(pictures, prompt, shares, catalog, model)
    origin = caller.origin(private=private, interaction=token_of(interaction))
    await acknowledge(interaction, await requests.ask(asked, caller, origin, None))


def _drawn_here(job: Job, index: int) -> DrawnHere:
    picture = next(one for one in job.pictures if one.index == index)
    return DrawnHere(job.request, picture.seed, picture.variation_seed, picture.file)

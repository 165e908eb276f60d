"""`/upscale`: a picture made larger, one that was drawn here or any other."""

from typing import Final

import discord
from discord import app_commands
from discord.app_commands import Choice, Range, locale_str

from bot.access.caller import Caller
from bot.interactions.autocomplete import choices
from bot.interactions.callers import token_of
from bot.interactions.contexts import Command, slash_command
from bot.interactions.drafts import typing
from bot.interactions.enlarging import enlarge_attachment
from bot.interactions.responding import Interaction, acknowledge, check_can_post, responding
from bot.interactions.sight import job_by_number
from bot.requests.actions import ACTIONS, ActionTarget
from bot.services import Services
from generation import enlarging
from generation.enlarging import FACTOR_MAX, LEAST, Wish
from generation.refusal import Refused

PICTURES_MAX: Final = 10
"""Of one request."""


def command(services: Services) -> Command:
    """The command."""

    async def upscale(
        interaction: Interaction,
        picture: discord.Attachment | None = None,
        job: int | None = None,
        number: Range[int, 1, PICTURES_MAX] | None = None,
        factor: Range[float, LEAST, FACTOR_MAX] | None = None,
        upscaler: str | None = None,
        second_pass: Range[float, 0, 1] | None = None,
        faces: bool | None = None,
        cutout: bool | None = None,
        private: bool | None = None,
    ) -> None:
        async with responding(interaction) as caller:
            name = enlarging.find(upscaler, services.catalog) if upscaler else None
            wish = Wish(
                upscaler=name,
                factor=factor,
                second_pass=second_pass,
                faces="all" if faces else "none",
                cutout=bool(cutout),
            )
            if (picture is None) == (job is None):
                raise Refused("picture_or_job")
            if picture is not None:
                await enlarge_attachment(
                    services, interaction, caller, picture, wish, private=private
                )
            elif job is not None:
                await _of_job(services, interaction, caller, (job, number), wish, private)

    async def upscalers(_: Interaction, typed: str) -> list[Choice[str]]:
        names = [*(file.name for file in services.catalog.upscalers), *enlarging.PLAIN]
        return choices(names, typed)

    described = app_commands.describe(
        picture=locale_str("a picture of your own", key="option_upscale_picture_help"),
        job=locale_str(
            "or the number under a picture that was drawn here",
            key="option_upscale_job_help",
        ),
        number=locale_str("which of its pictures", key="option_upscale_number_help"),
        factor=locale_str("how many times larger", key="option_factor_help"),
        upscaler=locale_str("what enlarges it", key="option_upscaler_help"),
        second_pass=locale_str(
            "how strongly its model draws over it once more; 0 not at all",
            key="option_second_pass_help",
        ),
        faces=locale_str("restore its faces, too", key="option_upscale_faces_help"),
        cutout=locale_str("make its background transparent, too", key="option_upscale_cutout_help"),
        private=locale_str("answer so that only you see it", key="option_private_help"),
    )
    completed = app_commands.autocomplete(upscaler=upscalers)
    return slash_command("upscale", "Make a picture larger", completed(described(upscale)))


async def _of_job(
    services: Services,
    interaction: Interaction,
    caller: Caller,
    which: tuple[int, int | None],
    wish: Wish,
    private: bool | None,
) -> None:
    """Enlarge a picture of a request, by their numbers."""
    job, number = which
    found = await job_by_number(services, interaction, caller, "/upscale job", job)
    if number is None and len(found.pictures) > 1:
        raise Refused("which_number", job=job, high=len(found.pictures))
    typing(interaction, found)
    hidden = caller.answers_privately(found) or bool(private)
    check_can_post(interaction, caller, private=hidden)
    target = ActionTarget(ACTIONS["upscale"], (number or 1) - 1)
    origin = caller.origin(private=hidden, interaction=token_of(interaction))
    await acknowledge(
        interaction, await services.requests.remake(target, found, caller, origin, wish)
    )

"""From pictures to the request that blends them."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import discord

from bot.access.caller import Caller
from bot.interactions.callers import token_of
from bot.interactions.kept_pictures import keep
from bot.interactions.responding import Interaction, acknowledge, check_can_post, defer
from bot.interactions.sight import job_by_number
from bot.requests.given_pictures import NO_PICTURE
from bot.services import Services
from generation import blending
from generation.blending import DrawnHere
from generation.job import Job
from generation.refusal import Refused
from generation.request_options import Option
from generation.rules import default_model

SHARE: Final = Option(name="share", field="share", type=float, help="", low=0, high=1)


class Drawn(NamedTuple):
    """A picture that was drawn here: of which request, and which of its pictures, from 0."""

    job: Job
    which: int

    @property
    def known(self) -> DrawnHere:
        """How it was drawn."""
        picture = next(one for one in self.job.pictures if one.index == self.which)
        return DrawnHere(self.job.request, picture.seed, picture.variation_seed, picture.file)


Blended = Drawn | discord.Attachment


class Wanted(NamedTuple):
    """What is blended, in order, and how."""

    sources: Sequence[Blended]
    share: float | None
    """How much of the second of two."""
    prompt: str = ""
    private: bool = False

    @property
    def drawn(self) -> list[Drawn]:
        """Those of them that were drawn here."""
        return [one for one in self.sources if isinstance(one, Drawn)]


async def drawn_by_number(
    services: Services, interaction: Interaction, caller: Caller, number: int, which: int | None
) -> Drawn:
    """A request by its number, and which of its pictures. Raises Refused."""
    job = await job_by_number(services, interaction, caller, "/blend job", number)
    return which_of(job, which)


def which_of(job: Job, which: int | None) -> Drawn:
    """One of a request's pictures, counted from 1. Raises Refused where it has none such."""
    if not job.pictures:
        raise Refused("own_picture_gone", job=job.id)
    if which is None and len(job.pictures) > 1:
        raise Refused("which_number", job=job.id, high=len(job.pictures))
    index = (which or 1) - 1
    if all(picture.index != index for picture in job.pictures):
        raise Refused("which_number", job=job.id, high=len(job.pictures))
    return Drawn(job, index)


def check_count(count: int, share: float | None) -> None:
    """Refuse fewer pictures than two, too many, and a share of more than two."""
    if count > 2 and share is not None:
        raise Refused("blend_share")
    if not 2 <= count <= blending.MOST:
        raise Refused("blend_two")


async def ask(services: Services, interaction: Interaction, caller: Caller, wanted: Wanted) -> None:
    """Ask for the blend, and follow it. Raises Refused."""
    catalog, requests = services.catalog, services.requests
    check_count(len(wanted.sources), wanted.share)
    drawn = wanted.drawn
    private = wanted.private or any(one.job.origin.private for one in drawn)
    check_can_post(interaction, caller, private=private)
    await requests.shares.check_asking(caller)
    name = drawn[0].job.request.model if drawn else ""
    model = blending.model_of(catalog, name or default_model(catalog, requests.rules))
    count, share = len(wanted.sources), blending.EVEN if wanted.share is None else wanted.share
    shares = [1 - share, share] if count == 2 else [1.0] * count
    origin = caller.origin(private=private, interaction=token_of(interaction))
    came_of = drawn[0] if drawn else None
    try:
        # before pictures are fetched for it
        blending.of_pictures([NO_PICTURE] * count, wanted.prompt, shares, catalog, model)
    except Refused:
        if len(drawn) != 2 or count != 2 or came_of is None:
            raise
        one, other = (each.known for each in drawn)
        request = blending.of_drawn(one, other, share, wanted.prompt)
        await acknowledge(interaction, await requests.blend(request, caller, origin, *came_of))
        return
    if count > len(drawn):
        await defer(interaction, private=private)
    pictures = [
        one.known.file if isinstance(one, Drawn) else await keep(services, caller, one)
        for one in wanted.sources
    ]
    asked = blending.of_pictures(pictures, wanted.prompt, shares, catalog, model)
    await acknowledge(interaction, await requests.blend_shown(asked, caller, origin, came_of))

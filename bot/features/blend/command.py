"""`/blend`: two to four pictures become one."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import discord
from discord import app_commands
from discord.app_commands import Range, locale_str

from bot.access.caller import Caller
from bot.features.blend.asking import SHARE, Wanted, ask, check_count, drawn_by_number
from bot.interactions.contexts import Command, slash_command
from bot.interactions.drafts import typing
from bot.interactions.modal_submit import SubmitHandler, Values, number_in, part_of, text_of
from bot.interactions.responding import (
    Interaction,
    check_can_post,
    responding,
)
from bot.interactions.uploaded_files import uploaded_files
from bot.locales import Texts
from bot.services import Reopener, Services
from bot.ui.modal import Modal
from generation import blending
from generation.refusal import Refused
from generation.request_options import exact
from storage.drafts import Draft

PICTURES_MAX: Final = 10
"""Of one request."""
WhichPicture = Range[int, 1, PICTURES_MAX]
NAME: Final = "blend"
UNSAID: Final = "-"
"""In a modal's custom_id, in place of what nobody said."""


class Asked(NamedTuple):
    """What is asked for, beside the pictures that are handed in."""

    jobs: Sequence[tuple[int, int | None]]
    """Requests whose pictures are blended, and which of their pictures."""
    share: float | None
    prompt: str
    private: bool | None


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
        given = [one for one in (picture_1, picture_2, picture_3, picture_4) if one is not None]
        jobs = [(j, n) for j, n in ((job_1, number_1), (job_2, number_2)) if j is not None]
        asked = Asked(jobs, share, (prompt or "").strip(), private)
        _keep(interaction, asked, given)
        async with responding(interaction) as caller:
            await _blend(services, interaction, caller, given, asked)

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


async def _blend(
    services: Services,
    interaction: Interaction,
    caller: Caller,
    given: Sequence[discord.Attachment],
    asked: Asked,
) -> None:
    private = caller.own.private if asked.private is None else asked.private
    check_count(len(given) + len(asked.jobs), asked.share)
    check_can_post(interaction, caller, private=private)
    await services.requests.shares.check_asking(caller)
    drawn = [await drawn_by_number(services, interaction, caller, *which) for which in asked.jobs]
    await ask(
        services, interaction, caller, Wanted([*drawn, *given], asked.share, asked.prompt, private)
    )


def _keep(interaction: Interaction, asked: Asked, given: Sequence[discord.Attachment]) -> None:
    """Have what was typed kept, should it be refused; the pictures are named, to be given again."""

    async def draft() -> tuple[Draft, Sequence[str]]:
        values: dict[str, str | list[str]] = {"prompt": asked.prompt}
        if asked.share is not None:
            values["share"] = exact(asked.share)
        kept = Draft(name=NAME, where=tuple(_where(asked)), values=values)
        return kept, tuple(one.filename for one in given)

    typing(interaction, draft)


def _where(asked: Asked) -> list[str]:
    """What a modal's custom_id says of it: who sees the answer, and the requests' pictures."""
    seen = UNSAID if asked.private is None else str(int(asked.private))
    return [seen, *(f"{job}.{number or UNSAID}" for job, number in asked.jobs)]


def _asked_in(where: Sequence[str], share: float | None, prompt: str) -> Asked:
    """The same, read from a custom_id. Raises Refused for what nobody wrote there."""
    jobs = []
    for part in where[1:]:
        job, _, number = part.partition(".")
        jobs.append((number_in(job), None if number == UNSAID else number_in(number)))
    private = {UNSAID: None, "0": False, "1": True}
    if part_of(where, 0) not in private:
        raise Refused("press_gone")
    return Asked(jobs, share, prompt, private[where[0]])


async def _on_submit(
    services: Services, interaction: Interaction, caller: Caller, where: list[str], values: Values
) -> None:
    """What was refused is handed in again."""
    given = uploaded_files(interaction, values, "pictures")
    text = text_of(values, "share")
    asked = _asked_in(where, float(SHARE.take(text)) if text else None, text_of(values, "prompt"))
    _keep(interaction, asked, given)
    await _blend(services, interaction, caller, given, asked)


async def _reopen(_interaction: Interaction, caller: Caller, draft: Draft, _number: int) -> Modal:
    return _modal(draft.where, caller.texts)


def _modal(where: Sequence[str], texts: Texts) -> Modal:
    """For pictures beside those of the requests that its id names."""
    modal = Modal(":".join(("darkroom", NAME, *where)), texts("dialog_blend"))
    jobs = len(where) - 1
    modal.file(
        "pictures",
        texts("dialog_blend_pictures"),
        texts("blend_about", count=jobs) if jobs else texts("blend_two"),
        required=jobs < 2,
        most=blending.MOST - jobs,
    )
    modal.text("prompt", texts("dialog_prompt"), long=True)
    return modal.text("share", texts("dialog_blend_share"), placeholder=exact(blending.EVEN))


ON_SUBMIT: Final[Mapping[str, SubmitHandler]] = {NAME: _on_submit}
REOPEN: Final[Mapping[str, Reopener]] = {NAME: _reopen}

"""`/imagine`: a request from its options, or from the modal in which it is tried again."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import discord
import structlog
from discord import app_commands

from bot.access.caller import Caller
from bot.features.imagine.options import with_options
from bot.interactions.asking import merged, origin_of
from bot.interactions.autocomplete import preset_choices
from bot.interactions.contexts import Command, slash_command
from bot.interactions.drafts import typing
from bot.interactions.keeping import may_keep
from bot.interactions.kept_pictures import uploads_of
from bot.interactions.modal_submit import (
    SubmitHandler,
    Values,
    lines_of,
    prompt_of,
    text_of,
)
from bot.interactions.responding import (
    Interaction,
    acknowledge,
    check_can_post,
    defer,
    is_answered,
    responding,
)
from bot.interactions.sight import of_dialog
from bot.locales import Texts
from bot.pictures.turns import KEPT_OF_ONE_PERSON, OF_ONE_PERSON
from bot.pictures.uploads import parts_of, read_attachment
from bot.requests import typed
from bot.services import Reopener, Services
from bot.ui.modal import Modal
from generation import prompt_flags
from generation.job import Job
from generation.refusal import Refused
from generation.request_options import stepped
from storage.drafts import Draft
from storage.errors import DatabaseError

log = structlog.get_logger(__name__)


def command(services: Services) -> Command:
    """The command, with its options read off the request's fields."""

    async def imagine(interaction: Interaction, **values: Any) -> None:
        given = {name: value for name, value in values.items() if value is not None}
        uploads = _Uploads(services, interaction, given)
        typing(interaction, uploads.draft)
        async with responding(interaction) as caller:
            await _imagine(services, interaction, caller, uploads.rest, uploads)

    async def complete_preset(
        interaction: Interaction, typed: str
    ) -> list[app_commands.Choice[str]]:
        return await preset_choices(services, interaction, typed)

    callback = with_options(
        imagine,
        services.catalog,
        services.requests.rules,
        complete_preset,
    )
    return slash_command("imagine", "Draw pictures of what you describe", callback)


class _Uploads:
    """The pictures that came with a command, each read once."""

    def __init__(
        self, services: Services, interaction: Interaction, given: Mapping[str, Any]
    ) -> None:
        self._services = services
        self._interaction = interaction
        self.waiting = {n: v for n, v in given.items() if isinstance(v, discord.Attachment)}
        self.rest = {n: v for n, v in given.items() if n not in self.waiting}
        self.kept: dict[str, str] = {}
        self.masked = "mask" in given
        """Whether something says what is masked, beside what is erased of the start picture."""

    async def read(self) -> dict[str, str]:
        """Their hashes in the store, by option. Raises Refused for what is no picture."""
        for name in list(self.waiting):
            try:
                await self._read(name, OF_ONE_PERSON)
            except Refused as refused:
                if refused.code != "uploads_too_many":
                    # what is no picture is not tried again
                    del self.waiting[name]
                raise
        return self.kept

    async def _read(self, name: str, most: int) -> None:
        services, user_id = self._services, self._interaction.user.id
        limits, attachment = services.requests.rules.limits, self.waiting[name]
        parts = parts_of(name, masked=self.masked)
        contents = await read_attachment(
            attachment, user_id, services.decoder, limits, most, list(parts.values())
        )
        for option, content in zip(parts, contents, strict=True):
            if content:
                self.kept[option] = await services.store.jobs.keep_upload(content)
        del self.waiting[name]

    async def draft(self) -> tuple[Draft, Sequence[str]]:
        """All that was given, with the pictures that can be read, whatever it was refused for;
        the options of those that can't.
        """
        if self.waiting and not is_answered(self._interaction):
            await defer(self._interaction, private=True)
        for name in list(self.waiting):
            if not may_keep(self._interaction):
                break
            try:
                await self._read(name, KEPT_OF_ONE_PERSON)
            except (Refused, DatabaseError, OSError) as error:
                log.info("a picture is not kept", option=name, error=str(error))
        values: dict[str, str | list[str]] = {**typed.fields(self.rest, self.kept)}
        return Draft(name="imagine", values=values, uploads=self.kept), tuple(self.waiting)


async def _imagine(
    services: Services,
    interaction: Interaction,
    caller: Caller,
    given: Mapping[str, Any],
    uploads: _Uploads | None = None,
    described: Job | None = None,
) -> None:
    parsed = prompt_flags.parse(str(given["prompt"]))
    waiting = () if uploads is None else tuple(uploads.waiting)
    given, private, preset_name = merged(parsed, given, caller, waiting)
    check_can_post(interaction, caller, private=private)
    if uploads is not None and uploads.waiting:
        uploads.masked |= not {"mask_words", "extension"}.isdisjoint(given)
        await services.requests.shares.check_asking(caller)
        await services.requests.check_given(given, uploads.waiting, caller, preset_name)
        # fetching may take longer than the three seconds that Discord waits
        await defer(interaction, private=private)
        given |= await uploads.read()
    origin = origin_of(interaction, caller, parsed, given, private=private)
    # written down first, then acknowledged
    if described is None:
        job = await services.requests.ask(given, caller, origin, preset_name)
    else:
        job = await services.requests.imagine_this(given, caller, origin, preset_name, described)
    await acknowledge(interaction, job)


async def _on_submit(
    services: Services,
    interaction: Interaction,
    caller: Caller,
    where: list[str],
    values: Values,
) -> None:
    """What was refused is handed in again."""
    uploads = await uploads_of(services, caller, where)
    entered = _entered(values)
    # with its pictures, should it be refused again
    typing(interaction, Draft(name="imagine", values={**entered}, uploads=dict(uploads)))
    prompt_of(values)
    await _imagine(services, interaction, caller, stepped(typed.given(entered, uploads)))


def _entered(values: Values) -> dict[str, str]:
    return {
        "prompt": text_of(values, "prompt"),
        "negative_prompt": text_of(values, "negative_prompt"),
        "parameters": lines_of(values, "parameters"),
    }


async def _on_described(
    services: Services,
    interaction: Interaction,
    caller: Caller,
    where: list[str],
    values: Values,
) -> None:
    """What was seen in a picture is drawn, as whoever reads it has changed it."""
    job = await of_dialog(interaction, caller, "imagine_this", where)
    prompt_of(values)
    given = stepped(typed.given(_entered(values), {}))
    await _imagine(services, interaction, caller, given, described=job)


async def _reopen(_interaction: Interaction, caller: Caller, draft: Draft, number: int) -> Modal:
    return _modal(f"imagine:{number}", "dialog_imagine", draft, caller.texts)


async def _reopen_described(
    _interaction: Interaction, caller: Caller, draft: Draft, _number: int
) -> Modal:
    where = ":".join(("imagine_this", *draft.where))
    return _modal(where, "dialog_imagine_this", draft, caller.texts)


def _modal(where: str, title: str, draft: Draft, texts: Texts) -> Modal:
    modal = Modal(f"darkroom:{where}", texts(title))
    modal.text("prompt", texts("dialog_prompt"), long=True, required=True)
    modal.text("negative_prompt", texts("field_negative"), long=True)
    parameters = draft.values.get("parameters", "")
    lines = parameters if isinstance(parameters, str) else ""
    return modal.lines("parameters", texts("dialog_parameters"), lines)


ON_SUBMIT: Final[Mapping[str, SubmitHandler]] = {
    "imagine": _on_submit,
    "imagine_this": _on_described,
}
REOPEN: Final[Mapping[str, Reopener]] = {"imagine": _reopen, "imagine_this": _reopen_described}

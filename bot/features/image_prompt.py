"""*Use as style*, *Use as face or subject*: a picture of any message, which an IP-Adapter reads as
a prompt.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple, Self

import discord
from discord import app_commands
from discord.app_commands import locale_str

from bot.access.caller import Caller
from bot.interactions.asking import ask_parsed, named_or_chosen
from bot.interactions.contexts import message_menu
from bot.interactions.drafts import with_uploads
from bot.interactions.kept_pictures import picture_in, picture_of
from bot.interactions.modal_submit import (
    SubmitHandler,
    Values,
    number_of,
    part_of,
    prompt_of,
)
from bot.interactions.picture_dialogs import open_with_picture
from bot.interactions.responding import (
    Interaction,
    RespondingItem,
    check_can_post,
    responding,
)
from bot.locales import Texts
from bot.services import Reopener, Services
from bot.ui.modal import OPTIONS_MAX, Modal
from generation import image_prompts, prompt_flags
from generation.models import ModelKind
from generation.name_search import choice_of
from generation.refusal import Refused
from generation.request_options import exact
from generation.rules import default_model
from storage.drafts import Draft

NAME: Final = "image_prompt"
"""Of the modal."""
PICTURE: Final = "image_prompt"
"""The option that the picture is."""
USES: Final = {"style": "Use as style", "subject": "Use as face or subject"}
"""What of a picture is wanted, and the menu's name in English."""
CHOICE_MAX: Final = 100
WEIGHTS: Final = {"style": "1", "subject": "0.7"}
"""What is usual: a subject that is drawn fully after its picture heeds no prompt."""


def commands(services: Services) -> list[app_commands.ContextMenu]:
    """The context menus."""
    return [_menu(services, use, name) for use, name in USES.items()]


def _menu(services: Services, use: str, name: str) -> app_commands.ContextMenu:
    async def use_as_prompt(interaction: Interaction, message: discord.Message) -> None:
        async with responding(interaction) as caller:
            await _use_as_prompt(services, interaction, caller, message, use)

    return message_menu(locale_str(name, key=f"menu_{use}"), use_as_prompt)


class _Offered(NamedTuple):
    """What a modal offers: IP-Adapters, and how strongly the first acts."""

    names: list[str]
    weight: str


async def _use_as_prompt(
    services: Services,
    interaction: Interaction,
    caller: Caller,
    message: discord.Message,
    use: str,
) -> None:
    await services.requests.shares.check_asking(caller)
    check_can_post(interaction, caller, private=caller.own.private)
    offered = await _offered(services, caller, use)
    attachment = picture_in(message)
    await open_with_picture(
        *(services, interaction, caller, attachment, (NAME, PICTURE)),
        modal=lambda number: _modal(use, number, offered, caller.texts),
        later=lambda number: PromptedButton.of(use, number, caller.texts("button_describe")),
        said=caller.texts("image_prompt_kept"),
    )


class PromptedButton(
    RespondingItem[discord.ui.Button[Any]],
    template=r"darkroom:prompted:(?P<use>style|subject):(?P<number>[0-9]{1,18})",
):
    """Opens the modal for a picture that took long to fetch."""

    @classmethod
    def of(cls, use: str, number: int, label: str) -> Self:
        """A new button for the picture of a draft, by its number."""
        style, where = discord.ButtonStyle.primary, f"darkroom:prompted:{use}:{number}"
        return cls(discord.ui.Button(style=style, label=label, custom_id=where))

    async def respond(self, interaction: Interaction, caller: Caller) -> None:
        """Ask what to draw."""
        services, use, number = (
            interaction.client.services,
            self.fields["use"],
            self.fields["number"],
        )
        await picture_of(services, caller, [number], PICTURE)
        offered = await _offered(services, caller, use)
        modal = _modal(use, int(number), offered, caller.texts)
        await interaction.response.send_modal(modal)


def _modal(use: str, number: int, offered: _Offered, texts: Texts) -> Modal:
    """What to draw after the picture of a draft, by its number."""
    modal = Modal(f"darkroom:{NAME}:{number}:{use}", texts(f"dialog_{use}"))
    modal.text("prompt", texts("dialog_prompt"), long=True, required=True)
    named = offered.names
    modal.options("ip_adapter", texts("field_ip_adapter"), {n: n for n in named}, named[0])
    if len(named) > OPTIONS_MAX:
        # a select holds no more: the others are named
        modal.text("other", texts("dialog_other_ipadapter"), placeholder=named[OPTIONS_MAX])
    return modal.text("image_weight", texts("dialog_image_weight"), value=offered.weight)


async def _on_submit(
    services: Services,
    interaction: Interaction,
    caller: Caller,
    where: list[str],
    values: Values,
) -> None:
    picture, use = await picture_of(services, caller, where, PICTURE), part_of(where, 1)
    with_uploads(interaction, {PICTURE: picture})
    parsed = prompt_flags.parse(prompt_of(values))
    name = named_or_chosen(values, "ip_adapter")
    if use == "style" and _draws_style(services, name):
        name = f"{name}:kind=style"
    fields: dict[str, Any] = {"ip_adapter": name, "image_weight": number_of(values, "image_weight")}
    # a flag wins over a field that was filled in
    said = {*parsed.given, *(["image_weight"] if "ip_adapter" in parsed.given else [])}
    fields = {key: value for key, value in fields.items() if key not in said}
    await ask_parsed(interaction, caller, parsed, {**fields, PICTURE: picture})


async def _reopen(interaction: Interaction, caller: Caller, draft: Draft, number: int) -> Modal:
    use = part_of(draft.where, 1)
    if use not in USES:
        raise Refused("press_gone")
    offered = await _offered(interaction.client.services, caller, use)
    return _modal(use, number, offered, caller.texts)


ON_SUBMIT: Final[Mapping[str, SubmitHandler]] = {NAME: _on_submit}
REOPEN: Final[Mapping[str, Reopener]] = {NAME: _reopen}


def _draws_style(services: Services, name: str) -> bool:
    """Whether an IP-Adapter's blocks are known that draw style alone."""
    file = services.catalog.find(ModelKind.IPADAPTER, name)
    return file is not None and file.family == image_prompts.BY_BLOCKS and ":" not in name


async def _offered(services: Services, caller: Caller, use: str) -> _Offered:
    """The IP-Adapters that fit the model which is drawn with where nobody names one: first the
    preset's, as it has it; for a face or subject then those that were trained on faces. Raises
    Refused where there are none.
    """
    catalog, requests = services.catalog, services.requests
    chosen = await requests.presets.chosen(caller, None)
    preset = None if chosen is None else chosen.preset
    own = None if preset is None else preset.model
    model = catalog.get(ModelKind.CHECKPOINT, own or default_model(catalog, requests.rules))
    found = image_prompts.suggested(catalog, model, faces=use == "subject")
    if not found:
        raise Refused("no_ipadapters", model=model.name)
    names = {file.name: choice_of(file.name, CHOICE_MAX) for file in found}
    weight = WEIGHTS[use]
    if preset is not None and preset.ip_adapter is not None:
        told = image_prompts.of(preset.ip_adapter, (), preset.image_weight, catalog)
        if told.name in names:
            del names[told.name]
            text = f"{told.name}{image_prompts.written(told)}"
            names = {told.name: choice_of(text, CHOICE_MAX), **names}
            weight = exact(told.weight)
    image_prompts.eyes_of(catalog.get(ModelKind.IPADAPTER, next(iter(names))), catalog)
    return _Offered(list(names.values()), weight)

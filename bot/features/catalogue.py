"""`/models` and `/loras`: what there is to draw with."""

import asyncio
from collections.abc import Sequence
from typing import Any, Final, Self

import discord

from bot.access.caller import Caller
from bot.interactions.contexts import Command, slash_command
from bot.interactions.responding import Interaction, PageButton, answer, defer, responding
from bot.locales import Texts
from bot.pictures import thumbnails
from bot.pictures.attachments import Attachment
from bot.pictures.decoding import PictureDecoder
from bot.services import Services
from bot.ui.formatting import COLOUR, NOTHING, cut, duration, fitted, quoted
from bot.ui.persistent_items import StatelessView
from generation import abilities
from generation.assembly import is_whole, missing, told
from generation.completion import complete
from generation.families import FAMILIES, RECOGNISED
from generation.memory_plan import GIB, NoRoom
from generation.memory_words import codes
from generation.models import ModelFile, ModelKind
from generation.refusal import Refused
from generation.rules import native_size
from generation.thumbnails import thumbnail_of

ENTRIES: Final = 8
"""On a page: Discord takes ten embeds."""
TRIGGERS: Final = 8
"""Trigger words of a LoRA."""
NAME_MAX: Final = 200
WORD_MAX: Final = 60
ABOUT_MAX: Final = 500
"""Ten such embeds are a message, with 6,000 characters in all."""


def models(services: Services) -> Command:
    """All checkpoints."""

    async def models(interaction: Interaction) -> None:
        await _answer(services, interaction, ModelKind.CHECKPOINT)

    return slash_command("models", "The models that can be drawn with", models)


def loras(services: Services) -> Command:
    """All LoRAs."""

    async def loras(interaction: Interaction) -> None:
        await _answer(services, interaction, ModelKind.LORA)

    return slash_command("loras", "The LoRAs and their trigger words", loras)


async def _answer(services: Services, interaction: Interaction, kind: ModelKind) -> None:
    async with responding(interaction) as caller:
        await defer(interaction, private=True)
        shown = await _page(services, kind, 0, caller.texts)
        await answer(interaction, **shown)


async def _page(services: Services, kind: ModelKind, page: int, texts: Texts) -> dict[str, Any]:
    """A page as arguments of a message; `page` counts from 0 and stays within what there is."""
    catalog = services.catalog
    found = catalog.checkpoints if kind is ModelKind.CHECKPOINT else catalog.loras
    pages = max(1, -(-len(found) // ENTRIES))
    page = min(page, pages - 1)
    shown = found[page * ENTRIES : (page + 1) * ENTRIES]
    attachments = await asyncio.gather(
        *(_thumbnail(model, place, services.decoder) for place, model in enumerate(shown))
    )
    runs = await asyncio.gather(*(_runs(model, services, texts) for model in shown))
    title = texts(f"{kind}s_title", page=page + 1, pages=pages)
    message: dict[str, Any] = {
        "embeds": _embeds(shown, attachments, runs, title, texts),
        "files": [picture.file() for picture in attachments if picture is not None],
    }
    if pages > 1:
        view = StatelessView()
        view.add_item(CatalogueButton.of(kind, page - 1, texts("button_back"), page == 0))
        view.add_item(CatalogueButton.of(kind, page + 1, texts("button_next"), page == pages - 1))
        message["view"] = view
    return message


async def _runs(model: ModelFile, services: Services, texts: Texts) -> str:
    """How a checkpoint runs here, and how fast where it was timed; "" where that is not known."""
    outlook, requests = services.outlook(), services.requests
    if outlook is None or model.kind is not ModelKind.CHECKPOINT or model.family not in FAMILIES:
        return ""
    try:
        request = complete({"prompt": "-", "model": model.name}, requests.catalog, requests.rules)
    except Refused:
        return ""
    found = await asyncio.to_thread(outlook.of, model, request)
    if isinstance(found, NoRoom):
        sizes = {"needed": f"{found.needed / GIB:.1f}", "there": f"{found.there / GIB:.1f}"}
        return texts("catalogue_no_room", **sizes)
    plan = ", ".join(texts(code) for code in codes(found))
    seconds = await services.workers.seconds_measured(request)
    if seconds is None:
        return texts("catalogue_runs", plan=plan)
    return texts("catalogue_runs_timed", plan=plan, seconds=duration(seconds, texts))


def _embeds(
    shown: Sequence[ModelFile],
    attachments: Sequence[Attachment | None],
    runs: Sequence[str],
    title: str,
    texts: Texts,
) -> list[discord.Embed]:
    if not shown:
        return [discord.Embed(title=title, description=texts("catalogue_empty"))]
    embeds = [model_embed(model, texts, how) for model, how in zip(shown, runs, strict=True)]
    embeds[0].set_author(name=title)
    for embed, picture in zip(embeds, attachments, strict=True):
        if picture is not None:
            embed.set_thumbnail(url=f"attachment://{picture.name}")
    return embeds


async def _thumbnail(model: ModelFile, place: int, decoder: PictureDecoder) -> Attachment | None:
    path = await asyncio.to_thread(thumbnail_of, model)
    if path is None:
        return None
    return await thumbnails.of_model(path, f"model-{place}.webp", decoder)


def model_embed(found: ModelFile, texts: Texts, runs: str = "") -> discord.Embed:
    """One checkpoint or LoRA, with what is known of it; `runs` says how it runs here."""
    family = FAMILIES.get(found.family)
    title = family.title if family else RECOGNISED.get(found.family, found.family)
    about = [title, texts("file_size", mib=f"{found.size / 2**20:,.0f}")]
    if found.kind is ModelKind.CHECKPOINT and family is not None:
        about.insert(1, f"{native_size(found)} px")
        if abilities.edits(found):
            about.insert(1, texts("edits_pictures"))
    if family is None and found.kind is ModelKind.CHECKPOINT:
        about.append(texts("catalogue_unsupported"))
    elif not is_whole(found):
        needed = [part for part in missing(found) if not part.optional]
        about.append(texts("catalogue_missing", files=told(needed)["files"]))
    lines = [" · ".join(about), *filter(None, (runs,))]
    if found.trigger_words:
        named = found.trigger_words[:TRIGGERS]
        words = ", ".join(f"`{cut(word, WORD_MAX).replace('`', 'ˋ')}`" for word in named if word)
        lines.append(texts("catalogue_triggers", words=words))
    return fitted(
        discord.Embed(
            title=quoted(found.name, NAME_MAX) or NOTHING,
            description=cut("\n".join(lines), ABOUT_MAX),
            colour=COLOUR,
        )
    )


class CatalogueButton(
    PageButton, template=r"darkroom:catalogue:(?P<kind>checkpoint|lora):(?P<page>[0-9]{1,9})"
):
    """Turns a page of models or LoRAs."""

    @classmethod
    def of(cls, kind: ModelKind, page: int, label: str, disabled: bool) -> Self:
        """A new button; pages count from 0."""
        custom_id = f"darkroom:catalogue:{kind}:{max(0, page)}"
        return cls(discord.ui.Button(label=label, disabled=disabled, custom_id=custom_id))

    async def page(self, interaction: Interaction, caller: Caller) -> dict[str, Any]:
        """The page that it names, or the last."""
        kind, number = ModelKind(self.fields["kind"]), int(self.fields["page"])
        return await _page(interaction.client.services, kind, number, caller.texts)

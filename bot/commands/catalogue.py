"""`/models` and `/loras`: what there is to draw with."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Self

import discord
import structlog
from discord import app_commands
from discord.app_commands import locale_str
from PIL import Image

from bot import overviews, thumbnails
from bot.answering import NO_MENTIONS, answering, think
from bot.attachments import Print
from bot.commands.where import EVERYWHERE, INSTALLS
from bot.locales import Texts
from generation.catalog import Catalog
from generation.models import ModelFile, ModelKind
from generation.thumbnails import thumbnail_of

if TYPE_CHECKING:
    import re

    from bot.client import DarkroomClient

log = structlog.get_logger(__name__)

ENTRIES: Final = 8
"""On a page: Discord takes ten embeds."""

Interaction = discord.Interaction[Any]


def models(client: "DarkroomClient") -> app_commands.Command[Any, ..., None]:
    """All checkpoints."""

    async def models(interaction: Interaction) -> None:
        await _answer(client, interaction, ModelKind.CHECKPOINT)

    return app_commands.Command[Any, ..., None](
        name=locale_str("models", key="command_models"),
        description=locale_str("The models that can be drawn with", key="command_models_help"),
        callback=models,
        allowed_contexts=EVERYWHERE,
        allowed_installs=INSTALLS,
    )


def loras(client: "DarkroomClient") -> app_commands.Command[Any, ..., None]:
    """All LoRAs."""

    async def loras(interaction: Interaction) -> None:
        await _answer(client, interaction, ModelKind.LORA)

    return app_commands.Command[Any, ..., None](
        name=locale_str("loras", key="command_loras"),
        description=locale_str("The LoRAs and their trigger words", key="command_loras_help"),
        callback=loras,
        allowed_contexts=EVERYWHERE,
        allowed_installs=INSTALLS,
    )


async def _answer(client: "DarkroomClient", interaction: Interaction, kind: ModelKind) -> None:
    async with answering(interaction) as visit:
        await think(interaction, private=True)
        shown = await _page(client.desk.catalog, kind, 0, visit.texts)
        await interaction.followup.send(**shown, ephemeral=True, allowed_mentions=NO_MENTIONS)


async def _page(catalog: Catalog, kind: ModelKind, page: int, texts: Texts) -> dict[str, Any]:
    """A page as arguments of a message; `page` counts from 0 and stays within what there is."""
    found = catalog.checkpoints if kind is ModelKind.CHECKPOINT else catalog.loras
    pages = max(1, -(-len(found) // ENTRIES))
    page = min(page, pages - 1)
    shown = found[page * ENTRIES : (page + 1) * ENTRIES]
    prints = await asyncio.gather(*(_thumbnail(model, place) for place, model in enumerate(shown)))
    title = texts(f"{kind}s_title", page=page + 1, pages=pages)
    message: dict[str, Any] = {
        "embeds": _embeds(shown, prints, title, texts),
        "files": [picture.file() for picture in prints if picture is not None],
    }
    if pages > 1:
        view = discord.ui.View(timeout=None)
        view.add_item(CatalogueButton(kind, page - 1, texts("button_back"), page == 0))
        view.add_item(CatalogueButton(kind, page + 1, texts("button_next"), page == pages - 1))
        message["view"] = view
    return message


def _embeds(
    shown: Sequence[ModelFile], prints: Sequence[Print | None], title: str, texts: Texts
) -> list[discord.Embed]:
    if not shown:
        return [discord.Embed(title=title, description=texts("catalogue_empty"))]
    embeds = [overviews.model(model, texts) for model in shown]
    embeds[0].set_author(name=title)
    for embed, picture in zip(embeds, prints, strict=True):
        if picture is not None:
            embed.set_thumbnail(url=f"attachment://{picture.name}")
    return embeds


async def _thumbnail(model: ModelFile, place: int) -> Print | None:
    path = await asyncio.to_thread(thumbnail_of, model)
    if path is None:
        return None
    try:
        content = await asyncio.to_thread(path.read_bytes)
        return await thumbnails.small([Print(path.name, content)], f"model-{place}.webp")
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        log.warning("a thumbnail can't be read", file=str(path), error=str(error))
        return None


class CatalogueButton(
    discord.ui.DynamicItem[discord.ui.Button[Any]],
    template=r"darkroom:catalogue:(?P<kind>checkpoint|lora):(?P<page>[0-9]+)",
):
    """Turns a page of models or LoRAs."""

    def __init__(self, kind: ModelKind, page: int, label: str, disabled: bool = False) -> None:
        super().__init__(
            discord.ui.Button(
                label=label,
                disabled=disabled,
                custom_id=f"darkroom:catalogue:{kind}:{max(0, page)}",
            )
        )
        self.kind = kind
        self.page = page

    @classmethod
    async def from_custom_id(
        cls, _interaction: Interaction, item: Any, match: "re.Match[str]", /
    ) -> Self:
        """The button of a page from whenever."""
        return cls(ModelKind(match["kind"]), int(match["page"]), item.label or "")

    async def callback(self, interaction: Interaction) -> None:
        """Show the page instead of this one."""
        client: DarkroomClient = interaction.client
        async with answering(interaction) as visit:
            await interaction.response.defer()
            shown = await _page(client.desk.catalog, self.kind, self.page, visit.texts)
            files = shown.pop("files")
            await interaction.edit_original_response(
                **shown, attachments=files, allowed_mentions=NO_MENTIONS
            )

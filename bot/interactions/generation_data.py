"""The generation data that a file carries, shown, and drawn from in a dialog."""

import asyncio
from typing import Any, Final

import discord

from bot.access.caller import Caller
from bot.interactions.responding import Interaction, answer, defer
from bot.pictures import png_text
from bot.pictures.uploads import fetched
from bot.requests import typed
from bot.services import Services
from bot.ui.formatting import CONTENT_MAX, cut, sentence, text_file
from bot.ui.job_embeds import keys_ignored
from bot.ui.modal import VALUE_MAX
from bot.ui.persistent_items import StatelessView
from generation import metadata, prompt_flags
from generation.prompt_flags import Parsed
from generation.refusal import Refused
from storage.drafts import Draft

TEXT_MAX: Final = 1500
"""Characters of a code block that fits in a message beside what is said of it."""


async def show_data(
    services: Services, interaction: Interaction, caller: Caller, file: discord.Attachment
) -> None:
    """Show the data of a PNG privately, and offer to draw from them: the dialog of a draft, which
    can be changed. Raises Refused.
    """
    await defer(interaction, private=True)
    limits = services.requests.rules.limits
    async with services.decoder.turn(caller.person.id):
        data = await fetched(file, limits)
        text = await asyncio.to_thread(png_text.read, data, file.filename)
    values, lines = _read(text, caller)
    draft = Draft(name="imagine", values={**values})
    number = await services.store.drafts.keep(caller.person.id, draft)
    whole = len(text) > TEXT_MAX
    if any(len(value) > VALUE_MAX for value in values.values()):
        whole = True
        lines.append(caller.texts("draft_too_long", high=VALUE_MAX))
    block = f"```\n{text.replace('```', 'ˋˋˋ')}\n```"
    said = "\n".join(filter(None, lines))
    whole = whole or len(block) + 1 + len(said) > CONTENT_MAX
    view = StatelessView()
    button: discord.ui.Button[Any] = discord.ui.Button(
        style=discord.ButtonStyle.primary,
        label=caller.texts("button_draw_from_data"),
        custom_id=f"darkroom:draft:{number}",
    )
    view.add_item(button)
    files = [text_file(text, "parameters.txt")] if whole else []
    content = said if whole else f"{block}\n{said}".strip()
    await answer(interaction, content=cut(content, CONTENT_MAX), files=files, view=view)


def _read(text: str, caller: Caller) -> tuple[dict[str, str], list[str]]:
    """The values of the dialog, and lines about what of the data is not in them."""
    try:
        found = metadata.read_infotext(text) or metadata.Infotext(text, {})
    except Refused as refused:
        # to be corrected there: data in a prompt are read when it is handed in
        said = sentence(caller.texts, refused.code, refused.params)
        return typed.fields({"prompt": text}, {}), [said]
    given = prompt_flags.merge(Parsed(found.prompt, {}, dict(found.given)), {})
    return typed.fields(given, {}), [keys_ignored(found.ignored, caller.texts)]

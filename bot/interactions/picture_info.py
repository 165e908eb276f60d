"""How a picture was made, as its file says: shown, and drawn again at once or from a dialog."""

import asyncio
from typing import Any, Final

import discord
import msgspec

from bot.access.caller import Caller
from bot.interactions.responding import Interaction, answer, defer
from bot.pictures.infos import info_of
from bot.pictures.uploads import fetched
from bot.requests import typed
from bot.services import Services
from bot.ui import info_embeds
from bot.ui.formatting import CONTENT_MAX, cut, sentence, text_file
from bot.ui.job_embeds import keys_ignored
from bot.ui.modal import VALUE_MAX
from bot.ui.persistent_items import StatelessView
from generation.info import asking
from generation.info.found import Info
from generation.info.resolving import Resolved, resolve
from generation.refusal import Refused
from generation.request_options import exact
from generation.request_parts import LoraUse
from storage.drafts import Draft

TEXT_MAX: Final = 1500
"""Characters of a code block that fits in a message beside what is said of it."""
FILE_MAX: Final = 2**20
"""Characters of a text that is attached; what is longer is a graph that nobody reads."""
MODELS_SECONDS: Final = 5.0
KEPT: Final = "info"
"""The name of drafts that hold what a file says."""


async def show_info(
    services: Services, interaction: Interaction, caller: Caller, file: discord.Attachment
) -> None:
    """Show privately what a picture's file says, and offer to draw it again as it was, or changed
    in the dialog of a draft. Raises Refused.
    """
    await defer(interaction, private=True)
    async with services.decoder.turn(caller.person.id):
        data = await fetched(file, services.requests.rules.limits)
        info = await info_of(data, file.filename, services.decoder)
    await services.catalog.ready(MODELS_SECONDS)
    resolved = await asyncio.to_thread(resolve, info, services.catalog, services.hashes)
    lines = _lines(info, caller)
    draft = draft_of(info, resolved)
    whole = info.is_graph or len(info.text) > TEXT_MAX
    if any(len(value) > VALUE_MAX for value in draft.values.values()):
        whole = True
        lines.append(caller.texts("draft_too_long", high=VALUE_MAX))
    block = f"```\n{info.text.replace('```', 'ˋˋˋ')}\n```"
    said = "\n".join(filter(None, lines))
    whole = whole or len(block) + 1 + len(said) > CONTENT_MAX
    name = "workflow.json" if info.is_graph else "parameters.txt"
    files = [text_file(info.text, name)] if whole and len(info.text) <= FILE_MAX else []
    await answer(
        interaction,
        content=cut(said if whole else f"{block}\n{said}".strip(), CONTENT_MAX),
        files=files,
        embed=info_embeds.embed(info, resolved, caller.texts),
        view=await _buttons(services, caller, info, draft),
    )


def draft_of(info: Info, resolved: Resolved) -> Draft:
    """The dialog of a new request that asks for the same."""
    given = asking.options_of(info, resolved)
    if info.loras:
        given["lora"] = tuple(_lora(use) for use in given["lora"])
    return Draft(name="imagine", values={**typed.fields(given, {})})


async def kept_info(services: Services, caller: Caller, number: int) -> Info:
    """What a file said that was shown to somebody. Raises Refused where it is no longer known."""
    draft = await services.store.drafts.get(caller.person.id, number)
    text = draft.values.get("info") if draft is not None and draft.name == KEPT else None
    if not isinstance(text, str):
        raise Refused("draft_gone")
    try:
        return msgspec.json.decode(text, type=Info)
    except msgspec.MsgspecError:
        # of a version before
        raise Refused("draft_gone") from None


def _lines(info: Info, caller: Caller) -> list[str]:
    lines = [keys_ignored(info.ignored, caller.texts), *info_embeds.notes(info, caller.texts)]
    if info.refused is not None:
        lines.append(sentence(caller.texts, info.refused.code, info.refused.params))
    return lines


async def _buttons(services: Services, caller: Caller, info: Info, draft: Draft) -> discord.ui.View:
    drafts, user_id = services.store.drafts, caller.person.id
    view = StatelessView()
    # what is shown in the message need not be kept with it
    shown = msgspec.structs.replace(info, text="")
    kept = Draft(name=KEPT, values={"info": msgspec.json.encode(shown).decode()})
    for name, label, style, each in (
        ("again", "button_draw_again", discord.ButtonStyle.primary, kept),
        ("draft", "button_draw_from_data", discord.ButtonStyle.secondary, draft),
    ):
        if name == "again" and info.refused is not None:
            continue
        number = await drafts.keep(user_id, each)
        button: discord.ui.Button[Any] = discord.ui.Button(
            style=style, label=caller.texts(label), custom_id=f"darkroom:{name}:{number}"
        )
        view.add_item(button)
    return view


def _lora(use: LoraUse) -> str:
    if use.te_weight is None:
        return f"{use.name}:{exact(use.weight)}"
    return f"{use.name}:{exact(use.te_weight)}:unet={exact(use.weight)}"

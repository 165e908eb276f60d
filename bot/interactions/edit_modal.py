"""What to change of pictures, in words: the modal."""

from collections.abc import Sequence
from typing import Final

import discord

from bot.access.caller import Caller
from bot.interactions.edited_pictures import DRAFT, draft_of, picture_of
from bot.locales import Texts
from bot.requests.edits import Offered
from bot.services import Services
from bot.ui.modal import Modal
from generation import edit_models
from generation.abilities import EDITING
from generation.edit_models import PICTURES_MAX, most_pictures
from generation.models import ModelFile
from generation.name_search import choice_of
from generation.refusal import Refused
from generation.request_fields import IMAGE_GUIDANCE
from generation.request_options import exact

CHOICE_MAX: Final = 100
"""Characters of a choice; Discord's bound."""


async def edit_modal(services: Services, caller: Caller, offered: Offered) -> Modal:
    """A new one about those pictures. Raises Refused where no model here edits."""
    models = edit_models.check_any(services.catalog, services.requests.rules)
    number = await services.store.drafts.keep(caller.person.id, draft_of(offered, {}))
    return modal_of(number, offered, models, caller.texts)


def modal_of(number: int, offered: Offered, models: Sequence[ModelFile], texts: Texts) -> Modal:
    """Of the draft with that number, which is about those pictures."""
    modal = Modal(f"darkroom:{DRAFT}:{number}", texts("dialog_edit_words"))
    modal.text(
        "prompt",
        texts("dialog_edit_prompt"),
        long=True,
        required=True,
        placeholder=texts("dialog_edit_example"),
    )
    if len(models) > 1:
        named = {choice_of(model.name, CHOICE_MAX): _about(model, texts) for model in models}
        modal.options("model", texts("field_model"), named, next(iter(named)))
    shown = {str(at): f"{at + 1}. {one.name}" for at, one in enumerate(offered.pictures)}
    if len(shown) > 1:
        chosen = tuple(map(str, offered.chosen[:PICTURES_MAX]))
        label = texts("dialog_edit_pictures")
        modal.options("pictures", label, shown, chosen, most=PICTURES_MAX)
    modal.file(
        "more",
        texts("dialog_edit_more"),
        texts("edit_more_about"),
        required=not shown,
        most=PICTURES_MAX - min(1, len(shown)),
    )
    if any(model.variant == EDITING for model in models):
        usual = exact(IMAGE_GUIDANCE)
        modal.text("image_guidance", texts("dialog_edit_guidance"), placeholder=usual)
    return modal


def of_message(message: discord.Message, services: Services, *, published: bool) -> Offered:
    """The pictures that anybody's message shows: as many of them to begin with as the best model is
    shown. Raises Refused where it has none.
    """
    found = tuple(
        picture_of(one)
        for one in message.attachments
        if (one.content_type or "").startswith("image/")
    )
    if not found:
        raise Refused("message_without_picture")
    [best, *_] = edit_models.check_any(services.catalog, services.requests.rules)
    first = range(min(len(found), most_pictures(best), PICTURES_MAX))
    where = (message.channel.id, message.id) if published else None
    return Offered(found, tuple(first), message=where)


def _about(model: ModelFile, texts: Texts) -> str:
    """A model's name, and how many pictures it is shown, which goes before a long name's end."""
    most = most_pictures(model)
    about = texts("edit_model_one") if most == 1 else texts("edit_model_several", most=most)
    return f"{choice_of(model.name, CHOICE_MAX - len(about) - 3)} · {about}"

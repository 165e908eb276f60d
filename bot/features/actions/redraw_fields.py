"""What the dialogs of *Draw a part anew…* ask for, and the mask that comes with what was typed."""

import itertools
from collections.abc import Sequence
from typing import Any, Final

import discord
import msgspec
import structlog

from bot.access.caller import Caller
from bot.interactions.keeping import may_keep
from bot.interactions.modal_submit import Values, prompt_of, text_of
from bot.interactions.responding import Interaction, defer, is_answered
from bot.interactions.uploaded_files import uploaded_files
from bot.locales import Texts
from bot.pictures.turns import KEPT_OF_ONE_PERSON, OF_ONE_PERSON
from bot.pictures.uploads import read_attachment
from bot.services import Services
from bot.ui.modal import Modal
from generation import prompt_flags
from generation.refusal import Refused
from generation.request_options import exact, options
from storage.drafts import Draft
from storage.errors import DatabaseError

log = structlog.get_logger(__name__)

CONTENT, AREA, STRENGTH, WORDS = "masked_content", "inpaint_area", "denoising", "mask_words"
HOW: Final = "how"
"""The field of content and area: a modal has five."""
MASK: Final = "mask"
BETWEEN: Final = "/"


def modal_of(
    custom_id: str, title: str, prompt: str, strength: float, texts: Texts, *, masked: bool = False
) -> Modal:
    """Filled in with a prompt, and how much of the part is drawn anew; `masked` where a mask was
    given with what was refused.
    """
    modal = Modal(custom_id, title)
    modal.text("prompt", texts("dialog_prompt"), value=prompt, long=True, required=True)
    about = "redraw_mask_kept" if masked else "redraw_mask_about"
    modal.file(MASK, texts("redraw_mask"), texts(about))
    modal.text(WORDS, texts("redraw_words"), placeholder=texts("redraw_words_about"))
    hows = {
        f"{content}{BETWEEN}{area}": texts(
            "redraw_how_one", content=_shown(content, texts), area=_shown(area, texts)
        )
        for area, content in itertools.product(
            *(options()[name].choices for name in (AREA, CONTENT))
        )
    }
    modal.options(HOW, texts("redraw_how"), hows, next(iter(hows)))
    return modal.text(STRENGTH, texts("redraw_strength"), value=exact(strength), required=True)


def _shown(choice: str, texts: Texts) -> str:
    return texts(f"redraw_{choice.replace(' ', '_')}")


def given_in(values: Values) -> dict[str, Any]:
    """The options that were entered beside the prompt, but for what its flags say. Raises
    Refused.
    """
    given: dict[str, Any] = {STRENGTH: options()[STRENGTH].take(text_of(values, STRENGTH))}
    chosen = values.get(HOW)
    if isinstance(chosen, list) and chosen:
        content, _, area = str(chosen[0]).partition(BETWEEN)
        given |= {CONTENT: options()[CONTENT].take(content), AREA: options()[AREA].take(area)}
    words = text_of(values, WORDS)
    if words:
        given[WORDS] = options()[WORDS].take(words)
    told = prompt_flags.parse(prompt_of(values)).given
    return {name: value for name, value in given.items() if name not in told}


def check_masked(values: Values, mask: "GivenMask") -> None:
    """Refuse where neither a mask nor words say what is drawn anew."""
    told = prompt_flags.parse(prompt_of(values)).given
    if not mask.there and not text_of(values, WORDS) and WORDS not in told:
        raise Refused("redraw_unmasked")


class GivenMask:
    """The file that came with a dialog, read once; or that of a draft, whose dialog it is."""

    def __init__(
        self,
        services: Services,
        interaction: Interaction,
        values: Values,
        draft: Draft,
    ) -> None:
        """`draft` is what is kept where it comes to nothing, but for the mask."""
        self.kept_beside: dict[str, str] = {}
        """Other pictures that were read for it since, by option."""
        self._services = services
        self._interaction = interaction
        uploads = uploaded_files(interaction, values, MASK)
        self._waiting: discord.Attachment | None = uploads[0] if uploads else None
        self._draft = draft
        self._useless = False
        self.kept = "" if uploads else draft.uploads.get(MASK, "")
        """Its hash in the store."""

    @property
    def there(self) -> bool:
        """Whether there is one, read or not."""
        return self._waiting is not None or bool(self.kept)

    async def read(self) -> str | None:
        """Its hash in the store; None where there is none. Raises Refused for what is no mask."""
        if self._waiting is not None:
            try:
                await self._read(self._waiting, OF_ONE_PERSON)
            except Refused as refused:
                # what is no mask is not tried again
                self._useless = refused.code != "uploads_too_many"
                raise
        return self.kept or None

    async def draft(self) -> tuple[Draft, Sequence[str]]:
        """All that was typed, with the mask where it can be read, whatever it was refused for."""
        lost: tuple[str, ...] = ()
        if self._waiting is not None:
            if not is_answered(self._interaction):
                await defer(self._interaction, private=True)
            try:
                if self._useless or not may_keep(self._interaction):
                    raise Refused("picture_gone")
                await self._read(self._waiting, KEPT_OF_ONE_PERSON)
            except (Refused, DatabaseError, OSError) as error:
                log.info("a mask is not kept", error=str(error))
                lost = (MASK,)
        uploads = {name: file for name, file in self._draft.uploads.items() if name != MASK}
        uploads |= self.kept_beside
        if self.kept:
            uploads[MASK] = self.kept
        return msgspec.structs.replace(self._draft, uploads=uploads), lost

    async def _read(self, attachment: discord.Attachment, most: int) -> None:
        """What is erased of the file that was uploaded, or else the mask that it is."""
        limits, person = self._services.requests.rules.limits, self._interaction.user.id
        for part in ("erased", "mask"):
            [content] = await read_attachment(
                attachment, person, self._services.decoder, limits, most, parts=(part,)
            )
            if content:
                self.kept = await self._services.store.jobs.keep_upload(content)
                self._waiting = None
                return
        raise Refused("mask_black", file=attachment.filename)


async def draft_in(
    services: Services, caller: Caller, where: Sequence[str], place: int
) -> Draft | None:
    """The draft that a dialog was opened of; None where it is of none, or that is gone."""
    number = where[place] if place < len(where) else ""
    if not (number.isascii() and number.isdigit() and len(number) < 19):
        return None
    return await services.store.drafts.get(caller.person.id, int(number))

"""The pictures of an edit by words: fetched once each, and kept with what was typed."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import discord
import msgspec
import structlog

from bot.delivery.failures import SENDING_ERRORS
from bot.interactions.keeping import may_keep
from bot.interactions.responding import Interaction, defer, is_answered
from bot.pictures.turns import KEPT_OF_ONE_PERSON, OF_ONE_PERSON
from bot.pictures.uploads import read_attachment
from bot.requests.edits import Offered, OfferedPicture, check_file, check_size
from bot.services import Services
from generation.refusal import Refused
from storage.drafts import Draft
from storage.errors import DatabaseError

log = structlog.get_logger(__name__)

DRAFT: Final = "edit_words"
"""The name of its modal."""


def picture_of(attachment: discord.Attachment) -> OfferedPicture:
    """An attachment as it is kept until it is fetched."""
    return OfferedPicture(attachment.filename, attachment=dict(attachment.to_dict()))


def draft_of(offered: Offered, values: Mapping[str, str | list[str]]) -> Draft:
    """A filled-in modal about those pictures."""
    files = {str(place): one.file for place, one in enumerate(offered.pictures) if _is_kept(one)}
    about = msgspec.json.encode(offered).decode()
    return Draft(name=DRAFT, values={**values}, uploads=files, about=about)


def offered_in(draft: Draft) -> Offered:
    """The pictures that a draft is about. Raises Refused where it is of another kind, or some of
    them are gone.
    """
    try:
        offered = msgspec.json.decode(draft.about, type=Offered)
    except msgspec.MsgspecError:
        raise Refused("draft_gone") from None
    pictures = enumerate(offered.pictures)
    if any(_is_kept(one) and str(place) not in draft.uploads for place, one in pictures):
        raise Refused("draft_gone")
    return offered


def _is_kept(one: OfferedPicture) -> bool:
    """Whether it stays because a draft names it; one of a request's stays with that."""
    return bool(one.file) and one.index is None


class EditedPictures:
    """Those that one edit is made of."""

    def __init__(
        self,
        services: Services,
        interaction: Interaction,
        offered: Offered,
        values: Mapping[str, str | list[str]],
    ) -> None:
        self.offered = offered
        self._services = services
        self._interaction = interaction
        self._values = values
        self._useless: set[int] = set()

    def check(self) -> None:
        """Refuse what Discord says is too small, before it is fetched."""
        for place in self.offered.missing:
            about = self.offered.pictures[place]
            width, height = about.attachment.get("width"), about.attachment.get("height")
            if width and height:
                check_size(about.name, (width, height))

    async def read(self) -> dict[str, str]:
        """Their hashes in the store by field of a request. Raises Refused for what is no picture,
        moves, is too small or is gone.
        """
        for place in self.offered.missing:
            try:
                await self._read(place, OF_ONE_PERSON)
            except Refused as refused:
                if refused.code != "uploads_too_many":
                    # what is no picture is not tried again
                    self._useless.add(place)
                raise
        for place in self.offered.chosen:
            one = self.offered.pictures[place]
            check_file(one.name, await self._services.store.jobs.read_upload(one.file))
        return self.offered.given

    async def draft(self) -> tuple[Draft, Sequence[str]]:
        """All that was typed, with the pictures that can be read, whatever it was refused for; the
        names of those that can't.
        """
        lost = []
        if self.offered.missing and not is_answered(self._interaction):
            await defer(self._interaction, private=True)
        for place in self.offered.missing:
            name = self.offered.pictures[place].name
            try:
                if place in self._useless or not may_keep(self._interaction):
                    raise Refused("picture_gone")
                await self._read(place, KEPT_OF_ONE_PERSON)
            except (Refused, DatabaseError, OSError) as error:
                log.info("a picture is not kept", file=name, error=str(error))
                lost.append(name)
        return draft_of(_without(self.offered, lost), self._values), tuple(lost)

    async def _read(self, place: int, most: int) -> None:
        try:
            content = await self._fetched(self._attachment(place), most)
        except Refused as refused:
            if refused.code != "picture_gone" or self.offered.message is None:
                raise
            # Discord's links are good for a day; it gives new ones, but for others' messages on
            # servers only to apps that may read all messages there, which this one does not ask for
            content = await self._fetched(await self._anew(place, self.offered.message), most)
        check_file(self.offered.pictures[place].name, content)
        file = await self._services.store.jobs.keep_upload(content)
        self.offered = self.offered.fetched(place, file)

    async def _fetched(self, attachment: discord.Attachment, most: int) -> bytes:
        services, user_id = self._services, self._interaction.user.id
        limits = services.requests.rules.limits
        (content,) = await read_attachment(attachment, user_id, services.decoder, limits, most)
        return content

    def _attachment(self, place: int) -> discord.Attachment:
        about: Any = self.offered.pictures[place].attachment
        return discord.Attachment(data=about, state=self._interaction.client._connection)

    async def _anew(self, place: int, where: tuple[int, int]) -> discord.Attachment:
        channel = self._interaction.client.get_partial_messageable(where[0])
        known = int(self.offered.pictures[place].attachment["id"])
        try:
            message = await channel.fetch_message(where[1])
        except SENDING_ERRORS as error:
            raise Refused("edit_message_gone") from error
        for attachment in message.attachments:
            if attachment.id == known:
                return attachment
        raise Refused("edit_message_gone")


def _without(offered: Offered, names: Sequence[str]) -> Offered:
    """Without those that could not be read."""
    kept = [
        place for place, one in enumerate(offered.pictures) if one.name not in names or one.file
    ]
    new = {place: number for number, place in enumerate(kept)}
    return msgspec.structs.replace(
        offered,
        pictures=tuple(offered.pictures[place] for place in kept),
        chosen=tuple(new[place] for place in offered.chosen if place in new),
    )

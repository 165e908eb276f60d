"""Pictures as Discord takes them: their files where these are small enough, else lighter copies."""

import asyncio
import io
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Literal

import discord
import msgspec
import structlog

from bot.locales import Texts
from bot.pictures import file_texts
from bot.pictures.before import BeforePictures, is_open
from bot.pictures.decoding import PictureDecoder
from generation.job import Job, JobState, Origin, PictureRecord
from generation.picture_files import INFOTEXT_CHUNK, OWN_CHUNK, carrying, suffix_of
from generation.refusal import Refused
from storage.approvals import ApprovalStore
from storage.jobs import JobStore
from storage.picture_store import PictureMissingError
from storage.settings import SettingsStore

log = structlog.get_logger(__name__)

LEVELS: Final[Sequence[tuple[int, float]]] = ((92, 1.0), (80, 1.0), (80, 0.7), (70, 0.5), (60, 0.3))
"""WebP quality and scale, each lighter than the one before."""
FILES_MAX: Final = 10
"""Discord's bound on the files of a message."""
HANDED_IN: Final = frozenset(("imagine", "imagine_this", "grid"))
"""Actions by which somebody gives control pictures themselves."""
UPLOAD_LIMIT: Final = 10 * 2**20
"""Bytes of one file that Discord takes everywhere; boosted servers take more."""


class Attachment(msgspec.Struct, frozen=True):
    """A picture as it is attached."""

    name: str
    content: bytes
    spoiler: bool = False

    def file(self) -> discord.File:
        """A new attachment; sending uses it up."""
        return discord.File(io.BytesIO(self.content), filename=self.name, spoiler=self.spoiler)


Withheld = Literal["held_back", "held_restricted", "held_awaiting", "held_denied"]
"""Why a picture is not shown in a place, as the key of its sentence: the server's check blocks it,
leaves it to age-restricted channels, has a moderator look at it first, or had one who denied it.
"""


class ShownPictures(msgspec.Struct, frozen=True):
    """The pictures of a job as they may be shown in one place."""

    attachments: tuple[Attachment, ...] = ()
    withheld: tuple[Withheld, ...] = ()
    """Of each that may not be."""
    missing: int = 0
    """How many have no file any more, or a broken one."""
    heavy: int = 0
    """How many are too large for Discord there, and can't be made lighter now."""
    lightened: bool = False
    """Whether some are lighter copies."""
    before: Attachment | None = None
    """What they were before they were edited, as one."""

    def files(self) -> list[discord.File]:
        """New attachments, what they were before first; sending uses them up."""
        first = () if self.before is None else (self.before,)
        return [attachment.file() for attachment in (*first, *self.attachments)]

    def with_beside(self, others: "ShownPictures") -> "ShownPictures":
        """With as many of others behind them as a message takes."""
        room = FILES_MAX - len(self.attachments) - (self.before is not None)
        together = (*self.attachments, *others.attachments[: max(0, room)])
        return msgspec.structs.replace(self, attachments=together)

    def remarks(self, texts: Texts) -> str:
        """What is said above pictures that are not shown as they were made."""
        found = [texts(why, count=count) for why, count in Counter(self.withheld).items()]
        if self.missing:
            found.append(texts("pictures_missing", count=self.missing))
        if self.heavy:
            found.append(texts("pictures_heavy", count=self.heavy))
        if self.lightened:
            found.append(texts("reencoded"))
        if self.before is not None:
            found.append(texts("before_after"))
        return "\n".join(found)


class JobAttachments:
    """The pictures of jobs, as far as a server's picture check lets them be shown there.

    `unsafe_from` gives the probability from which a picture is unsafe; None where nothing checks.
    """

    def __init__(
        self,
        jobs: JobStore,
        settings: SettingsStore,
        decoder: PictureDecoder,
        unsafe_from: Callable[[], float | None],
        approvals: ApprovalStore,
    ) -> None:
        self._jobs = jobs
        self._approvals = approvals
        self._settings = settings
        self._decoder = decoder
        self._unsafe_from = unsafe_from
        self._before = BeforePictures(jobs, decoder)

    @property
    def checked(self) -> bool:
        """Whether there is a picture check that a server can ask for."""
        return self._unsafe_from() is not None

    async def of(self, job: Job, where: Origin | None = None) -> ShownPictures:
        """What a finished job may show.

        `where` is the place where they are shown, unless it is where they were asked for.
        """
        if job.state is not JobState.FINISHED:
            return ShownPictures()
        # who looks through their history has no moderator asked about all of it
        asks = where is not None or job.delivered_at is None
        found: list[Attachment] = []
        withheld: list[Withheld] = []
        missing = 0
        for picture in job.showing:
            try:
                shown = await self._read(job, picture, where or job.origin, asks=asks)
            except PictureMissingError:
                if not picture.removed:
                    log.error("picture file is gone", job=job.id, file=picture.file)
                missing += 1
                continue
            if isinstance(shown, Attachment):
                found.append(shown)
            else:
                withheld.append(shown)
        before = None
        if found and len(found) < FILES_MAX:
            before = await self._what_was(job, where or job.origin)
        every = ShownPictures(tuple(found), tuple(withheld), missing, before=before)
        if found and job.request.show_control == "on":
            every = every.with_beside(await self.controls(job, where or job.origin, asks=asks))
        return every

    async def controls(self, job: Job, where: Origin, *, asks: bool = True) -> ShownPictures:
        """What the ControlNets of a job were shown, as far as that may be seen there: what was
        handed in to a private request by its owner alone.
        """
        theirs = where.private and where.user_id == job.origin.user_id
        if job.origin.private and not theirs:
            return ShownPictures()
        if not await is_open(job, self._jobs, HANDED_IN):
            return ShownPictures()
        found: list[Attachment] = []
        withheld: list[Withheld] = []
        missing = 0
        for number, picture in enumerate(job.controls_seen, 1):
            try:
                shown = await self._read(job, picture, where, asks=asks)
            except PictureMissingError:
                missing += 1
                continue
            if isinstance(shown, Attachment):
                name = f"darkroom-{job.id}-control-{number}.png"
                found.append(msgspec.structs.replace(shown, name=name))
            else:
                withheld.append(shown)
        return ShownPictures(tuple(found), tuple(withheld), missing)

    async def _what_was(self, job: Job, where: Origin) -> Attachment | None:
        """What the pictures were before they were edited, as far as that may be seen there."""
        check = (await self._settings.guild(where.guild_id)).picture_check
        content = await self._before.of(job, where, check, self._unsafe_from())
        if not content:
            return None
        spoiler = where.spoiler or check == "blur"
        return Attachment(f"darkroom-{job.id}-before.webp", content, spoiler)

    async def to_approve(self, job: Job) -> ShownPictures:
        """The pictures of a job for a moderator who is to approve them, as spoilers."""
        found: list[Attachment] = []
        missing = 0
        for picture in job.showing:
            try:
                found.append(await self._attachment(job, picture, spoiler=True))
            except PictureMissingError:
                missing += 1
        shown = ShownPictures(tuple(found), missing=missing)
        if job.request.show_control == "on":
            # what is approved is shown with the pictures
            files = [await self._control_file(job, one) for one in job.controls_seen]
            shown = shown.with_beside(ShownPictures(tuple(filter(None, files))))
        return shown

    async def _control_file(self, job: Job, seen: PictureRecord) -> Attachment | None:
        try:
            return await self._attachment(job, seen, spoiler=True)
        except PictureMissingError:
            return None

    async def one(
        self, job: Job, picture: PictureRecord, where: Origin, limit: int
    ) -> ShownPictures:
        """One picture as `where` shows it, of at most `limit` bytes.

        Raises Refused for one that is gone, held back or can't be made so light.
        """
        try:
            shown = await self._read(job, picture, where, asks=True)
        except PictureMissingError:
            raise Refused("own_picture_gone", job=job.id) from None
        if not isinstance(shown, Attachment):
            raise Refused(f"picture_{shown}")
        fitted = await self.within(ShownPictures((shown,)), limit)
        if fitted.missing:
            raise Refused("own_picture_gone", job=job.id)
        if fitted.heavy:
            raise Refused("own_picture_heavy", job=job.id)
        return fitted

    async def within(self, shown: ShownPictures, limit: int) -> ShownPictures:
        """With lighter copies of those over `limit` bytes, where these can be made."""
        return await self._copied(shown, lambda one: self._fitting(one, limit))

    async def lighter(self, shown: ShownPictures, level: int) -> ShownPictures:
        """With lighter copies of all, at a level of LEVELS, where these can be made, and nothing
        beside them.
        """
        alone = msgspec.structs.replace(shown, before=None)
        return await self._copied(alone, lambda one: self._lighter(one, *LEVELS[level]))

    async def _copied(
        self, shown: ShownPictures, copy: Callable[[Attachment], Awaitable[Attachment]]
    ) -> ShownPictures:
        """With copies in place of all, but for those that none can be made of."""
        copies: list[Attachment] = []
        missing, heavy, lightened = shown.missing, shown.heavy, shown.lightened
        for one in shown.attachments:
            try:
                copies.append(await copy(one))
            except Refused as refused:
                log.error("a picture can't be made lighter", file=one.name, why=refused.code)
                broken = refused.code == "picture_unreadable"
                missing, heavy = missing + broken, heavy + (not broken)
            else:
                lightened |= copies[-1] != one
        return msgspec.structs.replace(
            shown,
            attachments=tuple(copies),
            missing=missing,
            heavy=heavy,
            lightened=lightened,
        )

    async def may_preview(self, job: Job) -> bool:
        """Whether half-drawn pictures are shown, which no picture check has seen."""
        return (await self._settings.guild(job.origin.guild_id)).picture_check == "off"

    async def _read(
        self, job: Job, picture: PictureRecord, where: Origin, *, asks: bool
    ) -> Attachment | Withheld:
        """A picture, or why it may not be shown there; with `asks` a moderator is asked where one
        has to be.
        """
        check = (await self._settings.guild(where.guild_id)).picture_check
        unsafe = self._is_unsafe(picture)
        if check == "hold_all" or (check == "hold" and unsafe):
            why = await self._held(job, where, asks=asks)
            if why is not None:
                return why
        elif unsafe and check == "block":
            return "held_back"
        elif unsafe and check == "restricted" and not where.age_restricted:
            return "held_restricted"
        return await self._attachment(
            job, picture, spoiler=where.spoiler or (unsafe and check == "blur")
        )

    async def _held(self, job: Job, where: Origin, *, asks: bool) -> Withheld | None:
        """Why a picture that a moderator has to approve is not shown; None where one has."""
        guild_id = job.origin.guild_id
        if job.origin.private or guild_id is None or guild_id != where.guild_id:
            # nobody else reads a private request, and on another server it was not asked for
            return "held_back"
        approval = await self._approvals.of(job.id)
        if approval is None:
            if asks:
                # until its result is delivered there is nothing to point to
                now = job.delivered_at is not None
                await self._approvals.ask(job.id, guild_id, now=now)
            return "held_awaiting"
        if approval.verdict == "approved":
            return None
        return "held_denied" if approval.verdict == "denied" else "held_awaiting"

    async def _attachment(self, job: Job, picture: PictureRecord, *, spoiler: bool) -> Attachment:
        content = await self._jobs.read_picture(picture)
        name = f"darkroom-{job.id}-{picture.index + 1}{suffix_of(content)}"
        return Attachment(name, content, spoiler)

    async def _fitting(self, original: Attachment, limit: int) -> Attachment:
        shown = original
        for quality, scale in LEVELS:
            if len(shown.content) <= limit:
                break
            shown = await self._lighter(original, quality, scale)
        return shown

    async def _lighter(self, shown: Attachment, quality: int, scale: float) -> Attachment:
        light = await self._decoder.lightened(shown.content, quality, scale, shown.name)
        content = await asyncio.to_thread(_carrying, light, shown)
        return Attachment(f"{shown.name.rsplit('.', 1)[0]}.webp", content, shown.spoiler)

    def _is_unsafe(self, picture: PictureRecord) -> bool:
        """A picture that nothing has looked at counts as unsafe where a check is asked for."""
        unsafe_from = self._unsafe_from()
        if unsafe_from is None or picture.unsafe is None:
            return True
        return picture.unsafe >= unsafe_from


def _carrying(copy: bytes, original: Attachment) -> bytes:
    """A lighter copy with what the picture's file says of how it was made. Blocks."""
    try:
        found = file_texts.texts(original.content, original.name)
        infotext = found.get(INFOTEXT_CHUNK) or found["UserComment"]
        return carrying(copy, infotext, found[OWN_CHUNK].encode())
    except (Refused, KeyError):
        # one that says nothing, or is damaged
        return copy


def upload_limit(client: discord.Client, origin: Origin) -> int:
    """Bytes of one file that Discord takes where a job was asked for."""
    guild = client.get_guild(origin.guild_id) if origin.guild_id is not None else None
    return guild.filesize_limit if guild is not None else UPLOAD_LIMIT

"""How long pictures and requests are kept, and what goes: oldest first, never a favourite."""

import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Final

import msgspec
import structlog
from msgspec import Meta
from sqlalchemy import Connection, delete, exists, func, or_, select, update
from sqlalchemy.orm import aliased

from generation.job import ENDED, JobState
from storage import personal_data, records
from storage.clock import Now, machine_time
from storage.database import Database
from storage.grids import DONE
from storage.personal_data import CHUNK, CHUNK_SECONDS, DAY, Deleted, PersonalStore
from storage.picture_store import PictureStore
from storage.settings import GuildSettings
from storage.tables import (
    ApprovalRow,
    FavouriteRow,
    GridRow,
    JobRow,
    OwedRow,
    PictureRow,
    SettingsRow,
)

log = structlog.get_logger(__name__)

GIB: Final = 2**30
Days = Annotated[int, Meta(ge=0, le=36_500)]


class RetentionSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[retention]`. 0 is for ever, and no bound."""

    pictures: Days = 0
    """Days for which pictures are kept that nobody has given a star."""
    prompts: Days = 0
    """Days for which whole requests are kept that have no picture with a star."""
    disk_gib: Annotated[float, Meta(ge=0, le=1_000_000)] = 0.0
    """What all pictures together may take."""


class Gone(msgspec.Struct, frozen=True):
    """What went. `messages` are (channel id, message id), still on Discord. `too_much` is by how
    many bytes what has to stay exceeds the bound. `elsewhere`: another process is at it.
    """

    pictures: int = 0
    jobs: int = 0
    messages: tuple[tuple[int, int], ...] = ()
    too_much: int = 0
    elsewhere: bool = False


class RetentionStore:
    """Lets go of what is old, some at a time beside what others do."""

    def __init__(
        self,
        database: Database,
        files: PictureStore,
        personal: PersonalStore,
        now: Now = machine_time,
    ) -> None:
        self._database = database
        self._files = files
        self._personal = personal
        self._now = now

    async def keep_to(self, settings: RetentionSettings) -> Gone:
        """Let go of what is older than the bot's owner, or a server's managers, want it kept; then
        of the oldest pictures, until the others are within the bound.

        Jobs that wait, run, are not delivered yet or are held stay, and so do those that such jobs
        came from. Of several processes one does this at a time.
        """
        async with self._database.alone("retention") as alone:
            return await self._keep_to(settings) if alone else Gone(elsewhere=True)

    async def _keep_to(self, settings: RetentionSettings) -> Gone:
        jobs = pictures = 0
        messages: list[tuple[int, int]] = []
        servers = await self._database.read(_servers_with_a_wish)
        for guild_id, own in ((None, GuildSettings()), *servers):
            days = _stricter(settings.prompts, own.keep_prompts)
            if days and (guild_id is None or days != settings.prompts):
                gone = await self._delete_jobs(guild_id, days)
                jobs, messages = jobs + gone.jobs, [*messages, *gone.messages]
            days = _stricter(settings.pictures, own.keep_pictures)
            if days and (guild_id is None or days != settings.pictures):
                pictures += await self._remove_pictures(guild_id, days)
        too_much = 0
        if settings.disk_gib:
            freed, too_much = await self._keep_within(round(settings.disk_gib * GIB))
            pictures += freed
        return Gone(pictures, jobs, tuple(messages), too_much)

    async def _delete_jobs(self, guild_id: int | None, days: int) -> Deleted:
        """As whoever asked would delete them, with their messages."""
        before = self._now() - timedelta(days=days)
        last = await self._last_before(before)
        steps = _Steps()
        jobs = 0
        messages: list[tuple[int, int]] = []

        def next_ones(connection: Connection) -> Sequence[int]:
            old = (
                select(JobRow.id)
                .where(*_free(guild_id, before), JobRow.id > steps.last, JobRow.id <= last)
                .order_by(JobRow.id)
                .limit(steps.size)
            )
            return connection.execute(old).scalars().all()

        def some(connection: Connection, ids: Sequence[int]) -> tuple[Deleted, set[str]]:
            # somebody may have given one a star meanwhile
            still = select(JobRow.id, JobRow.grid_id).where(
                JobRow.id.in_(ids), *_free(guild_id, before)
            )
            rows = connection.execute(still).all()
            ids = [row[0] for row in rows]
            found = personal_data.delete_jobs(connection, ids, self._now())
            grids = {row[1] for row in rows if row[1] is not None}
            if grids:
                drawn = exists().where(JobRow.grid_id == GridRow.id)
                connection.execute(delete(GridRow).where(GridRow.id.in_(grids), ~drawn))
            return found

        while ids := await self._database.read(next_ones):
            deleted, files = await self._database.write(steps.timed(some, ids))
            jobs += deleted.jobs
            messages += deleted.messages
            await self._personal.remove_unused(files, DAY)
        return Deleted(jobs, 0, tuple(messages))

    async def _remove_pictures(self, guild_id: int | None, days: int) -> int:
        count = 0
        before = self._now() - timedelta(days=days)
        async for files in self._pictures_let_go(guild_id, before, _Steps()):
            count += len(files)
            await self._personal.remove_unused(files, DAY)
        return count

    async def _keep_within(self, bound: int) -> tuple[int, int]:
        """How many pictures went, and how many bytes are still too many."""
        total = 0
        async for some in self._files.sizes():
            total += sum(some)
        if total <= bound:
            return 0, 0
        count = freed = jobs = 0
        steps = _Steps(most=1)
        async for files in self._pictures_let_go(None, self._now(), steps):
            count += len(files)
            jobs += steps.taken
            sizes = await self._files.sizes_of(files)
            freed += sum(sizes[file] for file in await self._personal.remove_unused(files, DAY))
            over = total - freed - bound
            if over <= 0:
                return count, 0
            # no more jobs than it takes, by what each of the others had
            steps.most = over * jobs // freed if freed else 2 * jobs
        return count, total - freed - bound

    async def _pictures_let_go(
        self, guild_id: int | None, before: datetime, steps: "_Steps"
    ) -> AsyncIterator[Sequence[str]]:
        """Files that jobs of before a moment name no more, oldest first, a few at a time."""
        last = await self._last_before(before)

        def next_ones(connection: Connection) -> Sequence[int]:
            old = (
                select(PictureRow.job_id)
                .join(JobRow, JobRow.id == PictureRow.job_id)
                .where(
                    *_free(guild_id, before),
                    JobRow.state == JobState.FINISHED,
                    PictureRow.removed.is_(False),
                    PictureRow.job_id > steps.last,
                    PictureRow.job_id <= last,
                )
                .group_by(PictureRow.job_id)
                .order_by(PictureRow.job_id)
                .limit(steps.size)
            )
            return connection.execute(old).scalars().all()

        def some(connection: Connection, ids: Sequence[int]) -> Sequence[str]:
            still = select(JobRow.id).where(JobRow.id.in_(ids), *_free(guild_id, before))
            of_them = PictureRow.job_id.in_(connection.execute(still).scalars().all())
            files = connection.execute(select(PictureRow.file).where(of_them)).scalars().all()
            connection.execute(update(PictureRow).where(of_them).values(removed=True))
            return files

        while ids := await self._database.read(next_ones):
            yield await self._database.write(steps.timed(some, ids))

    async def _last_before(self, moment: datetime) -> int:
        """The number of the last job of before a moment."""
        newest = select(func.max(JobRow.id)).where(JobRow.created_at < moment)
        return await self._database.read(lambda c: c.execute(newest).scalar() or 0)


class _Steps:
    """How far it is, and how many jobs the next transaction takes, for it must be short.

    They are looked for before it, as that may take long, and readers keep nobody waiting.
    """

    def __init__(self, most: int = CHUNK) -> None:
        self.last = 0
        self.taken = 0
        """Jobs of the last one."""
        self.most = most
        """Jobs that the next may take, though it took no longer."""
        self._wanted = float(CHUNK)

    @property
    def size(self) -> int:
        return max(1, min(round(self._wanted), self.most))

    def timed(
        self, work: Callable[[Connection, Sequence[int]], Any], ids: Sequence[int]
    ) -> Callable[[Connection], Any]:
        """`work` with these jobs."""

        def worked(connection: Connection) -> Any:
            begun = time.monotonic()
            found = work(connection, ids)
            self.last, self.taken = ids[-1], len(ids)
            seconds = max(time.monotonic() - begun, 0.001)
            self._wanted = min(CHUNK, max(1, self._wanted * min(2, CHUNK_SECONDS / seconds)))
            return found

        return worked


def _free(guild_id: int | None, before: datetime) -> Iterator[Any]:
    """What holds for jobs of before a moment that nobody waits for, or has given a star."""
    other = aliased(JobRow)
    yield JobRow.created_at < before
    yield JobRow.state.in_(ENDED)
    yield JobRow.delivered_at.is_not(None)
    yield ~exists().where(FavouriteRow.job_id == JobRow.id)
    yield ~exists().where(OwedRow.job_id == JobRow.id)
    held = or_(ApprovalRow.verdict == "waiting", ApprovalRow.told.is_(False))
    yield ~exists().where(ApprovalRow.job_id == JobRow.id, held)
    unfinished = or_(other.state.not_in(ENDED), other.delivered_at.is_(None))
    yield ~exists().where(other.parent_id == JobRow.id, unfinished)
    yield ~exists().where(GridRow.id == JobRow.grid_id, GridRow.state != DONE)
    if guild_id is not None:
        yield JobRow.guild_id == guild_id


def _stricter(days: int, own: int | None) -> int:
    """Days, where 0 and None are for ever."""
    return min((each for each in (days, own or 0) if each), default=0)


def _servers_with_a_wish(connection: Connection) -> list[tuple[int, GuildSettings]]:
    """Servers that say how long something is kept."""
    kept = records.text_of(SettingsRow.values, connection.dialect)
    wishes = select(SettingsRow.id, kept).where(
        SettingsRow.scope == "guild", SettingsRow.values.contains('"keep_')
    )
    found = []
    for guild_id, text in connection.execute(wishes):
        try:
            own = records.decoded(text, GuildSettings)
        except records.RecordUnreadableError:
            own = GuildSettings(**records.readable_fields(text, GuildSettings))
        found.append((guild_id, own))
    return found

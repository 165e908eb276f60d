"""What somebody has had drawn: pages of it, searches, families, favourites."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import structlog
from sqlalchemy import Connection, Select, delete, exists, func, insert, literal, select
from sqlalchemy.orm import aliased

from generation.job import Job, JobState
from storage import job_rows, records, search
from storage.database import Database
from storage.inserting import insert_into
from storage.job_reader import VISIBLE, JobReader
from storage.job_rows import JOB_COLUMNS
from storage.records import RecordUnreadableError
from storage.tables import FavouriteRow, JobRow, QueryRow

log = structlog.get_logger(__name__)

FAMILY_MAX = 100
"""Jobs of a tree."""
QUERIES_MAX = 200
"""Searches that are kept of one person; the oldest go."""


class Query(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is looked for. Empty fields leave everything in."""

    search: str = ""
    model: str = ""
    preset: str = ""
    """What it was called when they were made."""
    preset_id: int | None = None
    """Its number, in place of the name: also what was made when it was called otherwise."""
    preset_own: bool | None = None
    """Whether it is one's own or a server's; None where that doesn't matter."""
    favourites: bool = False


class Page(msgspec.Struct, frozen=True):
    """Some jobs, newest first, and whether there are newer and older ones."""

    jobs: tuple[Job, ...]
    newer: bool
    older: bool


class HistoryStore:
    """People's finished jobs."""

    def __init__(self, database: Database, jobs: JobReader) -> None:
        self._database = database
        self._jobs = jobs

    async def page(
        self,
        user_id: int,
        query: Query,
        *,
        before: int | None = None,
        after: int | None = None,
        limit: int = 10,
    ) -> Page:
        """The newest page; or the one older than job `before`, or newer than job `after`."""

        def page(connection: Connection) -> Page:
            statement, key = _matching(connection, user_id, query)
            if after is not None:
                nearest = statement.where(key > after).order_by(key).limit(limit + 1)
                found = job_rows.jobs_of(connection, nearest)
                jobs = sorted(found[:limit], key=lambda job: -job.id)
                older = _any(connection, statement.where(key <= after))
                return Page(tuple(jobs), len(found) > limit, older)
            wanted = statement if before is None else statement.where(key < before)
            found = job_rows.jobs_of(connection, wanted.order_by(key.desc()).limit(limit + 1))
            newer = before is not None and _any(connection, statement.where(key >= before))
            return Page(tuple(found[:limit]), newer, len(found) > limit)

        return await self._database.read(page)

    async def models(self, user_id: int) -> list[str]:
        """The models that somebody has drawn with."""
        # from one model to the next in the index, however many jobs there are of each
        own = (JobRow.user_id == user_id, VISIBLE)
        first = select(func.min(JobRow.model).label("model")).where(*own)
        found = first.cte("found", recursive=True)
        following = select(func.min(JobRow.model)).where(*own, JobRow.model > found.c.model)
        found = found.union_all(
            select(following.scalar_subquery()).where(found.c.model.is_not(None))
        )
        statement = select(found.c.model).where(found.c.model.is_not(None))
        found_there = await self._database.read(lambda c: list(c.execute(statement).scalars()))
        # a picture that was not drawn here has none
        return sorted(filter(None, found_there))

    async def tree(self, job_id: int) -> list[tuple[int, Job]]:
        """All relatives of a job by their depth below the first, each under its parent."""
        rising = (
            select(JobRow.id, JobRow.parent_id, literal(0).label("height"))
            .where(JobRow.id == job_id)
            .cte("rising", recursive=True)
        )
        rising = rising.union_all(
            select(JobRow.id, JobRow.parent_id, rising.c.height + 1).join(
                rising, JobRow.id == rising.c.parent_id
            )
        )
        root = select(rising.c.id).order_by(rising.c.height.desc()).limit(1).scalar_subquery()
        family = select(JobRow.id).where(JobRow.id == root).cte("family", recursive=True)
        family = family.union_all(select(JobRow.id).join(family, JobRow.parent_id == family.c.id))
        statement = (
            select(*JOB_COLUMNS)
            .where(JobRow.id.in_(select(family.c.id)), VISIBLE)
            .order_by(JobRow.id)
            .limit(FAMILY_MAX)
        )
        return _nested(await self._jobs.matching(statement))

    # favourites

    async def is_favourite(self, user_id: int, job_id: int, position: int) -> bool:
        """Whether a picture has somebody's star."""
        star = select(FavouriteRow.job_id).where(*_star(user_id, job_id, position))
        return await self._database.read(lambda c: _any(c, star))

    async def set_favourite(self, user_id: int, job_id: int, position: int, on: bool) -> None:
        """Give a picture somebody's star, or take it away."""
        statement: Any = delete(FavouriteRow).where(*_star(user_id, job_id, position))
        if on:
            row = insert_into(self._database.dialect, FavouriteRow).values(
                user_id=user_id, job_id=job_id, position=position, created_at=datetime.now(UTC)
            )
            statement = row.on_conflict_do_nothing()
        await self._database.write(lambda connection: connection.execute(statement))

    # searches

    async def keep_query(self, user_id: int, query: Query) -> int:
        """Note what somebody looks for; returns the number that their pages know it by."""
        async with self._database.begin() as connection:
            result = await connection.execute(
                insert(QueryRow)
                .values(user_id=user_id, query=msgspec.json.encode(query).decode())
                .returning(QueryRow.id)
            )
            number = int(result.scalar_one())
            kept = (
                select(QueryRow.id)
                .where(QueryRow.user_id == user_id)
                .order_by(QueryRow.id.desc())
                .limit(QUERIES_MAX)
            )
            await connection.execute(
                delete(QueryRow).where(QueryRow.user_id == user_id, QueryRow.id.not_in(kept))
            )
        return number

    async def query(self, number: int, user_id: int) -> Query | None:
        """What somebody's pages look for."""
        kept = records.text_of(QueryRow.query, self._database.dialect)
        statement = select(kept).where(QueryRow.id == number, QueryRow.user_id == user_id)
        found = await self._database.read(lambda c: c.execute(statement).scalar_one_or_none())
        try:
            return None if found is None else records.decoded(found, Query)
        except RecordUnreadableError as error:
            log.error("a search can't be read", number=number, error=str(error))
            return None


def _matching(connection: Connection, user_id: int, query: Query) -> tuple[Select[Any], Any]:
    """The jobs that are looked for, and the column that says where each stands in time."""
    statement = select(*JOB_COLUMNS).where(
        JobRow.user_id == user_id, JobRow.state == JobState.FINISHED, VISIBLE
    )
    if query.model:
        statement = statement.where(JobRow.model == query.model)
    if query.preset_id is not None:
        statement = statement.where(JobRow.preset_id == query.preset_id)
    elif query.preset:
        statement = statement.where(JobRow.preset == query.preset)
        if query.preset_own is not None:
            statement = statement.where(JobRow.preset_own == query.preset_own)
    key: Any = JobRow.id
    if query.favourites:
        # one star of each job, in the order of their index
        key, another = FavouriteRow.job_id, aliased(FavouriteRow)
        first = ~exists().where(
            another.user_id == user_id,
            another.job_id == FavouriteRow.job_id,
            another.position < FavouriteRow.position,
        )
        statement = statement.join(FavouriteRow, FavouriteRow.job_id == JobRow.id)
        statement = statement.where(FavouriteRow.user_id == user_id, first)
    statement, found = search.matching(statement, connection, user_id, query.search)
    return statement, key if found is None else found


def _any(connection: Connection, statement: Select[Any]) -> bool:
    return connection.execute(statement.limit(1)).first() is not None


def _star(user_id: int, job_id: int, position: int) -> tuple[Any, ...]:
    return (
        FavouriteRow.user_id == user_id,
        FavouriteRow.job_id == job_id,
        FavouriteRow.position == position,
    )


def _nested(jobs: Sequence[Job]) -> list[tuple[int, Job]]:
    """Jobs by depth, each under its parent; parents have smaller numbers than their children."""
    known = {job.id for job in jobs}
    children: dict[int | None, list[Job]] = {}
    for job in jobs:
        children.setdefault(job.parent if job.parent in known else None, []).append(job)
    found: list[tuple[int, Job]] = []

    def walk(parent: int | None, depth: int) -> None:
        for job in children.get(parent, []):
            found.append((depth, job))
            walk(job.id, depth + 1)

    walk(None, 0)
    return found

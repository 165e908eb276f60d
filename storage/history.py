"""What somebody has had drawn: pages of it, searches, families, favourites."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy import Select, delete, exists, insert, literal, select
from sqlalchemy.ext.asyncio import AsyncEngine

from generation.job import Job, JobState
from storage.jobs import JOBS, JobStore
from storage.tables import FavouriteRow, JobRow, QueryRow

FAMILY_MAX = 100
"""Jobs of a tree."""
QUERIES_MAX = 200
"""Searches that are kept of one person; the oldest go."""


class Query(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is looked for. Empty fields leave everything in."""

    search: str = ""
    model: str = ""
    preset: str = ""
    favourites: bool = False


class Page(msgspec.Struct, frozen=True):
    """Some jobs, newest first, and whether there are newer and older ones."""

    jobs: tuple[Job, ...]
    newer: bool
    older: bool


class HistoryStore:
    """People's finished jobs."""

    def __init__(self, database: AsyncEngine, jobs: JobStore) -> None:
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
        statement = self._matching(user_id, query)
        if after is not None:
            nearest = statement.where(JobRow.id > after).order_by(JobRow.id).limit(limit + 1)
            found = await self._jobs.matching(nearest)
            more = len(found) > limit
            jobs = sorted(found[:limit], key=lambda job: -job.id)
            older = await self._any(statement.where(JobRow.id <= after))
            return Page(tuple(jobs), more, older)
        wanted = statement if before is None else statement.where(JobRow.id < before)
        found = await self._jobs.matching(wanted.order_by(JobRow.id.desc()).limit(limit + 1))
        newer = before is not None and await self._any(statement.where(JobRow.id >= before))
        return Page(tuple(found[:limit]), newer, len(found) > limit)

    async def models(self, user_id: int) -> list[str]:
        """The models that somebody has drawn with."""
        statement = select(JobRow.model).where(JobRow.user_id == user_id).distinct()
        async with self._database.connect() as connection:
            return sorted((await connection.execute(statement)).scalars())

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
            select(*JOBS.c)
            .where(JobRow.id.in_(select(family.c.id)))
            .order_by(JobRow.id)
            .limit(FAMILY_MAX)
        )
        return _nested(await self._jobs.matching(statement))

    # favourites

    async def is_favourite(self, user_id: int, job_id: int, position: int) -> bool:
        """Whether a picture has somebody's star."""
        return await self._any(select(FavouriteRow.job_id).where(*_star(user_id, job_id, position)))

    async def set_favourite(self, user_id: int, job_id: int, position: int, on: bool) -> None:
        """Give a picture somebody's star, or take it away."""
        async with self._database.begin() as connection:
            await connection.execute(delete(FavouriteRow).where(*_star(user_id, job_id, position)))
            if on:
                await connection.execute(
                    insert(FavouriteRow).values(
                        user_id=user_id,
                        job_id=job_id,
                        position=position,
                        created_at=datetime.now(UTC),
                    )
                )

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
        statement = select(QueryRow.query).where(QueryRow.id == number, QueryRow.user_id == user_id)
        async with self._database.connect() as connection:
            found = (await connection.execute(statement)).scalar_one_or_none()
        return None if found is None else msgspec.json.decode(found, type=Query)

    def _matching(self, user_id: int, query: Query) -> Select[Any]:
        statement = select(*JOBS.c).where(
            JobRow.user_id == user_id, JobRow.state == JobState.FINISHED
        )
        for word in query.search.casefold().split():
            statement = statement.where(JobRow.words.contains(word, autoescape=True))
        if query.model:
            statement = statement.where(JobRow.model == query.model)
        if query.preset:
            statement = statement.where(JobRow.preset == query.preset)
        if query.favourites:
            starred = exists().where(
                FavouriteRow.user_id == user_id, FavouriteRow.job_id == JobRow.id
            )
            statement = statement.where(starred)
        return statement

    async def _any(self, statement: Select[Any]) -> bool:
        async with self._database.connect() as connection:
            return (await connection.execute(statement.limit(1))).first() is not None


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

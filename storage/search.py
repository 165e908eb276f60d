"""Finding prompts by their words: what a database offers for it is chosen here alone.

SQLite has a full-text table of trigrams, `jobs_search`, kept by triggers. PostgreSQL has an index
of trigrams on `jobs.words` where its server allows one. Both find the same: jobs whose prompt has
every word somewhere in it.
"""

from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Select, column, func, select, table

from generation.job import JobState
from storage.tables import JobRow

TRIGRAM: Final = 3
"""Characters from which a word can be looked up; a shorter one is looked for among recent jobs."""
RECENT: Final = 1000
"""Finished jobs of a person among which short words are looked for."""
FEW: Final = 500
"""Finished jobs of a person who has no more than this many, which are looked through one by one:
that is faster than to go through lists of everybody's jobs.
"""
LOOKED_UP: Final = 8
"""Trigrams of one word that are looked up; what they find is compared with the whole word."""
FULL_TEXT: Final = table("jobs_search", column("rowid"), column("jobs_search"))
OWNED: Final = ("jobs_search",)
"""What the schema has beside the tables that the code declares; with `_` also the parts of it."""


def matching(
    statement: Select[Any], connection: Connection, user_id: int, search: str
) -> tuple[Select[Any], Any]:
    """Of a query for somebody's finished jobs, those whose prompt has each word of `search`.

    Also returns the column to order and bound by, where it is not the jobs' own number.
    """
    words = search.casefold().split()
    for word in words:
        statement = statement.where(JobRow.words.contains(word, autoescape=True))
    long = [word for word in words if len(word) >= TRIGRAM]
    if not long:
        return (statement.where(_recent(user_id)) if words else statement), None
    if connection.dialect.name != "sqlite" or _has_few(connection, user_id):
        return statement, None
    statement = statement.join(FULL_TEXT, FULL_TEXT.c.rowid == JobRow.id)
    looked_for = FULL_TEXT.c.jobs_search.op("MATCH")(_expression(user_id, long))
    return statement.where(looked_for), FULL_TEXT.c.rowid


def is_ours(name: str | None) -> bool:
    """Whether a table or index is of the search, which no declared table tells of."""
    return name is not None and any(name == own or name.startswith(f"{own}_") for own in OWNED)


def _newest(user_id: int) -> Select[Any]:
    return (
        select(JobRow.id)
        .where(JobRow.user_id == user_id, JobRow.state == JobState.FINISHED)
        .order_by(JobRow.id.desc())
    )


def _has_few(connection: Connection, user_id: int) -> bool:
    return connection.execute(_newest(user_id).offset(FEW).limit(1)).first() is None


def _recent(user_id: int) -> ColumnElement[bool]:
    newest = _newest(user_id).limit(RECENT).subquery()
    return JobRow.id >= select(func.min(newest.c.id)).scalar_subquery()


def _expression(user_id: int, words: list[str]) -> str:
    """In FTS5's language: this person's jobs with these words' trigrams."""
    trigrams: dict[str, None] = {}
    longest = max(reversed(words), key=len)
    for word in words:
        # each is a list to go through, and fewer leave more jobs to look through: close together
        # in the longest word, the likeliest to be rare, and side by side from the end in others
        last = len(word) - TRIGRAM
        close, apart = [*range(last, 0, -2), 0], list(range(last, -1, -TRIGRAM))
        places = close if word == longest else apart
        trigrams |= dict.fromkeys(word[place : place + TRIGRAM] for place in places[:LOOKED_UP])
    quoted = " AND ".join('"' + trigram.replace('"', '""') + '"' for trigram in trigrams)
    return f'owner : "{_owner(user_id)}" AND words : ({quoted})'


def _owner(user_id: int) -> str:
    """A person as one trigram, as the triggers write it. Two may share one: it only narrows."""
    digits = (user_id, user_id // 20000, user_id // 400_000_000)
    return "".join(chr(19968 + digit % 20000) for digit in digits)

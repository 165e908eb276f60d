"""The tables. Requests and the like are one JSON column each, decoded strictly on the way out."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from sqlalchemy import (
    BigInteger,
    Boolean,
    Float,
    ForeignKey,
    Index,
    Integer,
    String,
    Text,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

from generation.description import Description
from generation.grids import GridPlan
from generation.job import Failure, JobState, Origin, Provenance
from generation.preset import Preset
from generation.request import GenerationRequest


def moment(microseconds: int) -> datetime:
    """An aware datetime as UtcDateTime keeps it: microseconds since 1970."""
    return datetime.fromtimestamp(microseconds / 1_000_000, UTC)


class UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime, kept as microseconds since 1970 so that every database sorts it alike."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        return None if value is None else round(value.timestamp() * 1_000_000)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        return None if value is None else moment(value)


class Json(TypeDecorator[Any]):
    """A msgspec type as JSON text."""

    impl = Text
    cache_ok = True

    def __init__(self, type_: Any) -> None:
        super().__init__()
        self.type_ = type_
        self._decode: Callable[[str], Any] = msgspec.json.Decoder(type_).decode

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return None if value is None else msgspec.json.encode(value).decode()

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        return None if value is None else self._decode(value)


class State(TypeDecorator[JobState]):
    """A job's state by its name."""

    impl = String(16)
    cache_ok = True

    def process_bind_param(self, value: JobState | None, dialect: Dialect) -> str | None:
        return None if value is None else JobState(value).value

    def process_result_value(self, value: str | None, dialect: Dialect) -> JobState | None:
        return None if value is None else JobState(value)


class Table(DeclarativeBase):
    """The base of all tables."""


Id = BigInteger().with_variant(Integer, "sqlite")
"""SQLite numbers rows by itself only where the type is INTEGER to the letter."""


class JobRow(Table):
    """One job. `user_id` to `channel_id` repeat the origin's, `model` to `image_count` the
    request's, for queries. `words` is the prompt in folded case, so that a search finds it in any
    script; of one that described a picture, what was seen. `asked_by` names what asked, so that an
    event that comes twice makes one job. `preset` is what the preset was called then, `preset_id`
    its number. `process` is the bot's process that was asked, and delivers. `worker` has it or had
    it last, by the claim that `lease` counts: what an earlier one tells of it is not heard.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        Index("jobs_by_state", "state", "id"),
        Index("jobs_by_user", "user_id", "id"),
        Index("jobs_by_user_state", "user_id", "state", "id"),
        Index("jobs_by_user_model", "user_id", "model", "state", "id"),
        Index(
            "jobs_by_user_preset",
            *("user_id", "preset", "state", "id"),
            sqlite_where=text("preset IS NOT NULL"),
            postgresql_where=text("preset IS NOT NULL"),
        ),
        Index(
            "jobs_by_preset",
            *("preset_id", "user_id", "state", "id"),
            sqlite_where=text("preset_id IS NOT NULL"),
            postgresql_where=text("preset_id IS NOT NULL"),
        ),
        # all that a quota asks for, so that it is read from the index alone
        Index("jobs_by_quota", "user_id", "guild_id", "created_at", "state", "image_count"),
        Index("jobs_by_time", "created_at", "state"),
        Index(
            "jobs_undelivered",
            *("state", "id"),
            sqlite_where=text("delivered_at IS NULL"),
            postgresql_where=text("delivered_at IS NULL"),
        ),
        Index("jobs_by_parent", "parent_id"),
        Index(
            "jobs_by_grid",
            *("grid_id", "grid_place"),
            sqlite_where=text("grid_id IS NOT NULL"),
            postgresql_where=text("grid_id IS NOT NULL"),
        ),
        Index("jobs_by_asked_by", "asked_by", unique=True),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=True)
    state: Mapped[JobState] = mapped_column(State)
    request: Mapped[GenerationRequest] = mapped_column(Json(GenerationRequest))
    origin: Mapped[Origin] = mapped_column(Json(Origin))
    action: Mapped[str] = mapped_column(String(32))
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("jobs.id", ondelete="SET NULL"))
    parent_picture: Mapped[int | None] = mapped_column(Integer)
    preset: Mapped[str | None] = mapped_column(String(100))
    preset_id: Mapped[int | None] = mapped_column(BigInteger)
    preset_own: Mapped[bool] = mapped_column(Boolean, server_default=false())
    model: Mapped[str] = mapped_column(Text, server_default="")
    words: Mapped[str] = mapped_column(Text, server_default="")
    image_count: Mapped[int] = mapped_column(Integer, server_default="1")
    asked_by: Mapped[str | None] = mapped_column(String(200))
    user_id: Mapped[int] = mapped_column(BigInteger)
    guild_id: Mapped[int | None] = mapped_column(BigInteger)
    channel_id: Mapped[int | None] = mapped_column(BigInteger)
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    delivered_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    failure: Mapped[Failure | None] = mapped_column(Json(Failure))
    provenance: Mapped[Provenance | None] = mapped_column(Json(Provenance))
    description: Mapped[Description | None] = mapped_column(Json(Description))
    grid_id: Mapped[int | None] = mapped_column(BigInteger)
    grid_place: Mapped[int | None] = mapped_column(Integer)
    process: Mapped[str] = mapped_column(String(64), server_default="")
    worker: Mapped[str | None] = mapped_column(String(100))
    lease: Mapped[int] = mapped_column(Integer, server_default="0")


class WorkerRow(Table):
    """A worker that jobs are leased to, of which process, when that last said that it lives, and
    what it said it does; a process is one, too. Only processes that share a database say so.
    """

    __tablename__ = "workers"

    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    process: Mapped[str] = mapped_column(String(64), index=True)
    seen_at: Mapped[datetime] = mapped_column(UtcDateTime)
    status: Mapped[str | None] = mapped_column(Text)


class GridRow(Table):
    """A grid of pictures, each of which is a job: `plan` says of what. It is `proposed` until its
    owner has confirmed it, `asked` while it is drawn, and `done`. `message_id` shows it.
    """

    __tablename__ = "grids"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=True)
    user_id: Mapped[int] = mapped_column(BigInteger, index=True)
    state: Mapped[str] = mapped_column(String(16), index=True)
    plan: Mapped[GridPlan] = mapped_column(Json(GridPlan))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    channel_id: Mapped[int | None] = mapped_column(BigInteger)
    message_id: Mapped[int | None] = mapped_column(BigInteger)


class PictureRow(Table):
    """A finished picture of a job; its file is named by `file`. One that was `removed` stays
    described, so that it can be made again, and held against what it was.
    """

    __tablename__ = "pictures"
    __table_args__ = (
        UniqueConstraint("job_id", "position", name="picture_of_job"),
        Index(
            "pictures_kept",
            "job_id",
            sqlite_where=text("removed IS 0"),
            postgresql_where=text("removed IS false"),
        ),
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=True)
    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    position: Mapped[int] = mapped_column(Integer)
    seed: Mapped[int] = mapped_column(BigInteger)
    width: Mapped[int] = mapped_column(Integer)
    height: Mapped[int] = mapped_column(Integer)
    file: Mapped[str] = mapped_column(String(64), index=True)
    pixels_sha256: Mapped[str] = mapped_column(String(64))
    variation_seed: Mapped[int | None] = mapped_column(BigInteger)
    unsafe: Mapped[float | None] = mapped_column(Float)
    removed: Mapped[bool] = mapped_column(Boolean, server_default=false())


class UploadRow(Table):
    """A picture that a job starts from or follows, or what its ControlNets were shown of one; its
    file is named by `file`.
    """

    __tablename__ = "uploads"

    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    file: Mapped[str] = mapped_column(String(64), primary_key=True, index=True)


class HandedInRow(Table):
    """When a file was last handed in. Until a job names it, nothing else says that it is wanted."""

    __tablename__ = "handed_in"

    file: Mapped[str] = mapped_column(String(64), primary_key=True)
    handed_in_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)


class DeletionRow(Table):
    """That somebody's jobs up to `last_job` are being deleted: nobody sees them any more."""

    __tablename__ = "deletions"

    user_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    last_job: Mapped[int] = mapped_column(BigInteger)


class MessageRow(Table):
    """A message on Discord that shows a job: `progress` while it runs, `result` for good, `sent`
    from a history, `picture` for the one picture at `position`.
    """

    __tablename__ = "messages"
    __table_args__ = (Index("messages_by_job", "job_id"),)

    message_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    channel_id: Mapped[int] = mapped_column(BigInteger)
    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    kind: Mapped[str] = mapped_column(String(16))
    position: Mapped[int | None] = mapped_column(Integer)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class TakeBackRow(Table):
    """A message on Discord that is to be deleted: it showed a deleted job, or is a hint to somebody
    for a while. `user_id` is who had asked for it, who may still delete what we can't.
    """

    __tablename__ = "take_backs"

    message_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    channel_id: Mapped[int] = mapped_column(BigInteger)
    user_id: Mapped[int | None] = mapped_column(BigInteger)


class OwedRow(Table):
    """What is still to be done about a message that shows a job: `ping`, to mention its owner
    (`ping_sent`: which may have been done, where it can't be looked for), or `emoji`, to add those
    that can be pressed, under the picture at `position` or the whole job.
    """

    __tablename__ = "owed"
    __table_args__ = (Index("owed_by_job", "job_id"),)

    message_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(String(16), primary_key=True)
    channel_id: Mapped[int] = mapped_column(BigInteger)
    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    position: Mapped[int | None] = mapped_column(Integer)


class FavouriteRow(Table):
    """A picture that somebody has given a star."""

    __tablename__ = "favourites"
    __table_args__ = (Index("favourites_by_job", "job_id"),)

    user_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(Integer, primary_key=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class SettingsRow(Table):
    """What a server or a person has set: `scope` is `guild` or `person`, `values` a JSON object."""

    __tablename__ = "settings"

    scope: Mapped[str] = mapped_column(String(16), primary_key=True)
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    values: Mapped[str] = mapped_column(Text)


class NoticeRow(Table):
    """That somebody has been told something that is told once."""

    __tablename__ = "notices"

    user_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    what: Mapped[str] = mapped_column(String(100), primary_key=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class PresetRow(Table):
    """A preset: `scope` is `guild` or `person`, `owner_id` whose it is, `key` its name in folded
    case, by which it is found. Of one that was deleted its name and roles are kept while there are
    jobs that were made with it, or may yet be.
    """

    __tablename__ = "presets"
    __table_args__ = (
        Index(
            "presets_by_name",
            *("scope", "owner_id", "key"),
            unique=True,
            sqlite_where=text("deleted_at IS NULL"),
            postgresql_where=text("deleted_at IS NULL"),
        ),
        Index("presets_by_key", "key", "scope"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=True)
    scope: Mapped[str] = mapped_column(String(16))
    owner_id: Mapped[int] = mapped_column(BigInteger)
    key: Mapped[str] = mapped_column(String(100))
    preset: Mapped[Preset] = mapped_column(Json(Preset))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    deleted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class StartedGuildRow(Table):
    """A server that has been given its first presets, and is not given them again."""

    __tablename__ = "started_guilds"

    guild_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)


NO_GUILD: Final = 0
"""Stands for no server where a column must have one."""


class SpentRow(Table):
    """Pictures of a deleted job that still count against its owner's quota of the day."""

    __tablename__ = "spent"

    id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=True)
    user_id: Mapped[int] = mapped_column(BigInteger, index=True)
    guild_id: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    count: Mapped[int] = mapped_column(Integer)


class QuotaResetRow(Table):
    """From when on somebody's pictures on a server count: its managers have forgiven the rest."""

    __tablename__ = "quota_resets"

    user_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    guild_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    reset_at: Mapped[datetime] = mapped_column(UtcDateTime)


class ApprovalRow(Table):
    """That a job's pictures are held until a moderator has seen them: `verdict` is `waiting`,
    `approved` or `denied`. `message_id` is the question in the audit channel, once it is posted.
    """

    __tablename__ = "approvals"
    __table_args__ = (Index("approvals_by_verdict", "verdict"),)

    job_id: Mapped[int] = mapped_column(
        ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    guild_id: Mapped[int] = mapped_column(BigInteger)
    verdict: Mapped[str] = mapped_column(String(16))
    asked_at: Mapped[datetime] = mapped_column(UtcDateTime)
    channel_id: Mapped[int | None] = mapped_column(BigInteger)
    message_id: Mapped[int | None] = mapped_column(BigInteger)
    decided_by: Mapped[int | None] = mapped_column(BigInteger)
    decided_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    told: Mapped[bool] = mapped_column(Boolean, server_default=false())
    """Whether its result shows what was decided."""


class QueryRow(Table):
    """A search of somebody's history, so that its pages can be turned for ever."""

    __tablename__ = "history_queries"

    id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=True)
    user_id: Mapped[int] = mapped_column(BigInteger, index=True)
    query: Mapped[str] = mapped_column(Text)


class DraftRow(Table):
    """What somebody typed that came to nothing: `draft` is a JSON object."""

    __tablename__ = "drafts"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=True)
    user_id: Mapped[int] = mapped_column(BigInteger, index=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    draft: Mapped[str] = mapped_column(Text)


class DraftUploadRow(Table):
    """A picture that was given with a draft; its file is named by `file`."""

    __tablename__ = "draft_uploads"

    draft_id: Mapped[int] = mapped_column(
        ForeignKey("drafts.id", ondelete="CASCADE"), primary_key=True
    )
    file: Mapped[str] = mapped_column(String(64), primary_key=True, index=True)

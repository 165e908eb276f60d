"""Rows of the database as jobs, one by one, so that one that can't be read stops no other."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import structlog
from sqlalchemy import (
    ColumnElement,
    Connection,
    Result,
    Select,
    Table,
    bindparam,
    select,
    type_coerce,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import TypeDecorator

from generation.job import Failure, GridPlace, Job, JobState, Origin, PictureRecord, PresetUse
from generation.request import GenerationRequest
from storage.records import UNDECODABLE, RecordUnreadableError
from storage.tables import JobRow, PictureRow

log = structlog.get_logger(__name__)

UNREADABLE: Final = Failure("record_unreadable")
"""Why a job fails whose row can't be decoded."""


def _raw(mapped_table: Any) -> tuple[ColumnElement[Any], ...]:
    """The columns of a table as the driver has them: decoding is done row by row."""
    mapped: Table = mapped_table
    return tuple(
        type_coerce(column, column.type.impl).label(column.name)
        if isinstance(column.type, TypeDecorator)
        else column
        for column in mapped.c
    )


JOB_COLUMNS: Final = _raw(JobRow.__table__)
"""What a statement selects or returns that `read` makes a job of."""
PICTURES: Final = (
    select(PictureRow.position.label("index"), *_raw(PictureRow.__table__))
    .where(PictureRow.job_id.in_(bindparam("jobs", expanding=True)))
    .order_by(PictureRow.job_id, PictureRow.position)
)


def columns_of(
    request: GenerationRequest,
    origin: Origin,
    *,
    action: str,
    preset: PresetUse | None,
    **more: Any,
) -> dict[str, Any]:
    """The columns of a new job; `more` are those that few have."""
    return {
        "state": JobState.QUEUED,
        "request": request,
        "origin": origin,
        "action": action,
        "parent_id": None,
        "parent_picture": None,
        "preset": preset.name if preset else None,
        "preset_id": preset.id if preset else None,
        "preset_own": preset.own if preset else False,
        "model": request.model,
        "words": request.prompt.casefold(),
        "image_count": request.count,
        "asked_by": None,
        "user_id": origin.user_id,
        "guild_id": origin.guild_id,
        "channel_id": origin.channel_id,
        "attempts": 0,
        "process": "",
        "lease": 0,
        **more,
    }


def rows_of(connection: Connection, statement: Select[Any]) -> list[Mapping[Any, Any]]:
    """The rows of a query for JOB_COLUMNS, without those that the driver itself can't read."""
    try:
        return _dictionaries(connection.execute(statement))
    except DBAPIError:
        # a text that is none: each row alone, then
        ids = list(connection.execute(statement.with_only_columns(JobRow.id)).scalars())
    found: list[Mapping[Any, Any]] = []
    for job_id in ids:
        alone = select(*JOB_COLUMNS).where(JobRow.id == job_id)
        try:
            found += _dictionaries(connection.execute(alone))
        except DBAPIError as error:
            log.error("a job's record can't be read", job=job_id, error=str(error.orig))
            found.append({"id": job_id})
    return found


def _dictionaries(result: Result[Any]) -> list[Mapping[Any, Any]]:
    """Rows as dictionaries, which are read faster than SQLAlchemy's own."""
    names = list(result.keys())
    return [dict(zip(names, row, strict=True)) for row in result]


def pictures_of(
    connection: Connection, job_ids: Sequence[int]
) -> dict[int, tuple[PictureRecord, ...]]:
    """The pictures of these jobs in their order, by job."""
    if not job_ids:
        return {}
    found: dict[int, tuple[PictureRecord, ...]] = {}
    for row in _dictionaries(connection.execute(PICTURES, {"jobs": job_ids})):
        try:
            record = msgspec.convert(row, PictureRecord)
        except msgspec.ValidationError as error:
            log.error("a picture's record can't be read", job=row["job_id"], error=str(error))
            continue
        found[row["job_id"]] = (*found.get(row["job_id"], ()), record)
    return found


def jobs_of(connection: Connection, statement: Select[Any]) -> list[Job]:
    """The jobs of a query for JOB_COLUMNS, in its order, without those that can't be read."""
    rows = rows_of(connection, statement)
    return readable(rows, pictures_of(connection, [row["id"] for row in rows]))


def read(row: Mapping[Any, Any], pictures: tuple[PictureRecord, ...] = ()) -> Job:
    """The job of a row. Raises RecordUnreadableError, which is logged."""
    try:
        return _job(row, value(row, "request"), pictures)
    except RecordUnreadableError as error:
        log.error("a job's record can't be read", job=row["id"], error=str(error))
        raise


def readable(
    rows: Sequence[Mapping[Any, Any]], pictures: Mapping[int, tuple[PictureRecord, ...]]
) -> list[Job]:
    """The jobs of those rows that can be read."""
    found = []
    for row in rows:
        try:
            found.append(read(row, pictures.get(row["id"], ())))
        except RecordUnreadableError:
            continue
    return found


def stand_in(row: Mapping[Any, Any]) -> Job:
    """A job as far as its row can be read, with a request that only has the prompt's words.

    For telling its owner. Raises RecordUnreadableError where not even that is known.
    """
    try:
        request: GenerationRequest = value(row, "request")
    except RecordUnreadableError:
        request = GenerationRequest(
            prompt=str(row.get("words") or "…"),
            model=str(row.get("model") or ""),
            width=64,
            height=64,
            steps=1,
            guidance_scale=1.0,
            sampler="Euler",
            seed=0,
        )
    return _job(row, request, ())


def value(row: Mapping[Any, Any], name: str) -> Any:
    """A column of a row in its own type. Raises RecordUnreadableError."""
    column_type = JobRow.__table__.c[name].type
    try:
        found = row[name]
        if isinstance(column_type, TypeDecorator):
            return column_type.process_result_value(found, None)  # type: ignore[arg-type]
        return found
    except (KeyError, OSError, *UNDECODABLE) as error:
        raise RecordUnreadableError(f"{name}: {error}") from error


def _job(row: Mapping[Any, Any], request: GenerationRequest, pictures: Any) -> Job:
    state: JobState = value(row, "state")
    origin: Origin = value(row, "origin")
    return Job(
        id=row["id"],
        state=state,
        request=request,
        origin=origin,
        parent=_of(int, row, "parent_id"),
        parent_picture=_of(int, row, "parent_picture"),
        preset=_preset(row),
        action=_of(str, row, "action") or "imagine",
        attempts=_of(int, row, "attempts") or 0,
        process=_of(str, row, "process") or "",
        lease=_of(int, row, "lease") or 0,
        created_at=value(row, "created_at"),
        started_at=value(row, "started_at"),
        ended_at=value(row, "ended_at"),
        delivered_at=value(row, "delivered_at"),
        failure=_known(row, "failure", UNREADABLE),
        provenance=_known(row, "provenance", None),
        pictures=pictures,
        description=_known(row, "description", None),
        grid=_grid(row),
    )


def _grid(row: Mapping[Any, Any]) -> GridPlace | None:
    grid_id, place = _of(int, row, "grid_id"), _of(int, row, "grid_place")
    return None if grid_id is None or place is None else GridPlace(grid_id, place)


def _preset(row: Mapping[Any, Any]) -> PresetUse | None:
    name = _of(str, row, "preset")
    if name is None:
        return None
    return PresetUse(name, _of(int, row, "preset_id"), bool(row["preset_own"]))


def _of(kind: type[Any], row: Mapping[Any, Any], name: str) -> Any:
    found = row[name]
    if found is not None and not isinstance(found, kind):
        raise RecordUnreadableError(f"{name}: {found!r} is no {kind.__name__}")
    return found


def _known(row: Mapping[Any, Any], name: str, otherwise: Any) -> Any:
    """What a job can do without, so that one that can't be read keeps the rest readable."""
    try:
        return value(row, name)
    except RecordUnreadableError as error:
        log.error("a part of a job's record can't be read", job=row["id"], error=str(error))
        return otherwise

"""A job: one request on its way to being pictures, and the states that it goes through."""

from datetime import datetime
from enum import StrEnum
from typing import Final

import msgspec

from generation.description import Description
from generation.numerics import Numerics
from generation.request import GenerationRequest


class JobState(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"


NEXT: Final[dict[JobState, frozenset[JobState]]] = {
    JobState.QUEUED: frozenset((JobState.RUNNING, JobState.CANCELLED, JobState.FAILED)),
    JobState.RUNNING: frozenset(
        (JobState.FINISHED, JobState.FAILED, JobState.CANCELLED, JobState.QUEUED)
    ),
    JobState.FINISHED: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.CANCELLED: frozenset(),
}
"""The legal transitions. RUNNING goes back to QUEUED when its worker died and it is tried again."""

ENDED: Final = frozenset(state for state, following in NEXT.items() if not following)

TRIES_AFTER_FAULT: Final = 2
"""How often a job is begun at most when its worker dies or hangs under it."""
TRIES_AFTER_RESTART: Final = 3
"""How often a job is begun at most when the bot itself is restarted under it. A try counts once
its pictures are being drawn, not while a worker starts or loads.
"""


class IllegalTransitionError(Exception):
    """A job was to go where its state does not lead."""


def before(state: JobState) -> frozenset[JobState]:
    """The states from which `state` can be reached."""
    return frozenset(earlier for earlier, following in NEXT.items() if state in following)


class InteractionToken(msgspec.Struct, frozen=True):
    """The Discord interaction that asked, through which an answer goes while its token lives."""

    application_id: int
    token: str
    expires_at: datetime


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Who asked and where the answer goes. Ids are Discord's; None on the command line."""

    user_id: int
    user_name: str
    guild_id: int | None = None
    channel_id: int | None = None
    locale: str = "en-US"
    private: bool = False
    spoiler: bool = False
    weight: float = 1.0
    """Their share of the queue's turns."""
    age_restricted: bool = False
    """Whether the channel is for adults."""
    guest: bool = False
    """Whether the bot is no member of the server where it was asked, which has no `guild_id` then:
    only the person has the app.
    """
    ignored: tuple[str, ...] = ()
    """Keys of the generation data that they pasted which mean nothing here, as many as are shown.
    """
    interaction: InteractionToken | None = None


class PictureRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A finished picture: `file` is the SHA-256 of its file in the picture store."""

    index: int
    seed: int
    width: int
    height: int
    file: str
    pixels_sha256: str
    variation_seed: int | None = None
    """The second seed that its noise was moved towards; None where it was not."""
    unsafe: float | None = None
    """What the picture check found, from 0 to 1; None where nothing checked it."""
    removed: bool = False
    """Whether the file was let go of for its age, or for room."""


class Failure(msgspec.Struct, frozen=True):
    """Why a job ended without pictures: a sentence of `bot/locales/` and what it names."""

    code: str
    params: dict[str, str] = {}


class Provenance(msgspec.Struct, frozen=True, kw_only=True):
    """How the pictures were made, so that they can be made again."""

    seconds: float
    seconds_loading: float
    batch_size: int
    memory_peak: int
    hashes: dict[str, str]
    versions: dict[str, str]
    device: str = ""
    worker: str = ""
    """Who drew them; of old pictures that was not kept."""
    numerics: Numerics | None = None
    """None of what was drawn before this was kept."""
    spared: tuple[str, ...] = ()
    """What was changed after memory ran out, as in Finished."""
    faceless: tuple[int, ...] = ()
    """As in Finished."""
    controls: tuple[PictureRecord, ...] = ()
    """The control pictures as its ControlNets were shown them: `index` is that of the ControlNet.
    """


class PresetUse(msgspec.Struct, frozen=True):
    """The preset that a request was made with: what it was called then, and its number, which is
    its own for good. Of old requests the number is not known where it was deleted.
    """

    name: str
    id: int | None = None
    own: bool = False
    """Whether it is the person's own; else it is the server's."""


class GridPlace(msgspec.Struct, frozen=True):
    """Where a job's picture stands: in which grid, and which of its pictures it is, from 0."""

    grid: int
    place: int


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One request with all that is known of it. `parent` is the job that it was rerolled from."""

    id: int
    state: JobState
    request: GenerationRequest
    origin: Origin
    parent: int | None = None
    parent_picture: int | None = None
    """Index of the picture of the parent that it was made from, if it was one."""
    preset: PresetUse | None = None
    action: str = "imagine"
    """What a person did: imagine, reroll, …"""
    attempts: int = 0
    """How often its pictures were begun."""
    process: str = ""
    """Which of several processes that share a database was asked, and delivers it."""
    lease: int = 0
    """How often it was claimed: whoever was given it by an earlier claim has it no more."""
    created_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    delivered_at: datetime | None = None
    failure: Failure | None = None
    provenance: Provenance | None = None
    pictures: tuple[PictureRecord, ...] = ()
    description: Description | None = None
    """What was seen, where a picture was to be described."""
    grid: GridPlace | None = None
    """None where it is no part of one."""

    @property
    def showing(self) -> tuple[PictureRecord, ...]:
        """The pictures that show what came of it: those that were made, or the one described."""
        asked = self.request.describing
        if asked is None or self.description is None:
            return self.pictures
        described = PictureRecord(
            index=0,
            seed=0,
            width=asked.width,
            height=asked.height,
            file=asked.picture,
            pixels_sha256="",
            unsafe=self.description.unsafe,
        )
        return (described,)

    @property
    def controls_seen(self) -> tuple[PictureRecord, ...]:
        """What its ControlNets were shown, as far as that was kept."""
        return () if self.provenance is None else self.provenance.controls

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it but delivery."""
        return self.state in ENDED

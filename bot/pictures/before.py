"""What pictures were before they were edited, shown beside what became of them."""

from collections.abc import Collection
from typing import Final

import structlog

from bot.pictures.decoding import PictureDecoder
from generation.job import Job, Origin
from generation.refusal import Refused
from storage.jobs import JobStore

log = structlog.get_logger(__name__)

SIDE_MAX: Final = 1024
"""Pixels of the longer side of the sheet."""
INTRODUCING: Final = frozenset(("imagine", "start", "edit_words"))
"""Actions by which somebody gives the pictures themselves; by all others they are taken over."""
GENERATIONS_MAX: Final = 100
OPEN: Final = ("off", "blur")
"""Picture checks that let be seen what nothing has looked at."""
JUDGING: Final = ("block", "restricted", "hold")
"""Those that let what was found safe be seen."""


async def is_open(job: Job, jobs: JobStore, introducing: Collection[str]) -> bool:
    """Whether all who see what became of the pictures that were given to a request may see these:
    what came of a private request, which its owner has posted, shows nothing of what was given to
    that, but to its owner alone. They are given by the actions `introducing`, and by all others
    taken over.
    """
    current, asker = job, job.origin
    for _ in range(GENERATIONS_MAX):
        if current.action in introducing:
            return True
        parent = None if current.parent is None else await jobs.get(current.parent)
        if parent is None:
            return False
        theirs = asker.private and asker.user_id == parent.origin.user_id
        if parent.origin.private and not theirs:
            return False
        current = parent
    return False


class BeforePictures:
    """Finds them, and lays them together as one."""

    def __init__(self, jobs: JobStore, decoder: PictureDecoder) -> None:
        self._jobs = jobs
        self._decoder = decoder

    async def of(self, job: Job, where: Origin, check: str, unsafe_from: float | None) -> bytes:
        """A WebP of what a finished job has edited, for a place whose picture check that is; b""
        where there is nothing that may be seen there.
        """
        request = job.request
        if not request.edits or (job.origin.private and not where.private):
            return b""
        if not await is_open(job, self._jobs, INTRODUCING):
            return b""
        if check not in OPEN and not (check in JUDGING and await self._are_safe(job, unsafe_from)):
            return b""
        try:
            contents = [await self._jobs.read_upload(file) for file in request.shown]
            side = min(SIDE_MAX, max(request.size))
            return await self._decoder.board(contents, side, f"before {job.id}")
        except Refused as refused:
            log.warning("what was edited can't be shown", job=job.id, why=refused.code)
            return b""

    async def _are_safe(self, job: Job, unsafe_from: float | None) -> bool:
        """Whether all of them were drawn here, for the request that it came of, and found safe."""
        parent = None if job.parent is None else await self._jobs.get(job.parent)
        if parent is None or unsafe_from is None:
            return False
        known = {picture.file: picture.unsafe for picture in parent.pictures}
        scores = [known.get(file) for file in job.request.shown]
        return all(score is not None and score < unsafe_from for score in scores)

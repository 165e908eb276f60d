"""One job that says what a picture shows."""

import io
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final

import msgspec
import torch
from PIL import Image

from generation.description import Description
from generation.messages import Describe, Described
from generation.models import ModelFile
from generation.runtime.faults import JobError
from generation.runtime.report import JobReport, Send
from generation.runtime.taggers import TagReader

STEPS: Final = 2
"""In which its progress is told: tags, then a sentence."""


class PictureReaders:
    """The tagger and the captioner that were used last; they stay until others are wanted."""

    def __init__(self, device: torch.device, threads: int) -> None:
        self._device = device
        self._threads = threads
        self._tagger: TagReader | None = None
        self._mark: tuple[int, ...] = ()

    def tagger(self, file: ModelFile) -> TagReader:
        """It, loaded anew where its files have changed. Raises JobError."""
        mark = _mark(file)
        if self._tagger is None or self._tagger.file != file or self._mark != mark:
            self._tagger = None
            self._tagger, self._mark = TagReader(file, self._device, self._threads), mark
        return self._tagger


class DescribingJob(JobReport):
    """What the job has in hand."""

    def __init__(
        self,
        work: Describe,
        readers: PictureReaders,
        send: Send,
        *,
        cancelled: Callable[[], bool],
        hashes: Future[dict[str, str]],
        unsafe: Callable[[Image.Image], float | None],
    ) -> None:
        super().__init__(work, send, steps=STEPS, cancelled=cancelled, hashes=hashes, unsafe=unsafe)
        self._work = work
        self._readers = readers

    def draw(self) -> None:
        """Look at the picture and say what is seen. Raises JobError."""
        work, wanted = self._work, self._work.request.describing
        assert wanted is not None
        self._stage("loading", 0)
        self._stop_if_cancelled()
        picture = opened(work.pictures[wanted.picture])
        found = Description()
        if work.tagger is not None:
            tagger = self._readers.tagger(work.tagger)
            self._read(0)
            tags, ratings = tagger.tags(picture, wanted.threshold, wanted.character_threshold)
            found = Description(tags=tags, ratings=ratings)
        self._stop_if_cancelled()
        found = msgspec.structs.replace(found, unsafe=self._unsafe(picture.convert("RGB")))
        self._wait_for_hashes()
        self._send(Described(work.job, found))

    def _read(self, step: int) -> None:
        self.loaded_at = self.loaded_at or time.monotonic()
        self._stop_if_cancelled()
        self._stage("describing", step / STEPS)


def opened(data: bytes) -> Image.Image:
    """The first frame of the picture in these bytes, in RGB or RGBA. Raises JobError."""
    try:
        with Image.open(io.BytesIO(data)) as picture:
            return picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise JobError("picture_unreadable") from error


def _mark(file: ModelFile) -> tuple[int, ...]:
    """Another one whenever a tagger's files have changed; () where one is gone."""
    try:
        files = [file.path, *((file.labels,) if file.labels is not None else ())]
        return tuple(path.stat().st_mtime_ns for path in files)
    except OSError:
        return ()

"""One job that says what a picture shows."""

import io
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Final

import msgspec
import torch
from PIL import Image

from generation.description import Description
from generation.messages import Describe, Described
from generation.models import ModelFile
from generation.runtime.captioner import CaptionWriter
from generation.runtime.faults import JobError
from generation.runtime.report import JobReport, Send
from generation.runtime.taggers import TagReader

STEPS: Final = 2
"""In which its progress is told: tags, then a sentence."""


KEPT: Final = 2
"""Taggers: one that people named, and one that checks pictures."""


class PictureReaders:
    """The taggers and the captioner that were used last; they stay until others are wanted."""

    def __init__(self, device: torch.device, threads: int) -> None:
        self._device = device
        self._threads = threads
        self._taggers: dict[tuple[Path, tuple[int, ...]], TagReader] = {}
        """By path and mark, the one that was used last at the end."""
        self._writer: CaptionWriter | None = None

    def tagger(self, file: ModelFile) -> TagReader:
        """It, loaded anew where its files have changed. Raises JobError."""
        key = file.path, _mark(file)
        found = self._taggers.pop(key, None)
        if found is None:
            for path, mark in list(self._taggers):
                if path == file.path or len(self._taggers) == KEPT:
                    del self._taggers[path, mark]
            found = TagReader(file, self._device, self._threads)
        self._taggers[key] = found
        return found

    def writer(self, file: ModelFile) -> CaptionWriter:
        """The captioner, which stays until another is wanted. Raises JobError."""
        if self._writer is None or self._writer.file != file:
            self._writer = None
            self._writer = CaptionWriter(file, self._device)
        return self._writer


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
        if work.captioner is not None:
            writer = self._readers.writer(work.captioner)
            self._read(1)
            caption = writer.caption(picture, wanted.detail, self._after_word)
            found = msgspec.structs.replace(found, caption=caption)
        self._stop_if_cancelled()
        found = msgspec.structs.replace(found, unsafe=self._unsafe(picture.convert("RGB")))
        self._wait_for_hashes()
        self._send(Described(work.job, found))

    def _after_word(self) -> None:
        self._stop_if_cancelled()
        self._beat()

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

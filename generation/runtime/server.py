"""The worker's main loop: one message after the other, each job ended by one answer."""

import concurrent.futures
import gc
import time
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import structlog
import torch

from generation.families import family_of
from generation.messages import (
    Configure,
    Describe,
    EngineWork,
    Enlarge,
    Failed,
    Finished,
    Generate,
    Ready,
    Stop,
)
from generation.metadata import TENSORS
from generation.models import ModelFile
from generation.runtime import ladder, previews
from generation.runtime.describing import DescribingJob, PictureReaders
from generation.runtime.device import (
    DTYPES,
    check_device,
    choose_device,
    computes_in,
    describe,
    half_for,
    lower_priority,
    wider_dtype,
)
from generation.runtime.enlargement import Enlarging
from generation.runtime.faults import (
    CancelledError,
    JobError,
    NotCompiledError,
    NotFiniteError,
    is_fatal,
    is_out_of_memory,
)
from generation.runtime.hashes import Hashes
from generation.runtime.lessons import Lessons
from generation.runtime.memory import Planner
from generation.runtime.onnx_session import onnx_on
from generation.runtime.parts import Parts
from generation.runtime.picture_check import PictureCheck
from generation.runtime.pipe import End, Inbox, Outbox
from generation.runtime.recipe import Drawing
from generation.runtime.report import JobReport
from generation.runtime.tuning import keep_compiled_in

log = structlog.get_logger(__name__)


def serve(inbox: Inbox, outbox: Outbox) -> End:
    """Serve until told to stop or until the pipe closes; returns why it ended."""
    server: Server | None = None
    while not isinstance(message := inbox.messages.get(), Stop):
        match message:
            case Configure() if server is None:
                keep_compiled_in(message.cache / "compiled")
                try:
                    server = Server(message, outbox, inbox)
                except JobError as error:
                    outbox.send(Failed("", error.code, error.params, str(error)))
                    outbox.close()
                    return End.UNUSABLE
                outbox.send(server.ready)
            case Generate() | Enlarge() | Describe() if server is not None:
                server.run(message)
            case _:
                # whoever waits for an answer would wait for ever
                log.error("a message out of turn", message=type(message).__name__)
                return End.CONFUSED
    outbox.close()
    return inbox.end


class Server:
    """Makes the pictures of one job at a time."""

    def __init__(self, configure: Configure, outbox: Outbox, inbox: Inbox) -> None:
        settings = configure.settings
        if settings.low_priority:
            lower_priority()
        if settings.cpu_threads:
            torch.set_num_threads(settings.cpu_threads)
        device = choose_device(settings)
        self._settings = settings
        self._parts = Parts(settings, device)
        self._lessons = Lessons()
        self._planner = Planner(settings, self._parts, Path(configure.cache))
        check_device(device, self._parts.dtype)
        self._readers = PictureReaders(device, settings.cpu_threads)
        self._check = PictureCheck(settings, self._readers)
        self._hashes = Hashes(Path(configure.cache))
        self._maps = previews.Maps(Path(configure.cache))
        self._hasher = concurrent.futures.ThreadPoolExecutor(1, "hashes")
        self._outbox = outbox
        self._inbox = inbox
        tuning = self._parts.tuning
        self.ready: Ready = msgspec.structs.replace(
            describe(device, self._parts.dtype),
            channels_last=tuning.channels_last,
            compiled=tuning.compiled,
            remark=tuning.remark,
            onnx_on_device=onnx_on(device),
        )

    def run(self, work: EngineWork) -> None:
        """Make the pictures; the last message sent is Finished or Failed.

        Raises what leaves the device unusable, so that the process ends and a new one is started.
        """
        try:
            answer: Finished | Failed = self._run(work)
        except JobError as error:
            answer = Failed(work.job, error.code, error.params, _traceback(error))
        except NotFiniteError as error:
            name = work.request.made_with
            answer = Failed(work.job, "nan_pictures", {"model": name}, _traceback(error))
        except Exception as error:
            # the process outlives whatever else a library raises
            if is_fatal(error):
                raise
            code = "out_of_memory" if is_out_of_memory(error) else "internal_error"
            answer = Failed(work.job, code, detail=_traceback(error))
        if isinstance(answer, Failed):
            # a traceback holds frames, and frames hold tensors
            gc.collect()
        self._outbox.send(answer)

    def _run(self, work: EngineWork) -> Finished:
        begun = time.monotonic()
        if self._inbox.is_cancelled(work.job):
            # while it waited behind another
            raise CancelledError
        self._check.load(work.rater)
        hashing = self._hasher.submit(self._hash_files, work)
        told: Any = {
            "cancelled": lambda: self._inbox.is_cancelled(work.job),
            "hashes": hashing,
            "unsafe": lambda picture: self._check.unsafe(picture, work.rater),
        }
        drawing: JobReport
        remark, peak = "", 0
        spared: tuple[str, ...] = ()
        if isinstance(work, Describe):
            drawing = DescribingJob(work, self._readers, self._outbox.send, **told)
            drawing.draw()
        elif isinstance(work, Enlarge):
            drawing = Enlarging(work, self._parts, self._outbox.send, **told)
            ladder.enlarge(drawing, self._parts)
        else:
            drawing = Drawing(
                work,
                self._parts,
                self._lessons,
                self._outbox.send,
                shown=previews.Previews(self._settings.preview_every),
                maps=self._maps,
                planner=self._planner,
                **told,
            )
            spared, remark = self._draw_compiled(drawing, work)
            peak = drawing.meter.peak
        return Finished(
            job=work.job,
            seconds=time.monotonic() - begun,
            seconds_loading=max(0.0, drawing.loaded_at - begun),
            batch_size=drawing.numerics.batch_size if drawing.numerics is not None else 1,
            memory_peak=peak,
            hashes=hashing.result(),
            versions=self.ready.versions,
            numerics=drawing.numerics,
            remark="; ".join(filter(None, (remark, ladder.in_words(spared)))),
            spared=spared,
            faceless=drawing.faceless,
        )

    def _draw_compiled(self, drawing: Drawing, work: Generate) -> tuple[tuple[str, ...], str]:
        """Draw; returns what was changed for want of memory, and what the owner must know where the
        denoiser can't be compiled.
        """
        try:
            return self._draw(drawing, work), ""
        except NotCompiledError as error:
            remark = self._parts.tuning.remark
            log.warning("not compiled: once more without", why=_traceback(error))
        # out of the handler, whose exception holds the frames that hold the tensors
        gc.collect()
        return self._draw(drawing, work), remark

    def _draw(self, drawing: Drawing, work: Generate) -> tuple[str, ...]:
        """Draw; returns what was changed for want of memory.

        A denoiser that overflows in half precision is tried once more in a wider one. What is drawn
        again is drawn in the precision that it was, whatever was learned since.
        """
        first = self._first_precision(work)
        family = family_of(work.checkpoint)
        usual = first or half_for(family, self._parts.dtype, self._parts.device)
        wider = wider_dtype(usual, self._parts.device)
        models = work.checkpoints
        known = self._lessons.wider(*models) if first is None else None
        if wider is None or known is None:
            try:
                with self._parts.in_precision(usual):
                    return self._draw_in_memory(drawing, work)
            except NotFiniteError:
                if wider is None:
                    raise
            # out of the handler, whose exception holds the frames that hold the tensors
            log.warning("not a number in half precision: once more", precision=str(wider))
            gc.collect()
        with self._parts.in_precision(wider):
            drawn = self._draw_in_memory(drawing, work)
        if first is None:
            self._lessons.needs_wider(*models, dtype=wider)
        return drawn

    def _first_precision(self, work: Generate) -> torch.dtype | None:
        """In which the pictures were drawn that this job draws again, where the device has it."""
        if work.numerics is None:
            return None
        dtype = DTYPES[work.numerics.precision]
        return dtype if computes_in(self._parts.device, dtype) else None

    def _draw_in_memory(self, drawing: Drawing, work: Generate) -> tuple[str, ...]:
        return ladder.draw(drawing, work, self._settings.batch_size, self._parts, self._planner)

    def _hash_files(self, work: EngineWork) -> dict[str, str]:
        if isinstance(work, Describe):
            readers = (work.tagger, work.captioner)
            return self._hashes_of(file for file in readers if file is not None)
        upscalers = (work.upscaler,) if work.upscaler is not None else ()
        beside = (*upscalers, *work.finishing.files)
        if isinstance(work, Enlarge):
            return self._hashes_of((*beside, *work.annotators.values()))
        whole = [file for model in work.checkpoints for file in model.files]
        maybe = (work.vae, work.segmenter)
        files = (
            *whole,
            *(file for file in maybe if file is not None),
            *work.loras,
            *work.controlnets,
            *work.embeddings,
            *work.annotators.values(),
            *work.adapters,
            *work.eyes,
        )
        weights = {
            f"{TENSORS}:{lora.name}": self._hashes.of_tensors(lora.path) for lora in work.loras
        }
        known = {name: sha256 for name, sha256 in weights.items() if sha256}
        return self._hashes_of((*files, *beside)) | known

    def _hashes_of(self, files: Iterable[ModelFile]) -> dict[str, str]:
        return {f"{file.kind}:{file.name}": self._hashes.of(file.path) for file in files}


def _traceback(error: Exception) -> str:
    return "".join(traceback.format_exception(error))

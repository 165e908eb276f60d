"""The picture check: an image-classification model of the owner's looks at what was drawn, or
where they name none, the tagger that rates pictures.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import structlog
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification

from generation.messages import NO_CHECK, RuntimeSettings
from generation.models import ModelFile
from generation.runtime.describing import PictureReaders
from generation.runtime.faults import JobError
from generation.runtime.taggers import TagReader

log = structlog.get_logger(__name__)


@contextlib.contextmanager
def _saying_why() -> Iterator[None]:
    """Whatever a library raises, no picture goes unchecked, and people are told."""
    try:
        yield
    except JobError:
        raise
    except Exception as error:
        log.error("the picture check does not work", error=repr(error)[:500])
        why = "its model can't be used, and the log says why"
        raise JobError("picture_check_broken", why=why) from error


@contextlib.contextmanager
def _of_tagger(rater: ModelFile) -> Iterator[None]:
    """What is wrong with a tagger is the owner's to mend, not that of whoever asks for pictures."""
    try:
        with _saying_why():
            yield
    except JobError as error:
        if error.code == "picture_check_broken":
            raise
        log.error("the picture check does not work", tagger=rater.name, error=repr(error)[:500])
        why = f"its tagger {rater.name} can't be used, and the log says why"
        raise JobError("picture_check_broken", why=why) from error


class PictureCheck:
    """Rates pictures with the model that the settings name, or with a tagger; with neither, nothing
    is rated.

    A model runs on the processor, while the next picture is drawn on the graphics card.
    """

    def __init__(self, settings: RuntimeSettings, readers: PictureReaders) -> None:
        self._off = settings.picture_check_model == NO_CHECK
        self._folder = "" if self._off else settings.picture_check_model
        self._ratings = {rating.casefold() for rating in settings.picture_check_ratings}
        self._readers = readers
        self._told: Path | None = None
        """The tagger that the log has been told of."""
        self._labels = {label.casefold() for label in settings.picture_check_labels}
        self._model: Any = None
        self._processor: Any = None
        self._unsafe: list[int] = []
        """Places of the unsafe labels among the model's."""

    def load(self, rater: ModelFile | None = None) -> None:
        """Load what checks, unless it is there. Raises JobError("picture_check_broken")."""
        if self._folder and self._model is None:
            with _saying_why():
                self._load()
        elif rater is not None and not self._folder and not self._off:
            self._tagger(rater)

    def unsafe(self, picture: Image.Image, rater: ModelFile | None = None) -> float | None:
        """The summed probability of the unsafe labels or ratings, 0 to 1; None where nothing
        checks. The settings' model goes before the tagger `rater`.

        Raises JobError("picture_check_broken").
        """
        if self._off or (rater is None and not self._folder):
            return None
        if rater is not None and not self._folder:
            return self._by_rating(picture, rater)
        self.load()
        with _saying_why(), torch.inference_mode():
            inputs = self._processor(images=picture, return_tensors="pt")
            logits = self._model(**inputs).logits[0].float()
        independent = self._model.config.problem_type == "multi_label_classification"
        probabilities = logits.sigmoid() if independent else logits.softmax(0)
        found = float(probabilities[self._unsafe].sum())
        if not found >= 0:  # NaN
            raise JobError("picture_check_broken", why="its model gives NaN")
        return min(1.0, found)

    def _by_rating(self, picture: Image.Image, rater: ModelFile) -> float:
        tagger = self._tagger(rater)
        with _of_tagger(rater):
            ratings = tagger.ratings(picture)
        found = [share for name, share in ratings.items() if name.casefold() in self._ratings]
        if not found:
            why = f"none of the ratings of {rater.shown} is in picture_check_ratings"
            raise JobError("picture_check_broken", why=why)
        return min(1.0, sum(found))

    def _tagger(self, rater: ModelFile) -> TagReader:
        with _of_tagger(rater):
            tagger = self._readers.tagger(rater)
        if self._told != rater.path:
            self._told = rater.path
            log.info("pictures are checked", by=rater.name, unsafe=sorted(self._ratings))
        return tagger

    def _load(self) -> None:
        if not Path(self._folder).is_dir():
            log.error("there is no such folder", picture_check_model=self._folder)
            raise JobError("picture_check_broken", why="there is no folder picture_check_model")
        # code that lies beside the weights is never run
        safe = {"local_files_only": True, "trust_remote_code": False}
        processor = AutoImageProcessor.from_pretrained(self._folder, backend="pil", **safe)
        model = AutoModelForImageClassification.from_pretrained(
            self._folder, use_safetensors=True, dtype=torch.float32, **safe
        )
        labels = {int(place): str(label) for place, label in model.config.id2label.items()}
        unsafe = [place for place, label in labels.items() if label.casefold() in self._labels]
        if not unsafe:
            names = ", ".join(list(labels.values())[:10])
            why = f"none of its labels ({names}) is in picture_check_labels"
            raise JobError("picture_check_broken", why=why)
        self._model, self._processor, self._unsafe = model.eval(), processor, unsafe

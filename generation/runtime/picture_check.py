"""The picture check: an image-classification model of the owner's looks at what was drawn."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import structlog
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification

from generation.messages import RuntimeSettings
from generation.runtime.faults import JobError

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


class PictureCheck:
    """Rates pictures with the model that the settings name; with none, nothing is rated.

    It runs on the processor, while the next picture is drawn on the graphics card.
    """

    def __init__(self, settings: RuntimeSettings) -> None:
        self._folder = settings.picture_check_model
        self._labels = {label.casefold() for label in settings.picture_check_labels}
        self._model: Any = None
        self._processor: Any = None
        self._unsafe: list[int] = []
        """Places of the unsafe labels among the model's."""

    def load(self) -> None:
        """Load the model unless it is there. Raises JobError("picture_check_broken")."""
        if self._folder and self._model is None:
            with _saying_why():
                self._load()

    def unsafe(self, picture: Image.Image) -> float | None:
        """The summed probability of the unsafe labels, 0 to 1; None where nothing checks.

        Raises JobError("picture_check_broken").
        """
        if not self._folder:
            return None
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

"""What a job says of itself while it is made: how far it is, that it lives, and its pictures."""

import io
from collections.abc import Callable, Iterable
from concurrent.futures import Future, wait
from typing import Any, Final

from PIL import Image

from generation.messages import ControlSeen, Described, EngineWork, Picture, Preview, Progress
from generation.numerics import Numerics
from generation.picture_encoding import encoded
from generation.runtime.faults import CancelledError

WAIT_STEP: Final = 1.0
"""Seconds after which a wait looks up: whether the job is cancelled, and to show life."""

QUICK: Final = 3
"""Of the nine levels of a PNG's compression: what is drawn waits for it."""

Send = Callable[[Progress | Preview | ControlSeen | Picture | Described], None]


class JobReport:
    """Beneath whatever makes pictures.

    `steps` are those of each picture; `cancelled` tells whether somebody stopped the job, `hashes`
    will have the hashes of its files, `unsafe` is the picture check's probability for a picture, or
    None where there is no check.
    """

    def __init__(
        self,
        work: EngineWork,
        send: Send,
        *,
        steps: int,
        cancelled: Callable[[], bool],
        hashes: Future[dict[str, str]],
        unsafe: Callable[[Image.Image], float | None],
    ) -> None:
        self.loaded_at = 0.0
        """When the models were in place, by the monotonic clock."""
        self.numerics: Numerics | None = None
        """How the last picture was computed."""
        self.faceless: tuple[int, ...] = ()
        """As in Finished."""
        self._job = work.job
        self._request = work.request
        self._send = send
        self._steps = steps
        self._cancelled = cancelled
        self._hashes = hashes
        self._unsafe = unsafe
        self._progress = Progress(work.job, "loading", 0, 0)

    def _save(self, index: int, picture: Image.Image, numerics: Numerics) -> None:
        request, unsafe = self._request, self._unsafe(picture.convert("RGB"))
        file, pixels = encoded(picture, request)
        self._send(
            Picture(
                job=self._job,
                index=index,
                seed=request.seeds[index],
                variation_seed=request.variation_seeds[index],
                file=file,
                width=picture.width,
                height=picture.height,
                pixels_sha256=pixels,
                hashes=self._wait_for_hashes(),
                unsafe=unsafe,
                numerics=numerics,
            )
        )

    def _save_controls(self, seen: Iterable[tuple[int, Image.Image]]) -> None:
        """Say what ControlNets are shown, each by its place in the request."""
        for index, picture in seen:
            file = io.BytesIO()
            picture.save(file, "PNG", compress_level=QUICK)
            size = {"width": picture.width, "height": picture.height}
            unsafe = self._unsafe(picture)
            self._send(ControlSeen(self._job, index, file.getvalue(), **size, unsafe=unsafe))

    def _wait_for_hashes(self) -> dict[str, str]:
        """A first look at a large file on a slow disk outlasts a picture: show life meanwhile."""
        while not wait((self._hashes,), WAIT_STEP).done:
            self._stop_if_cancelled()
            self._beat()
        return self._hashes.result()

    def _stage(self, stage: Any, pictures_done: float) -> None:
        """Steps are counted over all pictures, so that the bar runs once from left to right."""
        done = round(pictures_done * self._steps)
        whole = self._steps * self._request.count
        self._progress = Progress(self._job, stage, done, whole)
        self._send(self._progress)

    def _beat(self) -> None:
        self._send(self._progress)

    def _stop_if_cancelled(self) -> None:
        if self._cancelled():
            raise CancelledError

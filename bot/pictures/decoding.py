"""Pictures as the rest of the bot has them: decoded elsewhere, in turn and within bounds."""

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import structlog

from bot.pictures.decoder_messages import (
    Board,
    DrawGrid,
    Hidden,
    Lighten,
    Normalise,
    Sheet,
    Work,
)
from bot.pictures.decoding_process import SECONDS, DecoderFailedError, DecodingProcess
from bot.pictures.normalising import Bounds, PartOfFile
from bot.pictures.turns import OF_ONE_PERSON, DecoderTurns
from generation.grids import GridLayout
from generation.refusal import Refused
from generation.rules import Limits
from generation.sizes import ASPECT_MAX

log = structlog.get_logger(__name__)

MIB: Final = 2**20
MEMORY: Final = 256 * MIB
"""Of the decoding process beside the pixels."""
BYTES_A_PIXEL: Final = 20
"""While one is decoded and made smaller: WebP takes most, 16."""
OWN_PIXELS: Final = 40_000_000
"""Our own pictures are never so large."""
LEAST: Final = 8
"""Pixels a side of a picture that something can be made of."""
PREVIEW_SIDE: Final = 512
PREVIEW_MIB: Final = 20
PREVIEW_SECONDS: Final = 5.0
"""There are eight on a page."""
PREVIEWS_KEPT: Final = 512
"""Small pictures of models; some 20 KB each."""
CATALOGUE: Final = -1
"""Who asks for the pictures beside models: no person."""


class PictureDecoder:
    """Decodes what others made in one process, and copies what we made in another.

    Closed by `close` or as a context manager; both processes start when they are first needed.
    """

    def __init__(self, limits: Limits, *, seconds: float = SECONDS) -> None:
        self._limits = limits
        self._seconds = seconds
        self._bounds = Bounds(
            pixels=limits.upload_megapixels * 1_000_000,
            side=max(limits.side, limits.upscaled_side),
            cover=min(limits.side, math.isqrt(limits.pixels)),
            longest=max(limits.upscaled_side, limits.side * ASPECT_MAX),
            least=LEAST,
        )
        memory = MEMORY + BYTES_A_PIXEL * self._bounds.pixels
        self._foreign = DecodingProcess(memory=memory, seconds=seconds)
        self._own = DecodingProcess(memory=MEMORY + BYTES_A_PIXEL * OWN_PIXELS, seconds=seconds)
        self._turns = DecoderTurns()
        self._previews: dict[tuple[Path, int, int], bytes | Refused] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End the processes."""
        await asyncio.gather(self._foreign.close(), self._own.close())

    @contextlib.asynccontextmanager
    async def turn(self, person: int, most: int = OF_ONE_PERSON) -> AsyncIterator[None]:
        """Hold a person's turn while a picture of theirs is fetched and decoded.

        Raises Refused for somebody who has `most` waiting already.
        """
        async with self._turns.turn(person, most):
            yield

    async def upload(self, data: bytes, name: str, part: PartOfFile = "picture") -> bytes:
        """A picture of any common format as a PNG, upright, sRGB, as large as can be drawn: in RGB,
        or of a mask its greys; of what is erased of one its mask, or b"".

        Raises Refused about `name`: picture_too_heavy, what `normalised` raises, and
        decoder_failed where the process can't be had. One that moves is refused, for nobody says
        which of its frames is meant.
        """
        check_weight(name, len(data), self._limits)
        work = Normalise(self._bounds, part, still=True)
        return await _made(self._foreign, work, [data], name)

    async def hidden(self, data: bytes, name: str) -> bytes:
        """The text that is hidden in the pixels of a PNG, b"" for none. Raises Refused about
        `name`, as `upload` does.
        """
        check_weight(name, len(data), self._limits)
        return await _made(self._foreign, Hidden(self._bounds.pixels), [data], name)

    async def preview(self, path: Path) -> bytes:
        """A picture that lies beside a model, as a small RGB PNG; read once until it changes.

        Raises Refused for one that can't be read, which is also remembered; OSError.
        """
        status = await asyncio.to_thread(path.stat)
        key = (path, status.st_mtime_ns, status.st_size)
        if key not in self._previews:
            async with self._turns.turn(CATALOGUE, most=None):
                # whoever had the turn before may have wanted the same page
                found = self._previews.get(key) or await self._read_preview(path, status.st_size)
                while len(self._previews) >= PREVIEWS_KEPT:
                    del self._previews[next(iter(self._previews))]
                self._previews[key] = found
        found = self._previews[key]
        if isinstance(found, Refused):
            raise Refused(found.code, **found.params)
        return found

    async def _read_preview(self, path: Path, size: int) -> bytes | Refused:
        bounds = Bounds(self._bounds.pixels, PREVIEW_SIDE, 1, PREVIEW_SIDE)
        if size > PREVIEW_MIB * MIB:
            return Refused("picture_too_heavy", file=path.name, size=size // MIB, high=PREVIEW_MIB)
        data = await asyncio.to_thread(_read_at_most, path, size)
        try:
            seconds = min(PREVIEW_SECONDS, self._seconds)
            return await _made(self._foreign, Normalise(bounds), [data], path.name, seconds)
        except Refused as refused:
            if refused.code == "decoder_failed":
                raise  # it says nothing of the picture
            log.warning("a thumbnail can't be read", file=str(path), error=str(refused))
            return refused

    async def lightened(self, content: bytes, quality: int, scale: float, name: str) -> bytes:
        """A picture of ours as a WebP.

        Raises Refused: picture_unreadable when its file is broken, and what else `upload` raises.
        """
        return await _made(self._own, Lighten(quality, scale), [content], name)

    async def sheet(self, contents: Sequence[bytes], side: int, name: str) -> bytes:
        """One to four pictures of ours as one small WebP. Raises Refused when a file is broken."""
        return await _made(self._own, Sheet(side), contents, name)

    async def grid(self, contents: Sequence[bytes], layout: GridLayout, name: str) -> bytes:
        """A grid of pictures of ours as one WebP. Raises Refused when a file is broken."""
        return await _made(self._own, DrawGrid(layout), contents, name)

    async def board(self, contents: Sequence[bytes], side: int, name: str) -> bytes:
        """One to four pictures, each whole, as one WebP. Raises Refused when a file is broken."""
        return await _made(self._own, Board(side), contents, name)


async def _made(
    process: DecodingProcess,
    work: Work,
    files: Sequence[bytes],
    name: str,
    seconds: float | None = None,
) -> bytes:
    """What `work` makes of the files. Raises Refused, also where the process can't be had."""
    try:
        return await process.make(work, files, name, seconds)
    except DecoderFailedError as error:
        log.error("the picture decoder failed", file=name, error=str(error))
        raise Refused("decoder_failed", file=name) from error


def check_weight(name: str, size: int, limits: Limits) -> None:
    """Refuse a file of so many bytes where that is too many."""
    if size > limits.upload_mib * MIB:
        # never rounded down to what is allowed
        shown = math.ceil(10 * size / MIB) / 10
        raise Refused("picture_too_heavy", file=name, size=shown, high=limits.upload_mib)


def check_size(name: str, width: int, height: int, limits: Limits) -> None:
    """Refuse a picture of that size in pixels where it is too large, or next to nothing."""
    if min(width, height) < LEAST:
        raise Refused("picture_tiny", file=name, width=width, height=height, low=LEAST)
    pixels = width * height
    if pixels > limits.upload_megapixels * 1_000_000:
        raise Refused(
            "picture_too_large",
            file=name,
            megapixels=round(pixels / 1e6),
            high=limits.upload_megapixels,
        )


def _read_at_most(path: Path, size: int) -> bytes:
    with path.open("rb") as file:
        return file.read(size)

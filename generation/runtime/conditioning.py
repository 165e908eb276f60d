"""What the denoiser is told: each prompt's states, scheduled over the steps, and kept."""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import torch
from torch.nn import functional

from generation.families import Family, TextEncoder
from generation.prompts import composed, schedule
from generation.request_fields import Conventions
from generation.runtime.encoders import Encoded, Encoder, SeenPictures, Vectors
from generation.runtime.faults import JobError

KEPT: Final = 128
"""Encoded prompts, each with all that it says; a text of SDXL in one chunk takes 630 kB."""
AESTHETIC: Final = (6.0, 2.5)
"""Scores that SDXL's refiner is told of what is wanted and of what is not, as everywhere."""


class Conditioning(NamedTuple):
    """One text as the denoiser reads it: `cross` (1, tokens, width); `pooled` (1, width) of the
    whole text, where its family has one.
    """

    cross: torch.Tensor
    pooled: torch.Tensor | None = None


class Scheduled(NamedTuple):
    """What one prompt says at each step: until which step (inclusive) each conditioning holds."""

    entries: tuple[tuple[int, Conditioning], ...]

    def at(self, step: int) -> Conditioning:
        """At the `step`-th call of the denoiser, from 0. Behind the last entry the first holds,
        as in A1111.
        """
        return next((found for until, found in self.entries if step <= until), self.entries[0][1])


class Prompts(NamedTuple):
    """All that a request's prompts say: the parts of the prompt with their weights (AND), and the
    negative prompt.
    """

    parts: tuple[tuple[float, Scheduled], ...]
    negative: Scheduled


class Conditioner:
    """Encodes prompts for one checkpoint; what was encoded before is not encoded again."""

    def __init__(self, family: Family, encoders: Sequence[Encoder], width: int = 0) -> None:
        """`width` is that of the states that the denoiser reads, where an encoder may be absent."""
        self._family = family
        self._encoders = encoders
        self._rows = [encoder.row for encoder in encoders]
        there = {row.part for row in self._rows}
        self._absent = {row.tokens: width for row in family.encoders if row.part not in there}
        self._kept: OrderedDict[tuple[Any, ...], dict[str, Conditioning]] = OrderedDict()

    def prompts(
        self,
        prompt: str,
        negative: str | None,
        steps: int,
        *,
        clip_skip: int = 1,
        vectors: Vectors | None = None,
        conventions: Conventions = "a1111",
        changed_by: object = None,
        pictures: SeenPictures = (),
        passed: int | None = None,
        followed: bool = False,
        before_encoding: Callable[[], None] = lambda: None,
    ) -> Prompts:
        """Encode what a request says, over `steps` calls of the denoiser; in a second pass whole
        numbers in prompts count on from the calls that a first has `passed`, and of a first pass
        that is `followed` by one numbers count as there. Where no negative prompt is read it is
        None.

        `changed_by` tells what the encoders' weights were changed by, such as LoRAs, and which
        `pictures` they see; with the names of `vectors` it must tell apart whatever encodes
        differently. `before_encoding` is
        called whenever the encoders are about to work: what is kept needs none.
        Raises JobError: clip_skip_too_deep, embedding_mismatch.
        """
        for name in (vectors or {}).keys() - self.known(vectors or {}).keys():
            raise JobError("embedding_mismatch", name=name)

        a1111 = conventions == "a1111"

        def scheduled(text: str, unwanted: bool) -> Scheduled:
            said = _scheduled(text, steps, passed, followed) if a1111 else [(steps, text)]
            said = [entry for entry in said if entry[0] > 0]
            texts = tuple(text for _, text in said)
            asked = (texts, unwanted and not any(texts), clip_skip)
            if self._key(*asked, vectors, conventions, changed_by) not in self._kept:
                before_encoding()
            found = self._texts(*asked, vectors, conventions, changed_by, pictures)
            return Scheduled(tuple((until, found[text]) for until, text in said))

        composition = composed(prompt) if a1111 else [(prompt, 1.0)]
        said = tuple((weight, scheduled(text, False)) for text, weight in composition)
        return Prompts(said, said[0][1] if negative is None else scheduled(negative, True))

    def known(self, vectors: Vectors) -> Vectors:
        """The learned words that its encoders can read."""
        return {
            name: parts
            for name, parts in vectors.items()
            if (fits := [encoder.fits(parts) for encoder in self._encoders])
            and False not in fits
            and True in fits
        }

    def _texts(
        self,
        texts: tuple[str, ...],
        nothing: bool,
        clip_skip: int,
        vectors: Vectors | None,
        conventions: Conventions,
        changed_by: object,
        pictures: SeenPictures,
    ) -> dict[str, Conditioning]:
        key = self._key(texts, nothing, clip_skip, vectors, conventions, changed_by)
        if key not in self._kept:
            self._kept[key] = self._encoded(
                texts, nothing, clip_skip, vectors or {}, conventions, pictures
            )
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]

    def _key(
        self,
        texts: tuple[str, ...],
        nothing: bool,
        clip_skip: int,
        vectors: Vectors | None,
        conventions: Conventions,
        changed_by: object,
    ) -> tuple[object, ...]:
        """What encodes to the same."""
        return (texts, nothing, clip_skip, *(vectors or {}), conventions, changed_by)

    def _encoded(
        self,
        texts: tuple[str, ...],
        nothing: bool,
        clip_skip: int,
        vectors: Vectors,
        conventions: Conventions,
        pictures: SeenPictures,
    ) -> dict[str, Conditioning]:
        by_encoder = [
            encoder.encode(texts, clip_skip, vectors, conventions, pictures)
            for encoder in self._encoders
        ]
        texts_: dict[str, Conditioning] = {}
        for text in dict.fromkeys(texts):
            found = [encoded[text] for encoded in by_encoder]
            # ComfyUI leaves out what an encoder would have said that is not there; all are as wide
            as_wide = dict(zip([0], self._absent.values(), strict=False))
            absent = self._absent if conventions == "a1111" else as_wide
            cross, pooled = joined(self._rows, found, absent)
            if self._family.size_conditioning and nothing and conventions == "a1111":
                # what its base model was trained to read as no text at all
                cross = torch.zeros_like(cross)
                pooled = torch.zeros_like(pooled) if pooled is not None else None
            texts_[text] = Conditioning(cross, pooled)
        return texts_


def _scheduled(text: str, steps: int, passed: int | None, followed: bool) -> list[tuple[int, str]]:
    if passed is None:
        return schedule(text, steps, hires_follows=followed)
    return schedule(text, passed, steps)


def joined(
    rows: Sequence[TextEncoder], found: Sequence[Encoded], absent: Mapping[int, int]
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """What encoders say of one text, as the denoiser reads it: their states (1, tokens, width)
    beside or behind each other, and what is pooled (1, width). `absent` are how many tokens of
    what width stand for an encoder that is not there: zeros, as in diffusers.
    """
    beside = [one.states for row, one in zip(rows, found, strict=True) if row.joined == "beside"]
    behind = [one.states for row, one in zip(rows, found, strict=True) if row.joined == "behind"]
    longest = max((states.shape[1] for states in beside), default=0)
    pieces = [torch.cat([_filled(states, longest) for states in beside], dim=-1)] if beside else []
    pieces += behind
    pieces += [pieces[0].new_zeros(1, tokens, width) for tokens, width in absent.items()]
    widest = max(states.shape[-1] for states in pieces)
    pieces = [functional.pad(states, (0, widest - states.shape[-1])) for states in pieces]
    pooled = [one.pooled for one in found if one.pooled is not None]
    return (
        pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=1),
        torch.cat(pooled, dim=-1) if pooled else None,
    )


def size_ids(family: Family, width: int, height: int, unwanted: bool) -> tuple[float, ...]:
    """What a denoiser is told of sizes: original height and width, crop from above and from left,
    then target height and width, or an aesthetic score; nothing where its family has none.
    """
    match family.size_conditioning:
        case "size":
            return (height, width, 0, 0, height, width)
        case "aesthetic":
            return (height, width, 0, 0, AESTHETIC[unwanted])
        case _:
            return ()


def _filled(states: torch.Tensor, length: int) -> torch.Tensor:
    """Repeats the last token; encoders disagree on the length where a learned word has another
    number of vectors in each.
    """
    missing = length - states.shape[1]
    return torch.cat((states, states[:, -1:].expand(-1, missing, -1)), dim=1) if missing else states

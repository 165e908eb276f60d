"""CLIP: text to hidden states, 75 tokens at a time, each token as strongly as it was written.

Conventions are those of A1111's webui: a comma near the end of a chunk takes what follows it along
to the next, BREAK begins one, a weight multiplies a token's states and the chunk's mean is
restored. ComfyUI's: no look for commas, and a weight moves a token away from the empty prompt's.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import accelerate
import msgspec
import torch
import transformers
from diffusers.loaders import single_file_utils

from generation.families import TextEncoder
from generation.models import ModelFile
from generation.prompts.attention import BREAK, attention, comfyui_attention
from generation.request_fields import Conventions
from generation.runtime.encoders.encoder import Encoded, SeenPictures, Vectors
from generation.runtime.faults import JobError
from generation.runtime.tokenizers import load_tokenizer
from generation.runtime.weights import Weights, filled

CHUNK = 75
"""Tokens to a chunk: CLIP's 77 without the marks of beginning and end."""
COMMA_BACKTRACK = 20
"""So many tokens behind a comma go with it to the next chunk, rather than being torn apart."""
COMFYUI_WORD = 8
"""From so many tokens on, ComfyUI tears a piece of one weight apart at the border of a chunk."""

PROJECTION: Final = "text_projection.weight"


class Chunk(msgspec.Struct):
    """Up to 75 tokens, how strongly each counts, and where learned vectors stand in for them."""

    ids: list[int] = msgspec.field(default_factory=list)
    weights: list[float] = msgspec.field(default_factory=list)
    vectors: list[tuple[int, torch.Tensor]] = msgspec.field(default_factory=list)
    """Each with the place of its first token."""


class ClipEncoder:
    """One text encoder of a checkpoint with its tokenizer."""

    def __init__(self, row: TextEncoder, module: Any, tokenizer: Any) -> None:
        self.row = row
        self.module = module
        self.tokenizer = tokenizer
        inner = getattr(module, "text_model", module)
        self._embedding: Any = inner.embeddings.token_embedding
        self._final_norm: torch.nn.Module = inner.final_layer_norm
        self._comma: int = tokenizer.encode(",", add_special_tokens=False)[0]

    def encode(
        self,
        texts: Sequence[str],
        clip_skip: int,
        vectors: Vectors,
        conventions: Conventions,
        pictures: SeenPictures = (),
    ) -> dict[str, Encoded]:
        """What one prompt says, one text after another; the same one may come again.

        As in A1111 they have one number of chunks, and their emphasis restores one mean.
        Raises JobError("clip_skip_too_deep").
        """
        chunks = {text: self.chunks(text, vectors, conventions) for text in texts}
        if conventions == "a1111":
            most = max(map(len, chunks.values()))
            chunks = {
                text: found + [Chunk() for _ in range(most - len(found))]
                for text, found in chunks.items()
            }
        layer = self._layer(clip_skip, conventions)
        run = {text: self._run(found, layer) for text, found in chunks.items()}
        states = {text: found for text, (found, _) in run.items()}
        weighted = {
            text: torch.tensor(
                [self._framed(chunk.weights, 1.0) for chunk in found], device=states[text].device
            ).unsqueeze(-1)
            for text, found in chunks.items()
        }
        if any(bool((factors != 1).any()) for factors in weighted.values()):
            if conventions == "comfyui":
                empty = self._run([Chunk()], layer)[0].float()
                for text, factors in weighted.items():
                    states[text] = (states[text].float() - empty) * factors + empty
            else:
                together = torch.stack([states[text] for text in texts])
                factors = torch.stack([weighted[text] for text in texts])
                places = zip(together.unbind(1), factors.unbind(1), strict=True)
                together = torch.stack([emphasized(*place) for place in places], dim=1)
                states = dict(zip(texts, together, strict=True))
        return {
            text: Encoded(found.reshape(1, -1, found.shape[-1]), run[text][1])
            for text, found in states.items()
        }

    def chunks(self, text: str, vectors: Vectors, conventions: Conventions) -> list[Chunk]:
        """The prompt's tokens, in chunks of at most 75; one at least."""
        named = self._named(vectors)
        if conventions == "comfyui":
            for name in vectors:
                # as it is called there
                text = re.sub(rf"(?i)\bembedding:(?={re.escape(name)})", "", text)
            return self._comfyui_chunks(text, named)
        chunks = [Chunk()]
        comma = -1
        """Behind which token of the last chunk a comma stands; -1 where none does."""
        for piece, weight in attention(text):
            if (piece, weight) == BREAK:
                chunks.append(Chunk())
                comma = -1
                continue
            for token in self._tokens(piece, named):
                chunk = chunks[-1]
                if isinstance(token, torch.Tensor):
                    if len(chunk.ids) + len(token) > CHUNK:
                        chunk = Chunk()
                        chunks.append(chunk)
                        comma = -1
                    chunk.vectors.append((len(chunk.ids), token))
                    chunk.ids += [0] * len(token)
                    chunk.weights += [weight] * len(token)
                    continue
                if token == self._comma:
                    comma = len(chunk.ids)
                elif len(chunk.ids) == CHUNK:
                    chunks.append(_torn_off(chunk, comma))
                    comma = -1
                if len(chunks[-1].ids) == CHUNK:
                    chunks.append(Chunk())
                    comma = -1
                chunks[-1].ids.append(token)
                chunks[-1].weights.append(weight)
        # behind a BREAK at the end nothing follows
        return chunks[:-1] if len(chunks) > 1 and not chunks[-1].ids else chunks

    def _comfyui_chunks(
        self, text: str, named: Sequence[tuple[list[int], torch.Tensor]]
    ) -> list[Chunk]:
        """What has one weight and fewer than 8 tokens is not torn apart."""
        chunks = [Chunk()]
        for piece, weight in comfyui_attention(text):
            plain: list[int] = []
            groups: list[list[int] | torch.Tensor] = [plain]
            for token in self._tokens(piece, named):
                if isinstance(token, torch.Tensor):
                    groups += [token, plain := []]
                else:
                    plain.append(token)
            for group in groups:
                rest, whole = group, len(group) < COMFYUI_WORD
                while len(rest):
                    room = CHUNK - len(chunks[-1].ids)
                    if len(rest) > room and whole:
                        chunks.append(Chunk())
                        continue
                    if isinstance(rest, torch.Tensor) and room:
                        chunks[-1].vectors.append((len(chunks[-1].ids), rest[:room]))
                    taken = min(room, len(rest))
                    ids = [0] * taken if isinstance(rest, torch.Tensor) else rest[:taken]
                    chunks[-1].ids += ids
                    chunks[-1].weights += [weight] * taken
                    rest = rest[taken:]
                    if len(rest):
                        chunks.append(Chunk())
        return chunks

    def fits(self, parts: Mapping[str, torch.Tensor]) -> bool | None:
        """Whether an embedding has a part for this encoder; False where it is of another width,
        None where there is none.
        """
        if self.vector(parts) is not None:
            return True
        return False if self._own in parts else None

    @property
    def _own(self) -> str:
        """What embeddings of several parts call the one for this encoder."""
        large = self.row.file == "clip_g" or (self.row.pooled and not self.row.file)
        return "clip_g" if large else "clip_l"

    def vector(self, parts: Mapping[str, torch.Tensor]) -> torch.Tensor | None:
        """Of the parts of an embedding the one that is for this encoder, (tokens, width)."""
        own = self._own
        width = self._embedding.weight.shape[1]
        for part in (own, *sorted(parts.keys() - {"clip_g", "clip_l"})):
            tensor = parts.get(part)
            if tensor is not None and tensor.shape[-1] == width:
                return tensor.reshape(-1, width)
        return None

    def _named(self, vectors: Vectors) -> list[tuple[list[int], torch.Tensor]]:
        """The vectors by the tokens of their names, the longest name first."""
        named: list[tuple[list[int], torch.Tensor]] = []
        for name, parts in vectors.items():
            tensor = self.vector(parts)
            if tensor is not None:
                named.append((self._ids(name), tensor))
        return sorted(named, key=lambda entry: -len(entry[0]))

    def _tokens(
        self, text: str, named: Sequence[tuple[list[int], torch.Tensor]]
    ) -> Iterator[int | torch.Tensor]:
        ids = self._ids(text)
        at = 0
        while at < len(ids):
            for name, tensor in named:
                if ids[at : at + len(name)] == name:
                    yield tensor
                    at += len(name)
                    break
            else:
                yield ids[at]
                at += 1

    def _ids(self, text: str) -> list[int]:
        # the padding of Stable Diffusion 2 is "!", which in a prompt is a word as any other
        ids: list[int] = self.tokenizer(
            text,
            add_special_tokens=False,
            truncation=False,
            verbose=False,
            split_special_tokens=True,
        ).input_ids
        return ids

    def _framed(self, values: list[Any], filling: Any) -> list[Any]:
        return [filling, *values] + [filling] * (CHUNK + 1 - len(values))

    def _layer(self, clip_skip: int, conventions: Conventions) -> int:
        """Whose states count, from behind. SDXL's is always the same in A1111."""
        layer = self.row.layer
        if self.row.final_norm or conventions == "comfyui":
            layer = max(layer, clip_skip)
            depth = self.module.config.num_hidden_layers
            if layer > depth:
                raise JobError("clip_skip_too_deep", high=str(depth))
        return layer

    def _run(self, chunks: list[Chunk], layer: int) -> tuple[torch.Tensor, torch.Tensor | None]:
        """States (chunks, 77, width), and what is pooled of the first chunk (1, projection)."""
        begin, end, pad = (
            self.tokenizer.bos_token_id,
            self.tokenizer.eos_token_id,
            self.tokenizer.pad_token_id,
        )
        rows = [[begin, *chunk.ids, end] + [pad] * (CHUNK - len(chunk.ids)) for chunk in chunks]
        ids = torch.tensor(rows, device=self._embedding.weight.device)
        with torch.no_grad(), _standing_in(self._embedding, chunks):
            found = self.module(ids, output_hidden_states=layer > 1)
            if layer == 1:
                states = found.last_hidden_state
            else:
                states = found.hidden_states[-layer]
                if self.row.final_norm:
                    states = self._final_norm(states)
        pooled: torch.Tensor | None = None
        if self.row.pooled:
            pooled = (found.text_embeds if self.row.projected else found.pooler_output)[:1]
        return states, pooled


def emphasized(states: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """States of shape (texts, 77, width), each token's times its factor, the mean of all kept.

    `factors` are (texts, 77, 1). A1111's "Original" emphasis.
    """
    wide = states.float()
    before = wide.mean()
    wide = wide * factors
    restored = (wide * (before / wide.mean())).to(states.dtype)
    # a mean that the weights brought to nothing can't be brought back
    return restored if torch.isfinite(restored).all() else wide.to(states.dtype)


def _torn_off(chunk: Chunk, comma: int) -> Chunk:
    """What goes to the next chunk of one that is full: all behind a comma that is near its end."""
    at = comma + 1
    if comma < 0 or len(chunk.ids) - comma > COMMA_BACKTRACK:
        return Chunk()
    moved = [(place - at, vector) for place, vector in chunk.vectors if place >= at]
    rest = Chunk(chunk.ids[at:], chunk.weights[at:], moved)
    chunk.vectors = [(place, vector) for place, vector in chunk.vectors if place < at]
    del chunk.ids[at:], chunk.weights[at:]
    return rest


class _standing_in:  # noqa: N801 - reads as the with statement that it is
    """Learned vectors take the place of the embeddings of the tokens that stand for them."""

    def __init__(self, embedding: torch.nn.Module, chunks: list[Chunk]) -> None:
        self._embedding = embedding
        self._vectors = [chunk.vectors for chunk in chunks]
        self._hook: Any = None

    def __enter__(self) -> None:
        if any(self._vectors):
            self._hook = self._embedding.register_forward_hook(self._put)

    def __exit__(self, *_: object) -> None:
        if self._hook is not None:
            self._hook.remove()

    def _put(self, _module: Any, _inputs: Any, states: torch.Tensor) -> torch.Tensor:
        states = states.clone()
        for row, vectors in enumerate(self._vectors):
            for place, tensor in vectors:
                states[row, 1 + place : 1 + place + len(tensor)] = tensor.to(states)
        return states


def empty(row: TextEncoder, config: Path) -> Any:
    """A text encoder without weights, of the figures in a folder's config.json."""
    projected = row.pooled and row.projected
    class_ = transformers.CLIPTextModelWithProjection if projected else transformers.CLIPTextModel
    settings = transformers.CLIPTextConfig.from_pretrained(config)
    with accelerate.init_empty_weights(include_buffers=False):
        return class_(settings)


def load(
    row: TextEncoder,
    tensors: Weights,
    config: Path,
    tokenizer: Path,
    dtype: torch.dtype,
    model: ModelFile,
) -> ClipEncoder:
    """On the CPU, of tensors in the names of transformers or of OpenCLIP. Raises JobError."""
    module = empty(row, config)
    own = {name.removeprefix("transformer."): tensor for name, tensor in tensors.items()}
    if "token_embedding.weight" in tensors:
        own = single_file_utils.convert_open_clip_checkpoint(module, tensors, prefix="")
    words = in_names_of(module, {n.removeprefix("text_model."): t for n, t in own.items()})
    like = module.state_dict().get(PROJECTION)
    if like is not None and row.file == "clip_l":
        # files of it alone may leave out what most models don't read; ComfyUI does as much
        words.setdefault(PROJECTION, torch.eye(*like.shape))
    module = filled(module, words, dtype, model, "text encoder (CLIP)")
    return ClipEncoder(row, module, load_tokenizer(tokenizer))


def in_names_of(module: Any, words: Weights) -> Weights:
    """Weights whose names lack `text_model.`, under the names of that version of transformers."""
    if not hasattr(module, "text_model"):
        return words
    return {
        name if name.startswith("text_projection") else f"text_model.{name}": tensor
        for name, tensor in words.items()
    }

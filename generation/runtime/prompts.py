"""Text to conditioning: prompts of any length in chunks of 75 tokens, weights and clip skip."""

from typing import Any

import msgspec
import torch

from generation.prompt_grammar import weighted
from generation.runtime.faults import JobError

CHUNK = 75
"""Tokens to a chunk: CLIP's 77 without the marks of beginning and end."""


class Chunk(msgspec.Struct, frozen=True):
    """77 token ids, and how strongly each counts."""

    ids: list[int]
    weights: list[float]


def encode(pipe: Any, prompt: str, negative: str, clip_skip: int) -> tuple[Any, Any]:
    """The embeddings of prompt and negative prompt, both of shape (1, 77 x chunks, width).

    Emphasis is A1111's: each token's embedding times its weight, then the whole chunk times what
    brings its mean back to where it was.
    `clip_skip` counts as A1111 does: 1 is the last layer, 2 the one before. As there, a layer that
    is not the last goes through the final norm too.
    Raises JobError("clip_skip_too_deep").
    """
    chunks = [_chunks(pipe.tokenizer, text) for text in (prompt, negative)]
    longest = max(len(found) for found in chunks)
    empty = _chunks(pipe.tokenizer, "")
    embeddings = [
        _embed(pipe, found + empty * (longest - len(found)), clip_skip) for found in chunks
    ]
    return embeddings[0], embeddings[1]


def _chunks(tokenizer: Any, prompt: str) -> list[Chunk]:
    """Token ids in chunks of 77, marks included, padded as the model was trained."""
    ids: list[int] = []
    weights: list[float] = []
    for piece in weighted(prompt):
        # the padding of Stable Diffusion 2 is "!", which in a prompt is a word as any other
        tokens = tokenizer(
            piece.text,
            add_special_tokens=False,
            truncation=False,
            verbose=False,
            split_special_tokens=True,
        ).input_ids
        ids += tokens
        weights += [piece.weight] * len(tokens)
    begin, end, pad = tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id
    chunks = []
    for start in range(0, max(1, len(ids)), CHUNK):
        part, counts = ids[start : start + CHUNK], weights[start : start + CHUNK]
        empty = CHUNK - len(part)
        chunks.append(
            Chunk([begin, *part, end] + [pad] * empty, [1.0, *counts, 1.0] + [1.0] * empty)
        )
    return chunks


def _embed(pipe: Any, chunks: list[Chunk], clip_skip: int) -> torch.Tensor:
    encoder = pipe.text_encoder
    ids = torch.tensor([chunk.ids for chunk in chunks], device=pipe._execution_device)
    with torch.no_grad():
        if clip_skip == 1:
            states = encoder(ids).last_hidden_state
        else:
            depth = encoder.config.num_hidden_layers
            if clip_skip > depth:
                raise JobError("clip_skip_too_deep", high=str(depth))
            layers = encoder(ids, output_hidden_states=True).hidden_states
            states = encoder.final_layer_norm(layers[-clip_skip])
        states = _emphasized(states, [chunk.weights for chunk in chunks])
    embedding: torch.Tensor = states.reshape(1, -1, states.shape[-1])
    return embedding.to(pipe.unet.dtype)


def _emphasized(states: torch.Tensor, weights: list[list[float]]) -> torch.Tensor:
    """States of shape (chunks, 77, width), each token's times its weight, the chunk's mean kept."""
    if all(weight == 1.0 for row in weights for weight in row):
        return states
    wide = states.float()
    factors = torch.tensor(weights, device=states.device).unsqueeze(-1)
    before = wide.mean(dim=(1, 2), keepdim=True)
    wide = wide * factors
    restored = (wide * (before / wide.mean(dim=(1, 2), keepdim=True))).to(states.dtype)
    # a mean that the weights brought to nothing can't be brought back
    usable = torch.isfinite(restored).all(dim=2, keepdim=True).all(dim=1, keepdim=True)
    return torch.where(usable, restored, wide.to(states.dtype))

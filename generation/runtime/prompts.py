"""Text to conditioning: prompts of any length, in chunks of 75 tokens, with clip skip."""

from typing import Any

import torch

from generation.runtime.faults import JobError

CHUNK = 75
"""Tokens to a chunk: CLIP's 77 without the marks of beginning and end."""


def encode(pipe: Any, prompt: str, negative: str, clip_skip: int) -> tuple[Any, Any]:
    """The embeddings of prompt and negative prompt, both of shape (1, 77 x chunks, width).

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


def _chunks(tokenizer: Any, text: str) -> list[list[int]]:
    """Token ids in chunks of 77, marks included, padded as the model was trained."""
    # the padding of Stable Diffusion 2 is "!", which in a prompt is a word as any other
    ids = tokenizer(
        text,
        add_special_tokens=False,
        truncation=False,
        verbose=False,
        split_special_tokens=True,
    ).input_ids
    parts = [ids[start : start + CHUNK] for start in range(0, max(1, len(ids)), CHUNK)]
    begin, end, pad = tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id
    return [[begin, *part, end] + [pad] * (CHUNK - len(part)) for part in parts]


def _embed(pipe: Any, chunks: list[list[int]], clip_skip: int) -> torch.Tensor:
    encoder = pipe.text_encoder
    ids = torch.tensor(chunks, device=pipe._execution_device)
    with torch.no_grad():
        if clip_skip == 1:
            states = encoder(ids).last_hidden_state
        else:
            depth = encoder.config.num_hidden_layers
            if clip_skip > depth:
                raise JobError("clip_skip_too_deep", high=str(depth))
            layers = encoder(ids, output_hidden_states=True).hidden_states
            states = encoder.final_layer_norm(layers[-clip_skip])
    embedding: torch.Tensor = states.reshape(1, -1, states.shape[-1])
    return embedding.to(pipe.unet.dtype)

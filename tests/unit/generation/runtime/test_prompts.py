"""Prompts of any length become conditioning of as many chunks."""

from typing import Any

import pytest
import torch
from transformers import CLIPTokenizer

from generation.messages import RuntimeSettings
from generation.models import ModelFile
from generation.runtime import prompts
from generation.runtime.checkpoints import CONFIGS
from generation.runtime.loading import Models

CPU = torch.device("cpu")
WIDTH = 32


@pytest.fixture(scope="module")
def pipe(tiny: ModelFile) -> Any:
    return Models(RuntimeSettings(), CPU).checkpoint(tiny)


def chunks(embedding: torch.Tensor) -> list[torch.Tensor]:
    return list(torch.split(embedding.squeeze(0), 77))


@pytest.mark.parametrize(("words", "count"), [(0, 1), (75, 1), (76, 2), (150, 2), (151, 3)])
def test_75_tokens_make_a_chunk(pipe: Any, words: int, count: int) -> None:
    positive, negative = prompts.encode(pipe, "cat " * words, "fog", 1)
    assert positive.shape == negative.shape == (1, 77 * count, WIDTH)


def test_a_word_that_is_padding_elsewhere_is_a_word_in_a_prompt() -> None:
    tokenizer = CLIPTokenizer.from_pretrained(CONFIGS / "sd2" / "tokenizer")
    (chunk,) = prompts._chunks(tokenizer, "wow! hey!!!")
    assert tokenizer.pad_token == "!"
    assert chunk[:7] == [49406, 2781, 256, 2189, 995, 49407, 0]


def test_the_shorter_prompt_is_filled_with_empty_chunks(pipe: Any) -> None:
    short, long = prompts.encode(pipe, "a cat", "fog " * 100, 1)
    alone, empty = prompts.encode(pipe, "a cat", "", 1)
    assert torch.allclose(chunks(short)[0], alone, atol=1e-5)
    assert torch.allclose(chunks(short)[1], empty, atol=1e-5)
    assert len(chunks(long)) == 2


def test_one_chunk_is_what_diffusers_makes_of_it(pipe: Any) -> None:
    ours = prompts.encode(pipe, "a lighthouse, at dusk", "fog", 1)
    theirs = pipe.encode_prompt("a lighthouse, at dusk", CPU, 1, True, "fog")
    for mine, its in zip(ours, theirs, strict=True):
        assert torch.allclose(mine, its, atol=1e-5)


def test_the_last_word_of_a_long_prompt_counts_in_the_last_chunk_only(pipe: Any) -> None:
    dog, fox = [prompts.encode(pipe, "cat " * 100 + last, "", 1)[0] for last in ("dog", "fox")]
    assert torch.equal(chunks(dog)[0], chunks(fox)[0])
    assert not torch.equal(chunks(dog)[1], chunks(fox)[1])


def test_clip_skip_takes_an_earlier_layer_through_the_final_norm(pipe: Any) -> None:
    ids = torch.tensor([[49406, 320, 2368] + [49407] * 74])
    with torch.no_grad():
        layers = pipe.text_encoder(ids, output_hidden_states=True).hidden_states
        expected = pipe.text_encoder.final_layer_norm(layers[-2])
    found = prompts.encode(pipe, "a cat", "", 2)[0]
    assert torch.allclose(found, expected, atol=1e-5)
    assert not torch.allclose(found, prompts.encode(pipe, "a cat", "", 1)[0], atol=1e-2)

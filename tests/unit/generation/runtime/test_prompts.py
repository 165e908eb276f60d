"""Prompts of any length become conditioning of as many chunks."""

from typing import Any

import pytest
import torch
from transformers import CLIPTokenizer

from generation.messages import RuntimeSettings
from generation.models import ModelFile
from generation.runtime import prompts
from generation.runtime.checkpoints import CONFIGS
from generation.runtime.loading import LoadedModels

CPU = torch.device("cpu")
WIDTH = 32


@pytest.fixture(scope="module")
def pipe(tiny: ModelFile) -> Any:
    return LoadedModels(RuntimeSettings(), CPU).checkpoint(tiny)


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
    assert chunk.ids[:7] == [49406, 2781, 256, 2189, 995, 49407, 0]


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


@pytest.mark.parametrize(
    "prompt",
    ["(a slice of pizza:1.0)", "(a slice of pizza:1.0)()[]", "a [(slice:1.1)] of pizza"],
)
def test_weights_of_one_are_the_plain_prompt_to_the_last_bit(pipe: Any, prompt: str) -> None:
    plain, _ = prompts.encode(pipe, "a slice of pizza", "", 1)
    assert torch.equal(prompts.encode(pipe, prompt, "", 1)[0], plain)


def test_a_weight_multiplies_its_tokens_and_keeps_the_mean(pipe: Any) -> None:
    plain, _ = prompts.encode(pipe, "a red cat", "", 1)
    strong, _ = prompts.encode(pipe, "a (red:1.5) cat", "", 1)
    # BOS a red cat EOS
    factors = torch.ones(77)
    factors[2] = 1.5
    expected = plain * factors[None, :, None]
    expected = expected * (plain.mean() / expected.mean())
    assert torch.allclose(strong, expected, atol=1e-5)
    assert torch.allclose(strong.mean(), plain.mean(), atol=1e-5)
    assert not torch.allclose(strong, plain, atol=1e-3)


def test_each_chunk_keeps_a_mean_of_its_own(pipe: Any) -> None:
    plain, _ = prompts.encode(pipe, "cat " * 100, "", 1)
    second, _ = prompts.encode(pipe, "cat " * 90 + "(" + "cat " * 10 + ":1.4)", "", 1)
    assert torch.equal(chunks(second)[0], chunks(plain)[0])
    assert not torch.allclose(chunks(second)[1], chunks(plain)[1], atol=1e-3)


def test_the_negative_prompt_has_weights_too(pipe: Any) -> None:
    _, plain = prompts.encode(pipe, "a cat", "fog, rain", 1)
    _, strong = prompts.encode(pipe, "a cat", "fog, (rain:1.4)", 1)
    assert not torch.allclose(strong, plain, atol=1e-3)


def test_brackets_and_numbers_are_no_words(pipe: Any) -> None:
    words = [prompts._chunks(pipe.tokenizer, p) for p in ("a (cat:1.3) dog", "a cat dog")]
    assert words[0][0].ids == words[1][0].ids
    assert (
        prompts._chunks(pipe.tokenizer, "[cat]")[0].ids
        == words[1][0].ids[:1] + (prompts._chunks(pipe.tokenizer, "cat")[0].ids[1:])
    )


def test_escaped_brackets_are_words(pipe: Any) -> None:
    escaped = prompts._chunks(pipe.tokenizer, r"cat \(big\)")[0].ids
    assert escaped != prompts._chunks(pipe.tokenizer, "cat big")[0].ids


def test_a_mean_that_is_gone_is_not_divided_by() -> None:
    states = torch.tensor([[[1.0, 1.0], [1.0, 1.0]]])
    made = prompts._emphasized(states, [[1.0, -1.0]])
    assert torch.isfinite(made).all()
    half = prompts._emphasized(states.half() * 100, [[1.0, -0.99999]])
    assert torch.isfinite(half).all()


def test_a_prompt_of_brackets_is_harmless(pipe: Any) -> None:
    made, _ = prompts.encode(pipe, "[" * 1333 + "](" * 1333, "", 1)
    assert torch.equal(made, prompts.encode(pipe, "", "", 1)[0])

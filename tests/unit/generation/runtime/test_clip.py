"""Prompts of any length become conditioning of as many chunks."""

from typing import Any

import pytest
import torch
import transformers
from diffusers import StableDiffusionPipeline

from generation.families.sd import SD2
from generation.messages import RuntimeSettings
from generation.models import ModelFile
from generation.runtime.encoders.clip import ClipEncoder, emphasized
from generation.runtime.faults import JobError
from generation.runtime.parts import Parts
from generation.runtime.tokenizers import CONFIGS, load_tokenizer

CPU = torch.device("cpu")
WIDTH = 32
SMALLEST = transformers.CLIPTextConfig(
    hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1
)


@pytest.fixture(scope="module")
def model(tiny: ModelFile) -> Any:
    return Parts(RuntimeSettings(), CPU).checkpoint(tiny)


@pytest.fixture(scope="module")
def encoder(model: Any) -> ClipEncoder:
    found: ClipEncoder = model.encoders[0]
    return found


def encode(model: Any, prompt: str, negative: str, clip_skip: int) -> tuple[Any, Any]:
    """The states of prompt and negative prompt at the first step."""
    found = model.conditioner.prompts(prompt, negative, 20, clip_skip=clip_skip)
    return found.parts[0][1].at(0).cross, found.negative.at(0).cross


def ids(encoder: ClipEncoder, prompt: str) -> list[list[int]]:
    return [chunk.ids for chunk in encoder.chunks(prompt, {}, "a1111")]


def chunks(embedding: torch.Tensor) -> list[torch.Tensor]:
    return list(torch.split(embedding.squeeze(0), 77))


@pytest.mark.parametrize(("words", "count"), [(0, 1), (75, 1), (76, 2), (150, 2), (151, 3)])
def test_75_tokens_make_a_chunk(model: Any, words: int, count: int) -> None:
    positive, negative = encode(model, "cat " * words, "fog", 1)
    assert positive.shape == (1, 77 * count, WIDTH)
    assert negative.shape == (1, 77, WIDTH)


def test_a_word_that_is_padding_elsewhere_is_a_word_in_a_prompt() -> None:
    tokenizer = load_tokenizer(CONFIGS / "sd2" / "tokenizer")
    assert tokenizer.pad_token == "!"
    found = ClipEncoder(SD2.encoders[0], transformers.CLIPTextModel(SMALLEST), tokenizer)
    assert ids(found, "wow! hey!!!") == [[2781, 256, 2189, 995]]


def test_each_prompt_has_its_own_length(model: Any) -> None:
    """As in A1111, where they run apart; what is filled up counts as words."""
    short, long = encode(model, "a cat", "fog " * 100, 1)
    assert (len(chunks(short)), len(chunks(long))) == (1, 2)


def test_one_chunk_is_what_diffusers_makes_of_it(model: Any, tiny: ModelFile) -> None:
    ours = encode(model, "a lighthouse, at dusk", "fog", 1)
    pipe = StableDiffusionPipeline.from_pretrained(tiny.path)
    theirs = pipe.encode_prompt("a lighthouse, at dusk", CPU, 1, True, "fog")
    for mine, its in zip(ours, theirs, strict=True):
        assert torch.allclose(mine, its, atol=1e-5)


@pytest.mark.parametrize(
    ("words", "lengths"),
    [
        # a comma among the last 20 of 75: what follows it goes along to the next chunk
        (70 * "cat " + "cat, " + 10 * "dog ", [72, 10]),
        (54 * "cat " + "cat, " + 30 * "dog ", [56, 30]),
        (53 * "cat " + "cat, " + 30 * "dog ", [75, 10]),
        # one that is itself the 76th stays behind
        (75 * "cat " + ", dog", [75, 2]),
        ("cat BREAK dog", [1, 1]),
        ("BREAK dog", [0, 1]),
        ("cat BREAK", [1]),
    ],
)
def test_chunks_end_where_a1111_ends_them(
    encoder: ClipEncoder, words: str, lengths: list[int]
) -> None:
    assert [len(chunk) for chunk in ids(encoder, words)] == lengths


def test_comfyui_does_not_look_for_commas(encoder: ClipEncoder) -> None:
    found = encoder.chunks(70 * "cat " + "cat, " + 10 * "dog ", {}, "comfyui")
    assert [len(chunk.ids) for chunk in found] == [75, 7]


def test_learned_vectors_stand_where_their_name_does(model: Any, encoder: ClipEncoder) -> None:
    vectors = {"my style": {"*": torch.randn(3, WIDTH)}}
    (chunk,) = encoder.chunks("a (my style:1.2) cat", vectors, "a1111")
    assert chunk.weights == [1.0, 1.2, 1.2, 1.2, 1.0]
    assert [place for place, _ in chunk.vectors] == [1]
    plain = model.conditioner.prompts("a my style cat", "", 1).parts[0][1].at(0).cross
    found = model.conditioner.prompts("a my style cat", "", 1, vectors=vectors)
    learned = found.parts[0][1].at(0).cross
    assert not torch.allclose(plain, learned, atol=1e-3)
    # the encoder sees only what stands before a token: the first is as it was
    assert torch.equal(plain[0, :2], learned[0, :2])
    again = model.conditioner.prompts("a my style cat", "", 1).parts[0][1].at(0).cross
    assert torch.equal(plain, again)


def test_in_comfyui_s_way_a_learned_word_may_be_marked(encoder: ClipEncoder) -> None:
    vectors = {"my style": {"*": torch.randn(3, WIDTH)}}
    marked, plain = (
        encoder.chunks(text, vectors, "comfyui")[0]
        for text in ("a (Embedding:my style:1.2) cat", "a (my style:1.2) cat")
    )
    assert (marked.ids, marked.weights) == (plain.ids, plain.weights)
    assert [place for place, _ in marked.vectors] == [1]


def test_learned_vectors_of_another_width_are_named(model: Any) -> None:
    with pytest.raises(JobError) as refused:
        model.conditioner.prompts("a", "", 1, vectors={"wide": {"*": torch.randn(3, WIDTH + 1)}})
    assert (refused.value.code, refused.value.params) == ("embedding_mismatch", {"name": "wide"})


def test_prompts_change_with_the_steps(model: Any) -> None:
    (part,) = model.conditioner.prompts("a [cat:dog:0.5]", "", 10).parts
    cat, dog = [encode(model, f"a {word}", "", 1)[0] for word in ("cat", "dog")]
    # until step 5 and at it, counted from 0, as in A1111
    told = [bool(torch.equal(part[1].at(step).cross, cat)) for step in range(10)]
    assert told == [True] * 6 + [False] * 4
    assert torch.equal(part[1].at(9).cross, dog)


def test_parts_of_a_prompt_have_their_weights(model: Any) -> None:
    found = model.conditioner.prompts("a cat :1.2 AND a dog", "", 10).parts
    assert [weight for weight, _ in found] == [1.2, 1.0]


def test_the_last_word_of_a_long_prompt_counts_in_the_last_chunk_only(model: Any) -> None:
    dog, fox = [encode(model, "cat " * 100 + last, "", 1)[0] for last in ("dog", "fox")]
    assert torch.equal(chunks(dog)[0], chunks(fox)[0])
    assert not torch.equal(chunks(dog)[1], chunks(fox)[1])


def test_clip_skip_takes_an_earlier_layer_through_the_final_norm(model: Any) -> None:
    ids = torch.tensor([[49406, 320, 2368] + [49407] * 74])
    with torch.no_grad():
        layers = model.text_encoders[0](ids, output_hidden_states=True).hidden_states
        expected = model.text_encoders[0].final_layer_norm(layers[-2])
    found = encode(model, "a cat", "", 2)[0]
    assert torch.allclose(found, expected, atol=1e-5)
    assert not torch.allclose(found, encode(model, "a cat", "", 1)[0], atol=1e-2)


@pytest.mark.parametrize(
    "prompt",
    ["(a slice of pizza:1.0)", "(a slice of pizza:1.0)()[]", "a [(slice:1.1)] of pizza"],
)
def test_weights_of_one_are_the_plain_prompt_to_the_last_bit(model: Any, prompt: str) -> None:
    plain, _ = encode(model, "a slice of pizza", "", 1)
    assert torch.equal(encode(model, prompt, "", 1)[0], plain)


def test_a_weight_multiplies_its_tokens_and_keeps_the_mean(model: Any) -> None:
    plain, _ = encode(model, "a red cat", "", 1)
    strong, _ = encode(model, "a (red:1.5) cat", "", 1)
    # BOS a red cat EOS
    factors = torch.ones(77)
    factors[2] = 1.5
    expected = plain * factors[None, :, None]
    expected = expected * (plain.mean() / expected.mean())
    assert torch.allclose(strong, expected, atol=1e-5)
    assert torch.allclose(strong.mean(), plain.mean(), atol=1e-5)
    assert not torch.allclose(strong, plain, atol=1e-3)


def test_each_chunk_keeps_a_mean_of_its_own(model: Any) -> None:
    plain, _ = encode(model, "cat " * 100, "", 1)
    second, _ = encode(model, "cat " * 90 + "(" + "cat " * 10 + ":1.4)", "", 1)
    assert torch.equal(chunks(second)[0], chunks(plain)[0])
    assert not torch.allclose(chunks(second)[1], chunks(plain)[1], atol=1e-3)


def test_the_negative_prompt_has_weights_too(model: Any) -> None:
    _, plain = encode(model, "a cat", "fog, rain", 1)
    _, strong = encode(model, "a cat", "fog, (rain:1.4)", 1)
    assert not torch.allclose(strong, plain, atol=1e-3)


def test_brackets_and_numbers_are_no_words(encoder: ClipEncoder) -> None:
    assert ids(encoder, "a (cat:1.3) dog") == ids(encoder, "a cat dog")
    assert ids(encoder, "[cat]") == ids(encoder, "cat")


def test_escaped_brackets_are_words(encoder: ClipEncoder) -> None:
    assert ids(encoder, r"cat \(big\)") != ids(encoder, "cat big")


def test_a_mean_that_is_gone_is_not_divided_by() -> None:
    states = torch.tensor([[[1.0, 1.0], [1.0, 1.0]]])
    made = emphasized(states, torch.tensor([[[1.0], [-1.0]]]))
    assert torch.isfinite(made).all()
    half = emphasized(states.half() * 100, torch.tensor([[[1.0], [-0.99999]]]))
    assert torch.isfinite(half).all()


def test_a_prompt_of_brackets_is_harmless(model: Any) -> None:
    made, _ = encode(model, "[" * 1333 + "](" * 1333, "", 1)
    assert torch.equal(made, encode(model, "", "", 1)[0])


def test_all_that_a_prompt_says_has_one_number_of_chunks(model: Any) -> None:
    """In A1111 they are encoded together, the shorter with empty chunks."""
    (_, said) = model.conditioner.prompts(f"[{'fog ' * 100}:a cat:2]", "", 4).parts[0]
    long, short = said.at(0).cross, said.at(3).cross
    assert long.shape == short.shape == (1, 154, WIDTH)
    alone, empty = encode(model, "a cat", "", 1)
    assert torch.allclose(short, torch.cat((alone, empty), dim=1), atol=1e-6)


def test_emphasis_restores_the_mean_of_all_that_a_prompt_says() -> None:
    generator = torch.manual_seed(3)
    states = torch.randn((2, 77, 8), generator=generator) + torch.tensor([1.0, 3.0])[:, None, None]
    factors = torch.ones(2, 77, 1)
    factors[0, 3:9] = 1.5
    made = emphasized(states, factors)
    assert made.mean().item() == pytest.approx(states.mean().item(), rel=1e-5)
    assert made[1].mean().item() != pytest.approx(states[1].mean().item(), rel=1e-5)


def test_emphasis_of_one_text_acts_on_what_is_said_later(model: Any, encoder: ClipEncoder) -> None:
    plain = encoder.encode(["a cat", "a dog"], 1, {}, "a1111")
    mixed = encoder.encode(["a (cat:1.5)", "a dog"], 1, {}, "a1111")
    alone = encoder.encode(["a dog"], 1, {}, "a1111")
    assert torch.allclose(plain["a dog"].states, alone["a dog"].states, atol=1e-6)
    assert mixed.keys() == {"a (cat:1.5)", "a dog"}
    own = encoder.encode(["a (cat:1.5)", "a dog"], 1, {}, "comfyui")
    assert torch.allclose(own["a dog"].states, alone["a dog"].states, atol=1e-6)


def test_comfyui_keeps_short_pieces_of_one_weight_together(encoder: ClipEncoder) -> None:
    """From 8 tokens on they are torn apart."""

    def lengths(text: str) -> list[int]:
        return [len(chunk.ids) for chunk in encoder.chunks(text, {}, "comfyui")]

    assert lengths(70 * "cat " + "(dog dog dog dog dog dog dog:1.2)") == [70, 7]
    assert lengths(70 * "cat " + "(dog dog dog dog dog dog dog dog:1.2)") == [75, 3]
    assert lengths("cat BREAK [dog]") == [5]
    vectors = {"my style": {"*": torch.randn(6, WIDTH)}}
    chunks = encoder.chunks(71 * "cat " + "my style", vectors, "comfyui")
    assert [(len(c.ids), [place for place, _ in c.vectors]) for c in chunks] == [(71, []), (6, [0])]


def test_comfyui_knows_no_schedule_and_no_and(model: Any) -> None:
    found = model.conditioner.prompts("a [cat:dog:2] AND fog", "", 4, conventions="comfyui")
    assert len(found.parts) == 1
    assert torch.equal(found.parts[0][1].at(0).cross, found.parts[0][1].at(3).cross)

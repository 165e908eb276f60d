"""T5 in ComfyUI's way: a weight moves a token away from that of an empty prompt."""

from typing import Any

import pytest
import torch

from generation.families.chroma import CHROMA
from generation.families.flux import FLUX
from generation.families.sd3 import SD35
from generation.runtime.conditioning import joined
from generation.runtime.encoders.encoder import Encoded
from generation.runtime.encoders.t5 import T5Encoder
from generation.runtime.tokenizers import load_t5_tokenizer
from tests.fixtures import flux


@pytest.fixture(scope="module")
def module() -> Any:
    torch.manual_seed(3)
    return flux.tiny_t5().eval()


def states(module: Any, family: Any, text: str) -> torch.Tensor:
    row = next(row for row in family.encoders if row.make == "t5")
    encoder = T5Encoder(row, module, load_t5_tokenizer())
    return encoder.encode([text], 1, {}, "comfyui")[text].states


def test_a_weight_moves_a_token_away_from_nothing(module: Any) -> None:
    plain, twice = (states(module, FLUX, text) for text in ("a fox", "(a fox:2)"))
    nothing = states(module, FLUX, "")
    count = len(load_t5_tokenizer()("a fox", add_special_tokens=False).input_ids)
    moved = nothing + 2 * (plain - nothing)
    assert torch.allclose(twice[:, :count], moved[:, :count], atol=1e-5)
    assert torch.equal(twice[:, count:], plain[:, count:]), "the rest is as it was"
    assert not torch.allclose(twice[:, :count], plain[:, :count], atol=1e-2)


@pytest.mark.parametrize(("family", "tokens"), [(FLUX, 256), (SD35, 77)])
def test_a_prompt_is_filled_up_as_far_as_comfyui_does(
    module: Any, family: Any, tokens: int
) -> None:
    assert states(module, family, "a (red:1.3) fox").shape[1] == tokens


def test_chroma_is_not_filled_up_and_its_nothing_has_no_end(module: Any) -> None:
    plain, twice = (states(module, CHROMA, text) for text in ("a fox", "(a fox:2)"))
    tokenizer = load_t5_tokenizer()
    ids = tokenizer("a fox").input_ids
    assert plain.shape[1] == len(ids)
    nothing = module(torch.tensor([[tokenizer.pad_token_id] * len(ids)])).last_hidden_state
    moved = nothing + 2 * (plain - nothing)
    assert torch.allclose(twice[:, :-1], moved[:, :-1], atol=1e-5)


def test_where_it_is_not_there_what_the_others_say_is_as_wide_as_with_it() -> None:
    rows = SD35.encoders[:2]
    said = [Encoded(torch.ones(1, 77, width), torch.ones(1, width)) for width in (8, 12)]
    cross, _ = joined(rows, said, {0: 40})
    assert cross.shape == (1, 77, 40)
    assert not cross[..., 20:].any()

"""The parts of the training, each on its own and untrained."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from training import enlarging
from training.art import SIZE, Art, ArtError, Placed, Scene, find_art
from training.card import write_card
from training.controlnet import edges
from training.enlarging import Enlarged
from training.evaluate import Outcome, Report, pair_tasks, single_tasks
from training.export import vocabulary
from training.lora import kohya_key, write_kohya
from training.sheets import PROMPTS, edge_agreement, sheet
from training.styles import PIXEL, STYLES, pixel_art
from training.text import make_tokenizer, tokenize
from training.things import COLOURS, THINGS
from training.unet import Diffusion, new_unet
from training.vae import new_vae, psnr, to_tensor

DEMO_VOCABULARY = (
    Path(__file__).resolve().parents[2] / "models" / "diffusers" / "demo" / "vocabulary.json"
)

pytestmark = pytest.mark.filterwarnings("default")  # transformers warns of absent torchvision


@pytest.fixture(scope="module")
def art(emoji: Path) -> Art:
    return Art(emoji)


def _scene(thing: int = 0, colour: str = "blue") -> Scene:
    return Scene((Placed(thing, 0.5, 0.5, 0.7),), list(COLOURS).index(colour), 0, 1)


def test_a_scene_is_painted_on_its_colour(art: Art) -> None:
    picture = art.paint(_scene())
    assert picture.shape == (SIZE, SIZE, 3)
    assert picture.dtype == np.uint8
    assert tuple(picture[0, 0]) == COLOURS["blue"]
    assert (picture[SIZE // 2, SIZE // 2] != picture[0, 0]).any()


def test_without_npm_the_missing_art_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ArtError, match="npm is not installed"):
        find_art(tmp_path)


def test_pixel_art_is_made_of_squares(art: Art) -> None:
    picture = pixel_art(art.paint(_scene()))
    squares = picture[::PIXEL, ::PIXEL].repeat(PIXEL, 0).repeat(PIXEL, 1)
    assert np.array_equal(picture, squares)


@pytest.mark.parametrize("style", STYLES, ids=lambda style: style.name)
def test_a_style_changes_a_picture_and_keeps_its_size(art: Art, style: object) -> None:
    picture = art.paint(_scene())
    made = style.apply(picture)  # type: ignore[attr-defined]
    assert made.shape == picture.shape
    assert np.abs(made.astype(int) - picture).mean() > 3


@pytest.mark.slow
def test_an_untrained_autoencoder_already_makes_thumbnails(art: Art) -> None:
    torch.manual_seed(0)
    pictures = to_tensor([art.paint(_scene(i, colour)) for i, colour in enumerate(COLOURS)])
    decibels, made = psnr(new_vae(), pictures)
    assert made.shape == pictures.shape
    assert decibels > 15


def test_known_words_are_whole_tokens(tmp_path: Path) -> None:
    tokenizer = make_tokenizer(tmp_path)
    words = [thing.name for thing in THINGS if thing.name.isalpha()]
    ids = tokenize(tokenizer, words)
    assert ids.shape == (len(words), 77)
    assert all(ids[:, 2] == tokenizer.eos_token_id)
    assert tokenizer.decode(
        tokenizer("a RED apple").input_ids, skip_special_tokens=True
    ).split() == [
        "a",
        "red",
        "apple",
    ]


def test_the_objective_is_nought_for_a_perfect_prediction() -> None:
    diffusion = Diffusion(torch.device("cpu"))
    latents = torch.randn(8, 4, 16, 16)

    def perfect(noisy: torch.Tensor, t: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        signal, sigma = diffusion.signal[t, None, None, None], diffusion.noise[t, None, None, None]
        noise = (noisy - signal * latents) / sigma
        v: torch.Tensor = signal * noise - sigma * latents
        return v

    loss = diffusion.loss(perfect, latents, torch.zeros(8), torch.Generator().manual_seed(0))
    assert float(loss) < 1e-4


def test_a_lora_has_kohyas_keys_and_metadata(tmp_path: Path) -> None:
    name = "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_out.0"
    assert kohya_key(f"{name}.lora_A.weight") == (
        "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_out_0.lora_down.weight"
    )
    weights = {f"{name}.lora_A.weight": torch.ones(8, 4), f"{name}.lora_B.weight": torch.ones(4, 8)}
    target = tmp_path / "demo-pixel-art.safetensors"
    write_kohya(weights, STYLES[0], 3, target)
    with safe_open(target, "pt") as file:
        ends = {key.split(".", 1)[1] for key in file.keys()}  # noqa: SIM118
        assert ends == {"lora_down.weight", "lora_up.weight", "alpha"}
        assert file.metadata()["ss_trigger_words"] == STYLES[0].trigger


def test_edges_agree_with_themselves(art: Art) -> None:
    picture = art.paint(_scene(4, "white"))
    lines = edges(picture)
    assert set(np.unique(lines)) == {0, 255}
    assert edge_agreement(lines, picture) == 1
    assert edge_agreement(lines, np.zeros_like(picture)) == 0


def test_every_thing_is_measured_once_and_pairs_are_of_different_things() -> None:
    singles, pairs = single_tasks(), pair_tasks()
    assert [task.things for task in singles] == [(i,) for i in range(len(THINGS))]
    assert {task.colour for task in singles} == set(range(len(COLOURS)))
    assert all(len(set(task.things)) == 2 for task in pairs)


def test_the_vocabulary_names_all_there_is() -> None:
    words = vocabulary()
    assert list(words["things"]) == [thing.name for thing in THINGS]
    assert "kitten" in words["things"]["cat"]
    assert set(words["colours"]) == set(COLOURS)
    assert words == json.loads(DEMO_VOCABULARY.read_text(encoding="utf-8"))
    assert words["styles"] == {"pixel art": "demo-pixel-art", "pencil sketch": "demo-pencil-sketch"}


def test_the_card_gives_the_figures_and_the_failures(tmp_path: Path) -> None:
    demo = tmp_path / "diffusers" / "demo"
    demo.mkdir(parents=True)
    bad, good = Outcome("a fox on red", 0.25, 1.0), Outcome("an owl on blue", 1.0, 1.0)
    Report(0.9, 0.95, 0.7, (bad, good), (), decibels=30.04).save(tmp_path / "measured.json")
    write_card(tmp_path, tmp_path, "So far so good.")
    card = (demo / "README.md").read_text(encoding="utf-8")
    assert "| the thing | 90.0% |" in card
    assert "| 30.0 dB | 30 dB |\n\nPrompts" in card
    assert "edges that" not in card
    assert "a fox on red." in card
    assert "an owl on blue" not in card
    assert "So far so good." in card
    assert "PSNR" not in card
    enlarging.save({"upscaler": Enlarged(39.5, 0.9926, 0.95)}, tmp_path / "enlarged.json")
    write_card(tmp_path, tmp_path, "So far so good.")
    card = (demo / "README.md").read_text(encoding="utf-8")
    assert "| upscaler | 39.50 dB | 0.9926 | 95.0% |" in card
    assert json.loads((tmp_path / "measured.json").read_text(encoding="utf-8"))["seeds"] == 4


def test_a_card_without_figures_says_so(tmp_path: Path) -> None:
    (tmp_path / "diffusers" / "demo").mkdir(parents=True)
    write_card(tmp_path, tmp_path, "Just begun.")
    card = (tmp_path / "diffusers/demo/README.md").read_text(encoding="utf-8")
    assert "## Measured\nNot yet." in card
    assert "not trained yet" in card


def test_a_sheet_holds_all_its_pictures(art: Art) -> None:
    made = sheet([art.paint(_scene(i)) for i in range(5)], list(PROMPTS[:5]), 3)
    assert made.width > 3 * SIZE
    assert made.height > 2 * SIZE


def test_the_unet_is_small_enough_to_ship() -> None:
    assert 2 * sum(p.numel() for p in new_unet().parameters()) < 30e6

"""Captions say what the scenes show."""

from itertools import pairwise

from training.art import random_for
from training.captions import NOISE, noise_words, sample, sample_anywhere
from training.things import (
    COLOUR_SYNONYMS,
    COLOURS,
    PLACE_WORDS,
    SIZE_WORDS,
    THINGS,
    article,
    plural,
)

SAMPLES = [sample(random_for("test", i)) for i in range(400)]
ANYWHERE = [sample_anywhere(random_for("test", i)) for i in range(400)]


def test_there_are_enough_things_and_colours_with_names_of_their_own() -> None:
    names = [name for thing in THINGS for name in thing.names]
    assert len(THINGS) >= 100
    assert len(COLOURS) >= 12
    assert len(set(names)) == len(names)


def test_a_caption_names_everything_in_its_scene() -> None:
    for captioned in SAMPLES + ANYWHERE:
        for placed in captioned.scene.placed:
            words = THINGS[placed.thing].names
            assert any(n in captioned.caption or plural(n) in captioned.caption for n in words)
        if captioned.says_colour:
            colour = list(COLOURS)[captioned.scene.colour]
            said = (colour, *COLOUR_SYNONYMS.get(colour, ()))
            assert any(word in captioned.caption for word in said)


def test_a_scene_is_fixed_by_its_key_alone() -> None:
    assert sample(random_for("test", 7)) == SAMPLES[7]
    assert all(one != other for one, other in pairwise(SAMPLES))


def test_things_lie_inside_the_picture() -> None:
    for captioned in SAMPLES + ANYWHERE:
        for placed in captioned.scene.placed:
            half = placed.scale / 2
            assert -0.03 < placed.x - half < placed.x + half < 1.03
            assert -0.03 < placed.y - half < placed.y + half < 1.03


def test_things_anywhere_lie_all_over_and_no_caption_says_where() -> None:
    said = [word for words in (*PLACE_WORDS.values(), *SIZE_WORDS.values()) for word in words]
    for captioned in ANYWHERE:
        assert not any(f" {word.strip()} " in f" {captioned.caption} " for word in said)
    placed = [placed for captioned in ANYWHERE for placed in captioned.scene.placed]
    for corner in ((0, 0), (0, 1), (1, 0), (1, 1)):
        assert sum((p.x > 0.55, p.y > 0.55) == corner for p in placed) > len(placed) / 10
    assert {p.mirrored for p in placed} == {False, True}


def test_noise_words_name_nothing() -> None:
    assert set(noise_words(random_for("noise")).split(", ")) <= set(NOISE)


def test_articles_and_plurals() -> None:
    assert article("apple") + "apple" == "an apple"
    assert article("unicorn") + "unicorn" == "a unicorn"
    assert article("umbrella") == "an "
    assert article("fries") == ""
    assert [plural(word) for word in ("apple", "fox", "strawberry", "key", "fish")] == [
        "apples",
        "foxes",
        "strawberries",
        "keys",
        "fish",
    ]

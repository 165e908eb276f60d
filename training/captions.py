"""Random scenes and captions that say what they show."""

import random
from dataclasses import dataclass

from training.art import Placed, Scene
from training.things import (
    COLOUR_SYNONYMS,
    COLOURS,
    LAYOUTS,
    PLACE_WORDS,
    SIDE_BY_SIDE,
    SIZE_WORDS,
    SIZES,
    STACKED,
    THINGS,
    article,
    plural,
)

_COLOUR_NAMES = tuple(COLOURS)
_WHITE = _COLOUR_NAMES.index("white")
_PREFIXES = (
    "a picture of ",
    "an image of ",
    "a drawing of ",
    "an emoji of ",
    "draw ",
    "a photo of ",
)
_SUFFIXES = (
    ", highly detailed",
    ", best quality",
    ", masterpiece",
    ", 4k",
    ", digital art",
    ", cute",
)
_BACKGROUNDS = (
    " on {a}{} background",
    " on {}",
    ", {} background",
    " with {a}{} background",
    " on {} background",
)
# words that people write and that say nothing about what is in the picture
_NOISE = """
blurry, low quality, worst quality, lowres, bad anatomy, ugly, deformed, watermark, text, noise,
jpeg artifacts, cropped, out of frame, duplicate, best quality, masterpiece, highly detailed, 4k,
8k, cute, digital art, cinematic lighting, sharp focus, photo, drawing, 3d render, simple,
beautiful, hdr, pixel art, pencil sketch
"""
NOISE = tuple(words.strip() for words in _NOISE.split(","))
FILLERS = tuple(
    dict.fromkeys(
        text.replace("{a}{}", "").replace("{}", "").strip(", ")
        for text in (*_PREFIXES, *_SUFFIXES, *_BACKGROUNDS, *NOISE)
    )
)
"""What prompts say around the things in them."""


@dataclass(frozen=True)
class Captioned:
    """A scene, its caption, and whether the caption names the background."""

    scene: Scene
    caption: str
    says_colour: bool


def sample(rng: random.Random) -> Captioned:
    """Draw a scene and a caption for it: one thing in four of five, else a pair."""
    return _captioned(rng, *(_pair(rng) if rng.random() < 0.24 else _single(rng)))


def sample_anywhere(rng: random.Random) -> Captioned:
    """Draw a scene whose things lie anywhere, in any size, and a caption that doesn't say where.

    What a ControlNet learns from: only the picture that it is given says where things are.
    """
    things = [rng.randrange(len(THINGS)) for _ in range(2 if rng.random() < 0.24 else 1)]
    slots = [(0.0, 1.0)] if len(things) == 1 else [(0.0, 0.5), (0.5, 1.0)]
    across = rng.random() < 0.5  # side by side, or one above the other
    placed = []
    for thing, (low, high) in zip(things, slots, strict=True):
        scale = rng.uniform(0.36, 0.5 if len(things) > 1 else 0.96)
        along = _within(rng, low, high, scale)
        other = _within(rng, 0.0, 1.0, scale)
        x, y = (along, other) if across else (other, along)
        placed.append(Placed(thing, x, y, scale, mirrored=rng.random() < 0.5))
    names = [_name(rng, thing) for thing in things]
    rng.shuffle(names)
    return _captioned(rng, Scene(tuple(placed), 0, 0, 1), " and ".join(names))


def _within(rng: random.Random, low: float, high: float, scale: float) -> float:
    """A centre such that a thing of width `scale` lies between `low` and `high`."""
    return rng.uniform(low + scale / 2, high - scale / 2)


def _captioned(rng: random.Random, scene: Scene, subject: str) -> Captioned:
    """`scene` on a background, and `subject` with words for that background or not."""
    says_colour = rng.random() < 0.75
    # most backgrounds that no caption names are white, so that such prompts come out plain
    any_colour = says_colour or rng.random() < 0.4
    colour = rng.randrange(len(COLOURS)) if any_colour else _WHITE
    tint = tuple(rng.uniform(-5, 5) for _ in range(3))
    scene = Scene(
        scene.placed,
        colour,
        scene.layout,
        scene.size,
        (tint[0], tint[1], tint[2]),
        rng.uniform(-2, 8),
    )
    background = ""
    if says_colour:
        name = _COLOUR_NAMES[colour]
        name = rng.choice((name, name, name, *COLOUR_SYNONYMS.get(name, ())))
        background = rng.choice(_BACKGROUNDS).format(name, a=article(name))
    prefix = rng.choice(_PREFIXES) if rng.random() < 0.25 else ""
    suffix = rng.choice(_SUFFIXES) if rng.random() < 0.25 else ""
    return Captioned(scene, prefix + subject + background + suffix, says_colour)


def noise_words(rng: random.Random) -> str:
    """A prompt that names nothing, as negative prompts do."""
    return ", ".join(rng.sample(NOISE, rng.randint(1, 6)))


def _name(rng: random.Random, thing: int) -> str:
    names = THINGS[thing].names
    return names[0] if rng.random() < 0.7 else rng.choice(names)


def _single(rng: random.Random) -> tuple[Scene, str]:
    thing = rng.randrange(len(THINGS))
    size = rng.choices((0, 1, 2), (0.2, 0.6, 0.2))[0]
    scale = (rng.uniform(0.36, 0.44), rng.uniform(0.66, 0.76), rng.uniform(0.94, 1.0))[size]
    layout = rng.randint(1, 4) if size < 2 and rng.random() < 0.3 else 0
    edge = (1 - scale) / 2 * 0.92
    x, y = {0: (0, 0), 1: (-edge, 0), 2: (edge, 0), 3: (0, -edge), 4: (0, edge)}[layout]
    jitter = 0.02
    placed = Placed(
        thing,
        0.5 + x + rng.uniform(-jitter, jitter),
        0.5 + y + rng.uniform(-jitter, jitter),
        scale,
    )
    words = _name(rng, thing)
    if size != 1:
        words = f"{rng.choice(SIZE_WORDS[SIZES[size]])} {words}"
    if rng.random() < 0.5:
        words = article(words) + words
    if layout:
        words += rng.choice(PLACE_WORDS[LAYOUTS[layout]])
    return Scene((placed,), 0, layout, size), words


def _pair(rng: random.Random) -> tuple[Scene, str]:
    first = rng.randrange(len(THINGS))
    second = first if rng.random() < 0.15 else rng.randrange(len(THINGS))
    layout = SIDE_BY_SIDE if rng.random() < 0.75 else STACKED
    scale = rng.uniform(0.42, 0.48)
    along = [0.26 + rng.uniform(-0.015, 0.015), 0.74 + rng.uniform(-0.015, 0.015)]
    across = 0.5 + rng.uniform(-0.03, 0.03)
    points = [(a, across) if layout == SIDE_BY_SIDE else (across, a) for a in along]
    placed = tuple(
        Placed(thing, x, y, scale) for thing, (x, y) in zip((first, second), points, strict=True)
    )
    return Scene(placed, 0, layout, 0), _pair_words(rng, first, second, layout)


def _pair_words(rng: random.Random, first: int, second: int, layout: int) -> str:
    one, two = _name(rng, first), _name(rng, second)
    if layout == STACKED:
        form = rng.choice(("{a} above {b}", "{0} over {1}", "{0} at the top and {1} at the bottom"))
    elif first == second and rng.random() < 0.7:
        return f"two {plural(one)}"
    else:
        form = rng.choice(
            (
                "{a} and {b}",
                "{0} and {1}",
                "{0} and {1}",
                "{a} next to {b}",
                "{0} on the left and {1} on the right",
                "{0} left, {1} right",
            )
        )
    return form.format(one, two, a=article(one) + one, b=article(two) + two)

"""The demo's tagger: a small network that says by tags what a picture of the demo shows.

It is written in the layout of SmilingWolf's WD taggers, model.onnx beside selected_tags.csv, so
that it is read by what reads those. It says nothing of how fit a picture is for whom: it has seen
emoji alone.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (the customary name)
from PIL import Image
from torch import Tensor, nn

from training.art import SIZE, Art, Picture, random_for
from training.captions import sample
from training.classifier import roughen
from training.loop import Budget, Run, cosine
from training.precision import mixed_precision
from training.styles import STYLES
from training.things import COLOURS, LAYOUTS, PLACE_WORDS, THINGS
from training.upscaler import LargeArt
from training.vae import to_tensor

BATCH = 32
WIDTHS = (3, 24, 48, 96, 144, 192)
STYLED = 0.2
"""Share of the pictures that are shown in one of the styles."""
STRANGE = 0.15
"""Share of those that show nothing that the demo draws."""
SEED = "tagger"
PLACES = tuple(PLACE_WORDS)
TAGS = (
    *(thing.name for thing in THINGS),
    *PLACES,
    *(f"{colour} background" for colour in COLOURS),
    *(style.trigger for style in STYLES),
)
"""In the order in which a prompt of the demo names them."""


def _block(inside: int, outside: int, stride: int) -> list[nn.Module]:
    return [
        nn.Conv2d(inside, outside, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(outside),
        nn.ReLU(),
    ]


class Tagger(nn.Module):
    """Pictures (N, 3, 128, 128) in -1..1 -> logits (N, len(TAGS))."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inside, outside in pairwise(WIDTHS):
            layers += [*_block(inside, outside, 2), *_block(outside, outside, 1)]
        self.layers = nn.Sequential(*layers)
        # where a thing lies is told by the map, what it is by its strongest and its mean
        self.places = nn.Linear(WIDTHS[-1] * 16, len(PLACES))
        self.tags = nn.Linear(2 * WIDTHS[-1], len(TAGS))

    def forward(self, pictures: Tensor) -> Tensor:
        features = self.layers(pictures)
        pooled = torch.cat([features.mean((2, 3)), features.amax((2, 3))], 1)
        logits: Tensor = self.tags(pooled)
        begin = len(THINGS)
        places = self.places(features.flatten(1))
        return torch.cat([logits[:, :begin], places, logits[:, begin + len(PLACES) :]], 1)


@dataclass(frozen=True)
class Lesson:
    """A picture and which of TAGS hold of it."""

    picture: Picture
    tags: frozenset[str]


def lesson(art: Art, others: LargeArt, rng: random.Random) -> Lesson:
    """A scene of the demo's, or something that it knows nothing of, and its tags."""
    scene = sample(rng).scene
    tags = {f"{tuple(COLOURS)[scene.colour]} background"}
    if rng.random() < STRANGE:
        return Lesson(roughen(_strange(others, rng), rng), frozenset())
    tags |= {THINGS[placed.thing].name for placed in scene.placed}
    layout = LAYOUTS[scene.layout]
    if layout in PLACES:
        tags.add(layout)
    picture = art.paint(scene)
    if rng.random() < STYLED:
        style = rng.choice(STYLES)
        picture = style.apply(picture)
        tags.add(style.trigger)
        if style.trigger == "pencil sketch":
            tags = {tag for tag in tags if not tag.endswith(" background")}
        return Lesson(picture, frozenset(tags))
    return Lesson(roughen(picture, rng), frozenset(tags))


def _strange(others: LargeArt, rng: random.Random) -> Picture:
    """Emoji that the demo does not draw, on any colour, or mere noise."""
    if not others.strange or rng.random() < 0.2:
        side = rng.choice((2, 4, 8, 16, 32, 64, 128))
        noise = np.random.default_rng(rng.getrandbits(32)).integers(0, 256, (side, side, 3))
        rough = Image.fromarray(noise.astype(np.uint8))
        return np.asarray(rough.resize((SIZE, SIZE), Image.Resampling.BICUBIC))
    return np.asarray(others.paint(rng, others.strange, 2 * SIZE).reduce(2))


def train_tagger(
    art: Art, folder: Path, budget: Budget, device: torch.device, target: Path
) -> None:
    """Train in `folder`/tagger and write the network and its tags into the folder `target`."""
    torch.manual_seed(0)
    others, untrained = LargeArt(art), Tagger().to(device)
    laid_out: Any = untrained
    model: Tagger = laid_out.to(memory_format=torch.channels_last)
    groups: list[dict[str, object]] = [{"params": list(model.parameters())}]
    run = Run(folder / "tagger", model, groups, lr=3e-3, ema_decay=0.99, weight_decay=0.02)

    def loss(step: int, progress: float) -> Tensor:
        pictures, tags = _batch(art, others, "lesson", step)
        pictures = pictures.to(device, memory_format=torch.channels_last)
        with mixed_precision(device):
            logits = model(pictures)
        return _loss(logits.float(), tags.to(device))

    run.train(loss, budget, schedule=cosine, warmup=50)
    with run.averaged():
        _settle(model, art, others, device)
        print(f"tagger: {accuracy(model, art, others, device)}", flush=True)
        write(model.cpu().eval(), target)


def _loss(logits: Tensor, tags: Tensor) -> Tensor:
    """Each tag for itself; and the things against each other, by which they are learned sooner."""
    each = F.binary_cross_entropy_with_logits(logits, tags) * len(TAGS)
    things = tags[:, : len(THINGS)]
    shown = things.sum(1) > 0
    against = F.cross_entropy(
        logits[shown, : len(THINGS)], things[shown] / things[shown].sum(1, keepdim=True)
    )
    return each + against


def _batch(art: Art, others: LargeArt, seed: str, step: int) -> tuple[Tensor, Tensor]:
    """Pictures (BATCH, 3, 128, 128) in -1..1 and their tags (BATCH, len(TAGS)), 0 or 1."""
    lessons = [lesson(art, others, random_for(SEED, seed, step, i)) for i in range(BATCH)]
    tags = torch.tensor([[float(tag in one.tags) for tag in TAGS] for one in lessons])
    return to_tensor([one.picture for one in lessons]), tags


@torch.no_grad()
def _settle(model: Tagger, art: Art, others: LargeArt, device: torch.device) -> None:
    """Means and variances of the averaged weights, which training had only of its own."""
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.reset_running_stats()
            layer.momentum = None
    model.train()
    for step in range(32):
        model(_batch(art, others, "settling", step)[0].to(device))
    model.eval()


@torch.no_grad()
def accuracy(model: Tagger, art: Art, others: LargeArt, device: torch.device) -> str:
    """On scenes that no step trained on, from 0.5 on a tag counts as said."""
    right: dict[str, list[bool]] = {}
    for step in range(16):
        pictures, wanted = _batch(art, others, "held out", step)
        said = model(pictures.to(device)).cpu() > 0
        for name, columns in _kinds().items():
            same = (said[:, columns] == (wanted[:, columns] > 0.5)).all(1)
            right.setdefault(name, []).extend(same.tolist())
    return ", ".join(f"{name} {np.mean(values):.1%}" for name, values in right.items())


def _kinds() -> dict[str, slice]:
    """Which of the columns of TAGS are of which kind."""
    ends = (len(THINGS), len(PLACES), len(COLOURS), len(STYLES))
    begins = [sum(ends[:place]) for place in range(len(ends))]
    names = ("things", "places", "backgrounds", "styles")
    return {
        name: slice(begin, begin + length)
        for name, begin, length in zip(names, begins, ends, strict=True)
    }


def write(model: Tagger, target: Path) -> None:
    """model.onnx and selected_tags.csv, as SmilingWolf publishes them, into the folder `target`.

    The graph takes pictures (N, 128, 128, 3), blue first, 0 to 255, and gives probabilities.
    """
    import onnx
    from onnx import TensorProto, helper

    target.mkdir(parents=True, exist_ok=True)
    graph = _Graph()
    last = graph.run("Transpose", ["input"], perm=[0, 3, 1, 2])
    last = graph.run("Mul", [last, graph.weight(np.float32(1 / 127.5))])
    last = graph.run("Sub", [last, graph.weight(np.float32(1))])
    for number, (weight, bias, stride) in enumerate(_folded(model)):
        weight = weight[:, ::-1] if number == 0 else weight  # blue comes first
        inputs = [last, graph.weight(weight), graph.weight(bias)]
        made = graph.run("Conv", inputs, strides=[stride] * 2, pads=[1] * 4, kernel_shape=[3, 3])
        last = graph.run("Relu", [made])
    mean = graph.run("Flatten", [graph.run("GlobalAveragePool", [last])])
    most = graph.run("Flatten", [graph.run("GlobalMaxPool", [last])])
    pooled = graph.run("Concat", [mean, most], axis=1)
    tags, shift = model.tags.weight, model.tags.bias
    begin, end = len(THINGS), len(THINGS) + len(PLACES)
    parts = [
        graph.linear(pooled, tags[:begin], shift[:begin]),
        graph.linear(graph.run("Flatten", [last]), model.places.weight, model.places.bias),
        graph.linear(pooled, tags[end:], shift[end:]),
    ]
    graph.run("Sigmoid", [graph.run("Concat", parts, axis=1)], into="output")
    ports = [
        helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", SIZE, SIZE, 3]),
        helper.make_tensor_value_info("output", TensorProto.FLOAT, ["N", len(TAGS)]),
    ]
    made = helper.make_model(
        helper.make_graph(graph.nodes, "tagger", ports[:1], ports[1:], graph.weights),
        producer_name="darkroom",
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.checker.check_model(made)
    onnx.save(made, target / "model.onnx")
    rows = (f"{place},{tag.replace(' ', '_')},0,0" for place, tag in enumerate(TAGS))
    text = "\n".join(("tag_id,name,category,count", *rows, ""))
    (target / "selected_tags.csv").write_text(text, encoding="utf-8", newline="\n")


def _folded(model: Tagger) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    """Weights and biases of the convolutions, with what normalises them behind folded in."""
    layers = list(model.layers)
    for convolution, norm in pairwise(layers):
        if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            assert norm.running_mean is not None
            assert norm.running_var is not None
            factor = norm.weight / torch.sqrt(norm.running_var + norm.eps)
            weight = convolution.weight * factor[:, None, None, None]
            bias = norm.bias - norm.running_mean * factor
            yield weight.detach().numpy(), bias.detach().numpy(), convolution.stride[0]


class _Graph:
    """Nodes and weights as they are added."""

    def __init__(self) -> None:
        from onnx import NodeProto, TensorProto

        self.nodes: list[NodeProto] = []
        self.weights: list[TensorProto] = []

    def weight(self, values: "np.ndarray | np.floating") -> str:
        """The name of these, which lie there in half precision."""
        from onnx import TensorProto, numpy_helper

        name = f"w{len(self.weights)}"
        array = np.ascontiguousarray(values, np.float16)
        self.weights.append(numpy_helper.from_array(array, name))
        return self.run("Cast", [name], to=TensorProto.FLOAT)

    def run(self, operator: str, inputs: list[str], into: str = "", **settings: Any) -> str:
        """The name of what an operator makes of these."""
        from onnx import helper

        name = into or f"x{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], **settings))
        return name

    def linear(self, inputs: str, weight: Tensor, bias: Tensor) -> str:
        """inputs (N, in) -> (N, out)."""
        names = [self.weight(values.detach().numpy()) for values in (weight, bias)]
        return self.run("Gemm", [inputs, *names], transB=1)

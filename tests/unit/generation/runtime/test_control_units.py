"""Several ControlNets of one job, each with all that it can be told, beside LoRAs and both passes
of a hires pass; and what they are said to have been shown.
"""

import io
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from generation.messages import (
    Configure,
    ControlSeen,
    Failed,
    Finished,
    FromRuntime,
    Generate,
    Picture,
)
from generation.models import ModelFile, ModelKind
from generation.request_parts import ControlUse
from generation.runtime import control_pictures
from generation.runtime.latents import fitted
from generation.runtime.networks.control import Control
from generation.runtime.preprocessing import control_picture
from generation.runtime.server import Server
from tests.fixtures import models
from tests.fixtures.requests import a_request
from tests.unit.generation.runtime.ends import SETTINGS, Ends

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")

SIDE: Final = 64


def photo() -> Image.Image:
    """A dark house before a light ramp."""
    picture = Image.linear_gradient("L").resize((120, 96)).convert("RGB")
    draw = ImageDraw.Draw(picture)
    draw.polygon([(20, 50), (48, 20), (76, 50)], fill=(120, 30, 20))
    draw.rectangle((26, 50, 70, 84), fill=(20, 40, 90))
    return picture


def as_png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


PHOTO: Final = photo()
HASH: Final = "a" * 64
UNITS: Final[tuple[dict[str, Any], ...]] = (
    {"name": "one", "preprocessor": "canny", "mode": "prompt", "end": 0.75, "scale": 0.8},
    {
        "name": "two",
        "preprocessor": "tile",
        "threshold_a": 2.0,
        "mode": "control",
        "start": 0.25,
        "scale": 0.6,
    },
    {
        "name": "three",
        "preprocessor": "scribble",
        "threshold_a": 20.0,
        "resolution": 64,
        "fit": "fill",
        "start": 0.1,
        "end": 0.6,
    },
)


class Bench:
    """A server in this process with a tiny model, three ControlNets and a LoRA."""

    def __init__(self, root: Path) -> None:
        path = models.tiny_stable_diffusion(root / "model")
        self.model = self._file(ModelKind.CHECKPOINT, path)
        self.nets = [
            self._file(ModelKind.CONTROLNET, models.tiny_controlnet(root / name, path))
            for name in ("one", "two", "three")
        ]
        self.lora = self._file(ModelKind.LORA, models.tiny_lora(root / "lora.safetensors", path))
        self.ends = Ends()
        self.server = Server(Configure(SETTINGS, root / "cache"), self.ends, self.ends)  # type: ignore[arg-type]

    def _file(self, kind: ModelKind, path: Path) -> ModelFile:
        return ModelFile(kind=kind, name=path.stem, path=path, family="sd1")

    def run(
        self,
        units: tuple[dict[str, Any], ...] = UNITS,
        again: Finished | None = None,
        **changes: Any,
    ) -> list[FromRuntime]:
        """All that is said of such a job; `again` is the end of one that is drawn once more."""
        self.ends.sent.clear()
        usual: dict[str, Any] = {
            "width": SIDE,
            "height": SIDE,
            "steps": 4,
            "guidance_scale": 5,
            "hires": "2",
            "hires_upscaler": "Latent",
            "hires_denoising": 0.7,
            "controls": [{"picture": HASH, **unit} for unit in units],
            "loras": [{"name": "lora", "weight": 0.7}],
        }
        request = a_request(**usual | changes)
        work = Generate(
            "1",
            request,
            self.model,
            loras=(self.lora,) if request.loras else (),
            controlnets=tuple(
                next(net for net in self.nets if net.name == unit["name"]) for unit in units
            ),
            pictures={HASH: as_png(PHOTO)},
            numerics=None if again is None else again.numerics,
        )
        self.server.run(work)
        assert self.ends.of(Failed) == [], self.ends.of(Failed)[0]
        return list(self.ends.sent)

    def drawn(self, *units: dict[str, Any], **changes: Any) -> str:
        self.run(units, **changes)
        (found,) = self.ends.of(Picture)
        return str(found.pixels_sha256)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("units"))


@pytest.mark.slow
def test_each_of_three_units_acts_beside_the_others_a_lora_and_a_hires_pass(bench: Bench) -> None:
    """Each value of each of them changes the picture, and without one of them it is another."""
    changes: list[tuple[int, dict[str, Any]]] = [
        *((0, {"preprocessor": "invert"}), (0, {"mode": "balanced"}), (0, {"end": 0.5})),
        *((1, {"threshold_a": 6.0}), (1, {"mode": "prompt"}), (1, {"start": 0.5})),
        *((2, {"threshold_a": 60.0}), (2, {"fit": "crop"}), (2, {"start": 0.3}), (2, {"end": 0.9})),
        *((number, {"scale": 0.1}) for number in range(3)),
    ]
    found = {"all": bench.drawn(*UNITS)}
    for number, change in changes:
        told: list[dict[str, Any]] = [
            unit | change if place == number else unit for place, unit in enumerate(UNITS)
        ]
        found[f"{number} {change}"] = bench.drawn(*told)
    for number in range(3):
        left = (unit for place, unit in enumerate(UNITS) if place != number)
        found[f"without {number}"] = bench.drawn(*left)
    found["no LoRA"] = bench.drawn(*UNITS, loras=[])
    found["one pass"] = bench.drawn(*UNITS, hires=None)
    same = [one for one, picture in found.items() if list(found.values()).count(picture) > 1]
    assert same == []


@pytest.mark.slow
def test_a_replay_of_it_all_is_the_same_to_the_byte(bench: Bench) -> None:
    bench.run(count=2)
    first, (ended,) = bench.ends.of(Picture), bench.ends.of(Finished)
    seen = bench.ends.of(ControlSeen)
    bench.drawn(UNITS[0], hires=None)
    bench.run(count=2, again=ended)
    again = bench.ends.of(Picture)
    assert [one.file for one in again] == [one.file for one in first]
    assert [one.file for one in bench.ends.of(ControlSeen)] == [one.file for one in seen]


def test_what_is_said_to_be_shown_is_what_the_networks_are_handed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    handed: list[torch.Tensor] = []

    def watched(net: Any, hint: torch.Tensor, *told: Any) -> Control:
        handed.append(hint)
        return Control(net, hint, *told)

    monkeypatch.setattr("generation.runtime.drawers.Control", watched)
    sent = bench.run()
    shown = bench.ends.of(ControlSeen)
    sizes = [(SIDE, SIDE)] * 3 + [(2 * SIDE, 2 * SIDE)] * 3
    assert [(one.index, one.width, one.height) for one in shown] == [
        (number % 3, *size) for number, size in enumerate(sizes)
    ]
    for one, hint in zip(shown, handed, strict=True):
        with Image.open(io.BytesIO(one.file)) as picture:
            values = np.asarray(picture)
        assert picture.size == (one.width, one.height)
        expected = (hint[0] * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
        assert np.array_equal(values, expected)
    # before the first picture, which waits for nothing of it
    kinds = [type(event) for event in sent if isinstance(event, ControlSeen | Picture)]
    assert kinds == [ControlSeen] * 6 + [Picture]


def test_each_is_shown_as_its_preprocessor_makes_it(bench: Bench) -> None:
    bench.run(hires=None)
    for unit, one in zip(UNITS, bench.ends.of(ControlSeen), strict=True):
        use = msgspec.convert({"picture": HASH, **unit}, ControlUse)
        expected = control_picture(use, np.asarray(PHOTO), (SIDE, SIDE), {})
        with Image.open(io.BytesIO(one.file)) as picture:
            assert np.array_equal(np.asarray(picture), expected)
    # one that nothing is made of is shown as it is
    bench.run(({"name": "one"},), hires=None)
    (one,) = bench.ends.of(ControlSeen)
    with Image.open(io.BytesIO(one.file)) as picture:
        assert picture.tobytes() == fitted(PHOTO, SIDE, SIDE).tobytes()


def test_each_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However often it is drawn, as where memory runs out, or for a refiner."""
    seen = control_pictures.ControlsSeen()
    use = ControlUse("net", HASH)
    work = Generate(
        "1",
        a_request(controls=[{"name": "net", "picture": HASH}]),
        ModelFile(kind=ModelKind.CHECKPOINT, name="m", path=Path("m"), family="sd1"),
    )
    pixels = torch.tensor([-1.0, 0.5, 1.5]).view(1, 3, 1, 1)
    seen.note(work, use, pixels)
    seen.note(work, use, pixels)
    [(index, picture)] = seen.take()
    # what is hidden from a ControlNet is black
    assert (index, picture.getpixel((0, 0))) == (0, (0, 128, 255))
    seen.note(work, use, pixels)
    assert seen.take() == []

"""What a request says is what is drawn: each of its values acts, and on nothing else.

Each test is for one breakage of the drawing code that pictures alone do not betray.
"""

import hashlib
import io
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from PIL import Image

from generation.families import FAMILIES
from generation.messages import Configure, Failed, Finished, Generate, Picture
from generation.models import ModelFile, ModelKind
from generation.runtime import face_alignment, face_detection
from generation.runtime.conditioning import Conditioning, Prompts, Scheduled
from generation.runtime.denoiser import Denoiser
from generation.runtime.model_sampling import discrete
from generation.runtime.parts import Parts
from generation.runtime.server import Server
from generation.runtime.tiling import tiles_of
from tests.fixtures import models, sdxl
from tests.fixtures.requests import a_request
from tests.unit.generation.runtime.ends import SETTINGS, Ends

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")


def picture(colours: str = "L") -> tuple[str, dict[str, bytes]]:
    file = io.BytesIO()
    gradient = Image.linear_gradient("L").resize((64, 64))
    (gradient if colours == "L" else gradient.rotate(90)).convert("RGB").save(file, "PNG")
    sha256 = hashlib.sha256(file.getvalue()).hexdigest()
    return sha256, {sha256: file.getvalue()}


class Bench:
    """Draws with a tiny model and its parts, in this process."""

    def __init__(self, tiny: ModelFile, folder: Path) -> None:
        self.tiny = tiny
        self.folder = folder
        self.ends = Ends()
        self.server = Server(Configure(SETTINGS, folder / "cache"), self.ends, self.ends)  # type: ignore[arg-type]

    def part(self, kind: ModelKind, path: Path) -> ModelFile:
        return ModelFile(kind=kind, name=path.stem, path=path, family="sd1")

    def draw(self, parts: dict[str, Any] | None = None, **changes: Any) -> str:
        self.ends.sent.clear()
        request = a_request(
            **{"width": 64, "height": 64, "steps": 4, "guidance_scale": 5, **changes}
        )
        self.server.run(Generate("1", request, self.tiny, **(parts or {})))
        assert self.ends.of(Failed) == [], self.ends.of(Failed)[0]
        (found,) = self.ends.of(Picture)
        self.file: bytes = found.file
        return str(found.pixels_sha256)


@pytest.fixture
def bench(tiny: ModelFile, tmp_path: Path) -> Bench:
    return Bench(tiny, tmp_path)


def test_each_controlnet_has_its_own_scale(bench: Bench) -> None:
    nets = []
    for name in ("one", "other"):
        folder = models.tiny_controlnet(bench.folder / name, bench.tiny.path)
        nets.append(bench.part(ModelKind.CONTROLNET, folder))
    first, second = picture(), picture("turned")
    uploads = first[1] | second[1]

    def drawn(*uses: tuple[int, float]) -> str:
        shown = (first[0], second[0])
        controls = [{"name": nets[i].name, "picture": shown[i], "scale": s} for i, s in uses]
        parts = {"controlnets": tuple(nets[i] for i, _ in uses), "pictures": uploads}
        return bench.draw(parts, controls=controls)

    assert drawn((0, 0.8), (1, 0.0)) == drawn((0, 0.8))
    assert drawn((0, 0.0), (1, 0.8)) == drawn((1, 0.8))
    assert drawn((0, 0.8)) != drawn((1, 0.8))


@pytest.mark.slow
def test_each_control_picture_has_its_kind_and_its_part_of_the_steps(tmp_path: Path) -> None:
    folder = sdxl.tiny_sdxl(tmp_path / "large")
    kind = ModelKind.CHECKPOINT
    large = ModelFile(kind=kind, name="large", path=folder, family="sdxl", v_prediction=False)
    bench = Bench(large, tmp_path)
    net = msgspec.structs.replace(
        bench.part(
            ModelKind.CONTROLNET, sdxl.tiny_controlnet_union(tmp_path / "net", folder, kinds=8)
        ),
        family="sdxl",
        variant="union-promax",
    )
    shown, uploads = picture()

    def drawn(**told: Any) -> str:
        controls = [{"name": net.name, "picture": shown, **told}]
        return bench.draw({"controlnets": (net,), "pictures": uploads}, controls=controls)

    pictures = {kind: drawn(kind=kind) for kind in ("openpose", "depth", "canny", "tile")}
    assert len({bench.draw(), *pictures.values()}) == 5
    assert drawn() == drawn(kind="mlsd") == pictures["canny"]
    spans = [drawn(start=start, end=end) for start, end in ((0, 0.25), (0.25, 0.5), (0.5, 1))]
    assert len({bench.draw(), pictures["canny"], *spans}) == 5
    # four steps: from a tenth until before two tenths none begins
    assert drawn(start=0.1, end=0.2) == bench.draw()


def test_each_lora_has_its_own_weight(bench: Bench) -> None:
    files = [
        models.tiny_lora(bench.folder / "one.safetensors", bench.tiny.path),
        models.tiny_lora(bench.folder / "two.safetensors", bench.tiny.path, text=True),
    ]
    loras = [bench.part(ModelKind.LORA, file) for file in files]

    def drawn(*uses: tuple[int, float]) -> str:
        wanted = [{"name": loras[i].name, "weight": weight} for i, weight in uses]
        return bench.draw({"loras": tuple(loras[i] for i, _ in uses)}, loras=wanted)

    assert drawn((0, 0.7), (1, 0.0)) == drawn((0, 0.7))
    assert drawn((0, 0.0), (1, 0.7)) == drawn((1, 0.7))
    assert len({drawn((0, 0.7)), drawn((1, 0.7)), drawn()}) == 3


def test_a_start_picture_that_is_not_changed_is_what_the_vae_makes_of_it(bench: Bench) -> None:
    """The factor that latents are scaled by goes in and out again; the tiny VAE's is not 1."""
    sha256, pictures = picture()
    bench.draw({"pictures": pictures}, init_picture=sha256, denoising_strength=0)
    vae = Parts(SETTINGS, torch.device("cpu")).checkpoint(bench.tiny).vae
    assert vae.config.scaling_factor != 1
    gradient = Image.open(io.BytesIO(pictures[sha256])).convert("RGB")
    values = torch.frombuffer(bytearray(gradient.tobytes()), dtype=torch.uint8)
    pixels = values.view(1, 64, 64, 3).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        expected = vae.decode(vae.encode(pixels).latent_dist.mean).sample
    expected = ((expected + 1) * 127.5).round().clamp(0, 255)
    found = Image.open(io.BytesIO(bench.file)).convert("RGB")
    shown = torch.frombuffer(bytearray(found.tobytes()), dtype=torch.uint8)
    made = shown.view(1, 64, 64, 3).permute(0, 3, 1, 2).float()
    assert float((made - expected).abs().mean()) < 0.6


@pytest.mark.parametrize(
    "changes",
    [
        {"negative_prompt": "fog"},
        {"prompt": "a cat"},
        {"prompt": "a (lighthouse:1.3) at dusk"},
        {"prompt": "a lighthouse at dusk AND a cat"},
        {"prompt": "a lighthouse at dusk AND a cat :0.5"},
        {"prompt": "a lighthouse BREAK at dusk"},
        {"prompt": "a [lighthouse:cat:1] at dusk"},
        {"clip_skip": 2},
        {"guidance_scale": 6},
        {"seed": 8},
        {"steps": 3},
        {"sampler": "Euler a"},
        {"sampler": "Heun"},
        {"schedule": "Karras"},
        {"schedule": "SGM Uniform"},
        {"conventions": "comfyui"},
        {"variation_seed": 3, "variation_strength": 0.5},
    ],
    ids=str,
)
def test_every_value_acts(bench: Bench, changes: dict[str, Any]) -> None:
    plain = bench.draw(sampler="Euler")
    assert bench.draw(**{"sampler": "Euler", **changes}) != plain
    assert bench.draw(sampler="Euler") == plain


def test_what_a_single_file_says_of_its_noise_is_followed(tiny: ModelFile) -> None:
    model = Parts(SETTINGS, torch.device("cpu")).checkpoint(tiny)
    assert model.sampling("a1111", (64, 64), 20).sigma_max == pytest.approx(14.6146, rel=1e-4)
    model.noise_schedule |= {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction"}
    assert model.sampling("a1111", (64, 64), 20).sigma_max == pytest.approx(4518.76, rel=1e-4)
    assert model.sampling("a1111", (64, 64), 20).prediction == "v_prediction"


# guidance


class Echo:
    """A network whose answer is the mean of what it is told."""

    done = 0.0
    unwanted: tuple[bool, ...] = ()

    def __init__(self) -> None:
        self.told: list[torch.Tensor] = []

    def predict(
        self, latents: torch.Tensor, timestep: torch.Tensor, cross: torch.Tensor, *_: Any
    ) -> torch.Tensor:
        self.told.append(cross)
        return cross.mean(dim=(1, 2)).view(-1, 1, 1, 1).expand_as(latents)


def said(value: float, tokens: int = 77) -> Scheduled:
    return Scheduled(((20, Conditioning(torch.full((1, tokens, 4), value))),))


def guided(prompts: Prompts, scale: float) -> tuple[float, Echo]:
    """The answer, as noise, at one pixel, from x = 0 and sigma = 1."""
    echo = Echo()
    tiles = tiles_of(64, 64, 0)
    sampling = discrete({}, "a1111")
    denoiser = Denoiser(echo, sampling, FAMILIES["sd1"], prompts, scale, tiles, 8)
    found = denoiser(torch.zeros(2, 4, 8, 8), torch.tensor(1.0))
    return -float(found[0, 0, 0, 0]), echo


@pytest.mark.parametrize(
    ("parts", "negative", "scale", "expected"),
    [
        # unwanted + scale x (wanted - unwanted)
        ([(1.0, 3.0)], 1.0, 7.0, 15.0),
        ([(1.0, 3.0)], 1.0, 1.0, 3.0),
        ([(1.0, 3.0)], 1.0, 0.0, 1.0),
        # each part from the unwanted one, by its weight
        ([(1.0, 3.0), (0.5, 5.0)], 1.0, 2.0, 9.0),
        ([(1.0, 3.0), (-1.0, 5.0)], 1.0, 1.0, -1.0),
        ([(0.5, 3.0)], 1.0, 1.0, 2.0),
    ],
)
def test_guidance(
    parts: list[tuple[float, float]], negative: float, scale: float, expected: float
) -> None:
    prompts = Prompts(tuple((w, said(v)) for w, v in parts), said(negative))
    found, _ = guided(prompts, scale)
    assert found == pytest.approx(expected, rel=1e-5)


def test_prompts_of_unequal_length_run_apart() -> None:
    prompts = Prompts(((1.0, said(3.0, 154)),), said(1.0, 77))
    found, echo = guided(prompts, 7.0)
    assert found == pytest.approx(15.0, rel=1e-5)
    assert [told.shape[:2] for told in echo.told] == [(2, 154), (2, 77)]
    alike = Prompts(((1.0, said(3.0)),), said(1.0))
    assert [told.shape[:2] for told in guided(alike, 7.0)[1].told] == [(4, 77)]
    # without guidance nobody asks what is unwanted
    assert [told.shape[:2] for told in guided(alike, 1.0)[1].told] == [(2, 77)]


def test_parts_of_unequal_length_repeat_their_last_token() -> None:
    prompts = Prompts(((1.0, said(3.0, 154)), (1.0, said(5.0, 77))), said(1.0, 77))
    found, echo = guided(prompts, 1.0)
    assert found == pytest.approx(1 + 2 + 4, rel=1e-5)
    assert [told.shape[:2] for told in echo.told] == [(4, 154), (2, 77)]


def test_a_denoiser_counts_its_calls(tiny: ModelFile) -> None:
    changing = Scheduled(
        tuple((until, Conditioning(torch.full((1, 77, 4), v))) for until, v in ((1, 3.0), (9, 5.0)))
    )
    prompts = Prompts(((1.0, changing),), said(1.0))
    echo, tiles = Echo(), tiles_of(64, 64, 0)
    denoiser = Denoiser(echo, discrete({}, "a1111"), FAMILIES["sd1"], prompts, 1.0, tiles, 8)
    found = [
        -float(denoiser(torch.zeros(1, 4, 8, 8), torch.tensor(1.0))[0, 0, 0, 0]) for _ in "12345"
    ]
    # until step 1 and at it, counted from 0
    assert found == pytest.approx([3, 3, 5, 5, 5], rel=1e-5)
    assert denoiser.calls == 5


def test_settings_do_not_change_what_is_drawn(tiny: ModelFile, tmp_path: Path) -> None:
    one = Bench(tiny, tmp_path / "one")
    other = Bench(tiny, tmp_path / "other")
    settings = msgspec.structs.replace(SETTINGS, preview_every=0.001)
    other.server = Server(Configure(settings, tmp_path), other.ends, other.ends)  # type: ignore[arg-type]
    assert one.draw(steps=6) == other.draw(steps=6)


def test_faces_are_restored_of_what_is_drawn(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.unit.generation.runtime import test_faces

    plain = bench.draw()
    made = test_faces.Inverts()
    monkeypatch.setattr("generation.runtime.parts.load_face_restorer", lambda *_: made)
    told = {"finishing": test_faces.finishing(bench.folder)}
    assert bench.draw(told) == plain
    assert bench.ends.of(Finished)[0].faceless == (0,), "there is no face in it"
    there = face_detection.Face(16, 16, 32, 32, 1.0, face_alignment.TEMPLATE / 16 + 16)
    monkeypatch.setattr(face_detection, "faces_in", lambda *_: [there])
    assert bench.draw(told) != plain
    assert bench.ends.of(Finished)[0].faceless == ()
    assert "face_detector:face_detection_yunet_2023mar" in bench.ends.of(Finished)[0].hashes

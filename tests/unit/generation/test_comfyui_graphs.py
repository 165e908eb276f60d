"""What a ComfyUI is told of what goes beyond one pass, by the graphs that a recorded one gets."""

import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from PIL import Image

from generation.comfyui import noise_levels
from generation.engines.comfyui import ComfyUIEngine
from generation.engines.fake import FakeEngine
from generation.engines.helper import Helper
from generation.messages import (
    ControlSeen,
    EngineEvent,
    Enlarge,
    Failed,
    Finished,
    Finishing,
    Generate,
    Picture,
    Progress,
    RuntimeSettings,
)
from generation.models import ModelFile, ModelKind
from generation.request import GenerationRequest, undrawn
from generation.request_parts import ControlUse, Enlargement, Extension, Faces
from generation.runtime.model_sampling import discrete
from generation.runtime.schedules import timeline
from tests.fixtures.comfyui import RecordedComfyUI, running
from tests.fixtures.requests import a_request
from tests.unit.generation.catalogs import a_model
from tests.unit.generation.test_comfyui_engine import events_of

START, MASK = "ab" * 32, "cd" * 32


def png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def colours() -> Image.Image:
    y, x = np.mgrid[0:128, 0:128]
    return Image.fromarray(np.stack([x, y, (x + y) // 2], axis=-1).astype(np.uint8))


def half() -> Image.Image:
    """White on the right."""
    mask = Image.new("L", (128, 128))
    mask.paste(255, (64, 0, 128, 128))
    return mask


PICTURES = {START: png(colours()), MASK: png(half())}


@pytest.fixture
async def server() -> AsyncIterator[RecordedComfyUI]:
    async with running(
        CheckpointLoaderSimple=["dream.safetensors", "other.safetensors"],
        ControlNetLoader=["net.safetensors"],
        UpscaleModelLoader=["4x.safetensors"],
        UNETLoader=["flux1-dev.safetensors", "sd3.5.safetensors", "chroma.safetensors"],
        CLIPLoader=["l.safetensors", "g.safetensors", "t5.safetensors"],
        DualCLIPLoader=["l.safetensors", "g.safetensors", "t5.safetensors"],
        TripleCLIPLoader=["l.safetensors", "g.safetensors", "t5.safetensors"],
        VAELoader=["ae.safetensors"],
    ) as found:
        yield found


@pytest.fixture
def helps() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
async def engine(
    server: RecordedComfyUI, tmp_path: Path, helps: FakeEngine
) -> AsyncIterator[ComfyUIEngine]:
    helper = Helper(helps, RuntimeSettings())
    found = ComfyUIEngine(server.address, cache=tmp_path, helper=helper)
    yield found
    await found.stop()


@pytest.fixture
def models(tmp_path: Path) -> "Models":
    return Models(tmp_path)


class Models:
    """Files that the server knows, too."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def file(self, name: str, kind: ModelKind = ModelKind.CHECKPOINT, **more: Any) -> ModelFile:
        path = self._folder / f"{name}.safetensors"
        path.write_bytes(b"\0" * 8 + name.encode())
        return a_model(name, kind=kind, path=path, **more)

    def work(self, more: dict[str, Any] | None = None, **changes: Any) -> Generate:
        usual = {"model": "dream", "conventions": "comfyui", "sampler": "Euler", **changes}
        request: GenerationRequest = a_request(**usual)
        work = Generate(
            "1",
            request,
            self.file("dream"),
            controlnets=tuple(
                self.file(use.name, ModelKind.CONTROLNET) for use in request.controls
            ),
            pictures={sha256: PICTURES[sha256] for sha256 in request.uploads},
        )
        return msgspec.structs.replace(work, **(more or {}))


def of(graph: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return [node["inputs"] for node in graph.values() if node["class_type"] == name]


def sent(server: RecordedComfyUI, graph: dict[str, Any], link: list[Any]) -> Image.Image:
    """The picture that a node loads."""
    return Image.open(io.BytesIO(server.uploads[graph[link[0]]["inputs"]["image"]]))


def made(events: list[EngineEvent]) -> Image.Image:
    assert isinstance(events[-1], Finished), events[-1]
    (found,) = (event for event in events if isinstance(event, Picture))
    return Image.open(io.BytesIO(found.file))


async def test_a_hires_pass_over_latents_is_one_graph(
    engine: ComfyUIEngine, server: RecordedComfyUI, models: Models
) -> None:
    work = models.work(
        {"hires_checkpoint": models.file("other")},
        hires="1.5",
        hires_steps=3,
        hires_prompt="a hare",
        hires_denoising=0.5,
        hires_model="other",
        hires_sampler="DPM++ 2M",
        hires_guidance=2.0,
    )
    events = await events_of(engine, work)
    assert made(events).size == (192, 192)
    (graph,) = server.graphs
    first, second = of(graph, "KSampler")
    (larger,) = of(graph, "LatentUpscale")
    assert (larger["width"], larger["height"], larger["upscale_method"]) == (192, 192, "bilinear")
    assert graph[larger["samples"][0]]["inputs"] is first
    told = {key: value for key, value in second.items() if not isinstance(value, list)}
    assert told == {
        "seed": 7,
        "steps": 3,
        "cfg": 2.0,
        "sampler_name": "dpmpp_2m",
        "scheduler": "normal",
        "denoise": 0.5,
    }
    assert graph[second["positive"][0]]["inputs"]["text"] == "a hare"
    assert graph[second["model"][0]]["inputs"] == {"ckpt_name": "other.safetensors"}
    assert graph[first["model"][0]]["inputs"] == {"ckpt_name": "dream.safetensors"}
    progress = [event for event in events if isinstance(event, Progress)]
    # three steps over a picture of more than twice as many pixels are seven
    assert progress[-1].steps == 4 + round(3 * 1.5**2)
    drawn = [event.step for event in progress if event.stage in ("denoising", "hires")]
    assert drawn == sorted(drawn)
    assert drawn[-1] == progress[-1].steps


async def test_of_a_size_of_another_shape_the_middle_is_cut_out(
    engine: ComfyUIEngine, server: RecordedComfyUI, models: Models
) -> None:
    events = await events_of(engine, models.work(hires="256x192"))
    assert made(events).size == (256, 192)
    (graph,) = server.graphs
    (larger,), (cut,) = of(graph, "LatentUpscale"), of(graph, "LatentCrop")
    assert (larger["width"], larger["height"]) == (256, 256)
    assert cut | {"samples": None} == {
        "samples": None,
        "width": 256,
        "height": 192,
        "x": 0,
        "y": 32,
    }


async def test_where_a_network_enlarges_between_the_passes_each_has_its_graph(
    engine: ComfyUIEngine, server: RecordedComfyUI, models: Models
) -> None:
    upscaler = models.file("4x", ModelKind.UPSCALER)
    events = await events_of(
        engine, models.work({"upscaler": upscaler}, hires="1.5", hires_upscaler="4x")
    )
    assert made(events).size == (192, 192)
    first, between, last = server.graphs
    assert not of(first, "LatentUpscale")
    assert of(between, "UpscaleModelLoader") == [{"model_name": "4x.safetensors"}]
    (load,) = of(between, "LoadImage")
    continued = Image.open(io.BytesIO(server.uploads[load["image"]]))
    assert continued.size == (128 + 16, 128 + 16), "networks see black beyond"
    (sampler,) = of(last, "KSampler")
    assert sampler["denoise"] == 0.7
    (encoded,) = of(last, "VAEEncode")
    assert sent(server, last, encoded["pixels"]).size == (192, 192)
    (ended,) = (event for event in events if isinstance(event, Finished))
    assert "upscaler:4x" in ended.hashes


async def test_a_finished_picture_is_made_larger_and_rounded_as_ours_are(
    engine: ComfyUIEngine, server: RecordedComfyUI, models: Models, helps: FakeEngine
) -> None:
    enlargement = Enlargement(START, "4x", 384, 384, 128, 128)
    upscaler = models.file("4x", ModelKind.UPSCALER)
    work = Enlarge("1", undrawn(enlargement=enlargement), upscaler, {START: PICTURES[START]})
    events = await events_of(engine, work)
    larger = made(events)
    assert larger.size == (384, 384)
    # the recorded one makes twice as large of it, so that it takes two passes
    assert len(server.graphs) == 2
    (blend,) = of(server.graphs[0], "ImageBlend")
    assert (blend["blend_mode"], blend["blend_factor"]) == ("difference", 0.5)
    expected = colours().resize((512, 512), Image.Resampling.NEAREST)
    expected = expected.resize((384, 384), Image.Resampling.LANCZOS)
    assert larger.tobytes() == expected.tobytes(), "and its edges are its own"
    assert helps.began == []


async def test_of_a_mask_comfyui_is_told_which_latents_are_drawn_anew_and_the_rest_stays(
    engine: ComfyUIEngine, server: RecordedComfyUI, models: Models
) -> None:
    work = models.work(init_picture=START, mask=MASK, mask_blur=0, denoising_strength=0.5)
    events = await events_of(engine, work)
    (graph,) = server.graphs
    (masked,) = of(graph, "SetLatentNoiseMask")
    assert graph[masked["mask"][0]]["inputs"]["channel"] == "red"
    greys = np.asarray(sent(server, graph, masked["mask"]))
    assert greys.shape == (16, 16)
    assert (greys[:, :8] == 0).all()
    assert (greys[:, 8:] == 255).all()
    assert sent(server, graph, of(graph, "VAEEncode")[0]["pixels"]).tobytes() == (
        colours().tobytes()
    )
    (sampler,) = of(graph, "KSampler")
    assert sampler["denoise"] == 0.5
    shown, before = np.asarray(made(events)), np.asarray(colours())
    assert (shown[:, :64] == before[:, :64]).all(), "every pixel of what stays is its own"
    assert (shown[:, 64:] == shown[0, 64]).all()
    assert not of(graph, "DifferentialDiffusion")


async def test_what_a_mask_holds_may_be_greys_or_nothing(
    engine: ComfyUIEngine, server: RecordedComfyUI, models: Models
) -> None:
    given: dict[str, Any] = {"init_picture": START, "mask": MASK, "mask_blur": 16}
    await events_of(engine, models.work(**given, differential="on"))
    await events_of(engine, models.work(**given, masked_content="latent nothing"))
    greys, nothing = server.graphs
    assert of(greys, "DifferentialDiffusion")
    (masked,) = of(greys, "SetLatentNoiseMask")
    assert len(np.unique(np.asarray(sent(server, greys, masked["mask"])))) > 2
    (within,) = of(nothing, "LatentCompositeMasked")
    assert nothing[within["source"][0]]["class_type"] == "EmptyLatentImage"
    (masked,) = of(nothing, "SetLatentNoiseMask")
    assert len(np.unique(np.asarray(sent(server, nothing, masked["mask"])))) == 2


async def test_only_what_is_masked_is_sent_and_put_back(
    engine: ComfyUIEngine, server: RecordedComfyUI, models: Models
) -> None:
    given: dict[str, Any] = {"init_picture": START, "mask": MASK, "mask_blur": 0, "mask_padding": 0}
    sides: dict[str, Any] = {"width": 64, "height": 128}
    work = models.work(
        **given, **sides, inpaint_area="only masked", controls=(ControlUse("net", START),)
    )
    events = await events_of(engine, work)
    (graph,) = server.graphs
    right = colours().crop((64, 0, 128, 128)).tobytes()
    assert sent(server, graph, of(graph, "VAEEncode")[0]["pixels"]).tobytes() == right
    (steering,) = of(graph, "ControlNetApplyAdvanced")
    assert sent(server, graph, steering["image"]).tobytes() == right, "what is followed, too"
    shown = np.asarray(made(events))
    assert shown.shape == (128, 128, 3)
    assert (shown[:, :64] == np.asarray(colours())[:, :64]).all()


async def test_a_larger_canvas_is_laid_out_before_it_is_sent(
    engine: ComfyUIEngine, server: RecordedComfyUI, models: Models
) -> None:
    canvas = Extension(128, 128, right=64)
    work = models.work(
        init_picture=START, extension=canvas, width=192, mask_blur=0, masked_content="fill"
    )
    events = await events_of(engine, work)
    (graph,) = server.graphs
    assert sent(server, graph, of(graph, "VAEEncode")[0]["pixels"]).size == (192, 128)
    shown = np.asarray(made(events))
    assert shown.shape == (128, 192, 3)
    assert (shown[:, :128] == np.asarray(colours())).all()


async def test_a_mask_that_leaves_nothing_is_refused(engine: ComfyUIEngine, models: Models) -> None:
    work = models.work(init_picture=START, mask=MASK)
    line = Image.new("L", (128, 128))
    line.paste(255, (40, 0, 41, 128))
    work = msgspec.structs.replace(work, pictures={**work.pictures, MASK: png(line)})
    ended = (await events_of(engine, work))[-1]
    assert isinstance(ended, Failed)
    assert ended.code == "mask_too_fine"


async def test_a_model_for_inpainting_is_shown_what_stays(
    engine: ComfyUIEngine, server: RecordedComfyUI, models: Models
) -> None:
    fill: dict[str, Any] = {"checkpoint": models.file("dream", variant="inpainting")}
    given: dict[str, Any] = {"init_picture": START, "mask": MASK, "mask_blur": 0}
    await events_of(engine, models.work(fill, **given, denoising_strength=0.5))
    await events_of(engine, models.work(fill, **given, denoising_strength=1.0))
    await events_of(engine, models.work(fill))
    some, anew, bare = server.graphs
    for graph in (some, anew):
        (told,) = of(graph, "InpaintModelConditioning")
        assert sent(server, graph, told["pixels"]).tobytes() == colours().tobytes()
        assert sent(server, graph, told["mask"]).size == (128, 128)
        (sampler,) = of(graph, "KSampler")
        assert graph[sampler["positive"][0]]["class_type"] == "InpaintModelConditioning"
        assert sampler["positive"][1] == 0
        assert sampler["negative"][1] == 1
    assert of(some, "SetLatentNoiseMask")
    # all anew it begins with noise alone, as it was trained
    assert not of(anew, "SetLatentNoiseMask")
    assert of(anew, "EmptyLatentImage")
    (told,) = of(bare, "InpaintModelConditioning")
    assert np.asarray(sent(server, bare, told["mask"])).min() == 255


async def test_control_pictures_are_made_and_seen_in_each_pass(
    engine: ComfyUIEngine, server: RecordedComfyUI, models: Models, helps: FakeEngine
) -> None:
    uses = (ControlUse("net", START, preprocessor="canny"), ControlUse("net", START))
    events = await events_of(engine, models.work(hires="1.5", controls=uses))
    seen = [event for event in events if isinstance(event, ControlSeen)]
    assert [(one.index, one.width) for one in seen] == [(0, 128), (1, 128), (0, 192), (1, 192)]
    assert helps.began == ["1", "1"], "for each pass"
    (graph,) = server.graphs
    steering = of(graph, "ControlNetApplyAdvanced")
    assert [sent(server, graph, one["image"]).width for one in steering] == [128, 128, 192, 192]


async def test_a_union_is_told_the_kind_of_its_picture(
    engine: ComfyUIEngine, server: RecordedComfyUI, models: Models
) -> None:
    union = models.file("net", ModelKind.CONTROLNET, family="sdxl", variant="union")
    nets: dict[str, Any] = {
        "controlnets": (union,),
        "checkpoint": models.file("dream", family="sdxl"),
    }
    for kind in ("depth", None):
        uses = (ControlUse("net", START, kind=kind),)
        await events_of(engine, models.work(nets, controls=uses))
    types = [of(graph, "SetUnionControlNetType")[0]["type"] for graph in server.graphs]
    assert types == ["depth", "canny/lineart/anime_lineart/mlsd"]


async def test_faces_are_restored_before_what_a_mask_keeps_is_put_back(
    engine: ComfyUIEngine, server: RecordedComfyUI, models: Models, helps: FakeEngine
) -> None:
    remover = models.file("u2net", ModelKind.BACKGROUND_REMOVER)
    wanted = Finishing(faces=Faces(), remover=remover)
    work = models.work({"finishing": wanted}, init_picture=START, mask=MASK, mask_blur=0)
    helps.faceless = (0,)
    events = await events_of(engine, work)
    picture = made(events)
    assert picture.mode == "RGBA", "its background is gone"
    kept = np.asarray(picture.convert("RGB"))[:, :64]
    assert (kept == np.asarray(colours())[:, :64]).all()
    assert helps.began == ["1", "1"], "one behind the other"
    assert len(server.graphs) == 1
    ended = events[-1]
    assert isinstance(ended, Finished)
    assert ended.faceless == (0,)


@pytest.mark.parametrize("schedule", noise_levels.SCHEDULES)
@pytest.mark.parametrize("strength", [None, 0.6])
def test_a_controlnet_acts_in_the_steps_that_a_request_says(
    schedule: str, strength: float | None
) -> None:
    """By ComfyUI's rule: wherever the noise is between its two limits."""
    sampling = discrete({}, "comfyui")
    request = a_request(
        conventions="comfyui",
        steps=7,
        sampler="Euler",
        schedule=schedule,
        denoising_strength=strength or 1.0,
    )
    sigmas = timeline(schedule, "Euler", sampling, 7, strength).sigmas[:-1]
    assert noise_levels.knows(request)
    assert not noise_levels.knows(request.with_(sampler="UniPC")), "it looks a step ahead"

    def level(share: float) -> float:
        """Source: `percent_to_sigma` of ComfyUI."""
        if share <= 0:
            return 999999999.9
        return 0.0 if share >= 1 else float(sampling.sigma_of(torch.tensor((1 - share) * 999)))

    for start, end in ((0.0, 0.5), (0.5, 1.0), (0.2, 0.7), (1.0, 1.0), (0.0, 0.01), (3 / 7, 4 / 7)):
        use = ControlUse("net", START, start=start, end=end)
        told = noise_levels.shares(request, use, begun=strength is not None)
        high, low = map(level, told)
        acts = [low <= float(sigma) <= high for sigma in sigmas]
        assert acts == [start <= n / 7 and (n / 7 < end or end >= 1) for n in range(7)]


async def test_learned_words_are_called_as_comfyui_calls_them(
    engine: ComfyUIEngine, server: RecordedComfyUI, models: Models
) -> None:
    server.embeddings = ["other", "sub/inky"]
    path = Path("/somewhere/sub/inky.safetensors")
    word = a_model("inky", kind=ModelKind.EMBEDDING, path=path)
    work = models.work({"embeddings": (word,)}, prompt="a (fox, inky:1.2)", negative_prompt="Inky")
    await events_of(engine, work)
    texts = [node["text"] for node in of(server.graphs[0], "CLIPTextEncode")]
    assert texts == ["a (fox, embedding:sub/inky:1.2)", "embedding:sub/inky"]
    server.embeddings = []
    await engine.start()
    ended = (await events_of(engine, work))[-1]
    assert isinstance(ended, Failed)
    assert (ended.code, ended.params) == ("comfyui_file", {"file": "inky.safetensors"})


def parts(models: Models, *encoders: str) -> dict[str, ModelFile]:
    """By name, the files called by their first sign or two."""
    short = {"clip_l": "l", "clip_g": "g", "t5xxl": "t5"}
    found = {
        name: models.file(short[name], ModelKind.TEXT_ENCODER, family=name) for name in encoders
    }
    return {**found, "vae": models.file("ae", ModelKind.VAE)}


@pytest.mark.parametrize(
    ("family", "file", "encoders", "loader", "kind"),
    [
        ("flux", "flux1-dev", ("clip_l", "t5xxl"), "DualCLIPLoader", "flux"),
    ],
)
async def test_a_model_made_of_parts_is_loaded_from_them(
    engine: ComfyUIEngine,
    server: RecordedComfyUI,
    models: Models,
    family: str,
    file: str,
    encoders: tuple[str, ...],
    loader: str,
    kind: str,
) -> None:
    model = models.file(file, family=family, parts=parts(models, *encoders))
    work = models.work({"checkpoint": model}, guidance_scale=3.0, schedule="Simple")
    events = await events_of(engine, work)
    (ended,) = (event for event in events if isinstance(event, Finished))
    assert {f"text_encoder:{name}" for name in ("l", "t5")} & ended.hashes.keys()
    (graph,) = server.graphs
    assert of(graph, "UNETLoader")[0]["unet_name"] == f"{file}.safetensors"
    (texts,) = of(graph, loader)
    names = [value for key, value in texts.items() if key.startswith("clip_name")]
    short = {"clip_l": "l", "clip_g": "g", "t5xxl": "t5"}
    assert names == [f"{short[name]}.safetensors" for name in encoders]
    assert texts.get("type", "") == kind
    (sampler,) = of(graph, "KSampler")
    wanted = graph[sampler["positive"][0]]
    # what it was distilled from guides it
    assert (wanted["class_type"], wanted["inputs"]["guidance"]) == ("FluxGuidance", 3.0)
    assert sampler["cfg"] == 1.0
    assert of(graph, "VAELoader") == [{"vae_name": "ae.safetensors"}]
    assert not of(graph, "CheckpointLoaderSimple")


async def test_one_that_holds_all_its_parts_is_one_file(
    engine: ComfyUIEngine, server: RecordedComfyUI, models: Models
) -> None:
    carries = ("clip_l", "t5xxl", "vae")
    model = models.file("dream", family="flux", variant="schnell", carries=carries)
    await events_of(engine, models.work({"checkpoint": model}))
    (graph,) = server.graphs
    assert of(graph, "CheckpointLoaderSimple")
    assert not of(graph, "UNETLoader")
    assert not of(graph, "FluxGuidance"), "schnell has none"
    assert of(graph, "KSampler")[0]["cfg"] == 1.0


@pytest.mark.parametrize(
    ("more", "changes", "code"),
    [
        ({"variant": "kontext"}, {}, "comfyui_family"),
        ({"family": "sd3.5"}, {}, "comfyui_family"),
        ({"parts": {}}, {}, "comfyui_family"),
        ({"quantisation": "NF4"}, {}, "comfyui_packed"),
        ({"path": Path("/models/flux1-dev.gguf")}, {}, "comfyui_packed"),
        ({}, {"clip_skip": 2}, "comfyui_cant"),
        ({}, {"controls": (ControlUse("net", START),)}, "comfyui_cant"),
        (
            {},
            {"init_picture": START, "mask": MASK, "masked_content": "latent nothing"},
            "comfyui_cant",
        ),
    ],
)
async def test_what_of_such_a_model_is_not_told_is_refused(
    engine: ComfyUIEngine,
    server: RecordedComfyUI,
    models: Models,
    more: dict[str, Any],
    changes: dict[str, Any],
    code: str,
) -> None:
    usual = models.file("flux1-dev", family="flux", parts=parts(models, "clip_l", "t5xxl"))
    model = msgspec.structs.replace(usual, **more)
    ended = (await events_of(engine, models.work({"checkpoint": model}, **changes)))[-1]
    assert isinstance(ended, Failed)
    assert ended.code == code
    assert server.graphs == []

"""What annotators make of pictures: the same as their authors' code, by their published files."""

import hashlib
import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch.nn import functional

from generation import control_uses
from generation.catalog import Catalog
from generation.enlarging import NO_UPSCALER, of_upload
from generation.messages import Enlarge, Picture, RuntimeSettings
from generation.models import ModelFile, ModelKind
from generation.request_parts import ControlUse, Enlargement
from generation.runtime.annotators import pose, seen_by
from generation.runtime.control_pictures import prepared
from generation.runtime.parts import Parts
from tests.fixtures import annotators, models
from tests.unit.generation.runtime.drawing import HEIGHT, WIDTH, Drawing, checkpoint, pixels_of
from tests.unit.generation.runtime.test_preprocessing import drawn

CPU = torch.device("cpu")


async def files_in(folder: Path) -> tuple[Catalog, dict[str, ModelFile]]:
    catalog = Catalog([folder])
    await catalog.scan()
    assert not catalog.problems
    found = {
        sees: catalog.annotator(sees) for sees in ("depth", "pose", "person", "softedge", "lineart")
    }
    return catalog, {sees: file for sees, file in found.items() if file is not None}


def parts() -> Parts:
    return Parts(RuntimeSettings(device="cpu", precision="float32"), CPU)


async def test_depths_are_the_authors_in_a_folder_and_in_a_file(tmp_path: Path) -> None:
    model = annotators.depth_model()
    model.save_pretrained(tmp_path / "a" / "annotators" / "Depth-Anything-V2-Tiny-hf")
    saved = load_file(tmp_path / "a/annotators/Depth-Anything-V2-Tiny-hf/model.safetensors")
    own = annotators.as_its_authors_name_it(saved)
    (tmp_path / "b" / "depthanything").mkdir(parents=True)
    save_file(
        {n: t.contiguous() for n, t in own.items()}, tmp_path / "b/depthanything/v2.safetensors"
    )
    picture = drawn(120, 90)
    scaled = cv2.resize(picture.astype(np.float32) / 255, (686, 518), interpolation=cv2.INTER_CUBIC)
    values = (scaled - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    with torch.no_grad():
        near = model(
            torch.from_numpy(values.astype(np.float32)).permute(2, 0, 1)[None]
        ).predicted_depth
    near = functional.interpolate(near[None], (90, 120), mode="bilinear")[0, 0]
    expected = ((near - near.min()) / (near.max() - near.min()) * 255).numpy()
    for folder in ("a", "b"):
        _, files = await files_in(tmp_path / folder)
        assert set(files) == {"depth"}
        found = seen_by(files, parts())["depth"](picture)
        assert np.abs(found[..., 0] - expected).max() <= 1.5
        assert np.ptp(found) == 255


async def test_soft_edges_are_the_mean_of_five_levels(tmp_path: Path) -> None:
    path = annotators.write_hed(tmp_path / "annotators" / "ControlNetHED.safetensors")
    _, files = await files_in(tmp_path)
    weights, picture = load_file(path), drawn(96, 64)
    x = torch.from_numpy(picture).permute(2, 0, 1)[None].float() - weights["norm"]
    levels = []
    for number, layers in enumerate((2, 2, 3, 3, 3), start=1):
        x = functional.max_pool2d(x, 2) if number > 1 else x
        for layer in range(layers):
            own = f"block{number}.convs.{layer}"
            x = functional.conv2d(
                x, weights[f"{own}.weight"], weights[f"{own}.bias"], padding=1
            ).relu()
        edges = functional.conv2d(x, weights[f"block{number}.projection.weight"])
        levels.append(cv2.resize(edges[0, 0].numpy(), (96, 64)))
    expected = torch.from_numpy(np.mean(levels, axis=0)).sigmoid().numpy() * 255
    found = seen_by(files, parts())["softedge"](picture)
    assert np.abs(found[..., 0] - expected).max() <= 1.5
    assert np.ptp(found) > 5


async def test_lines_are_white_on_black(tmp_path: Path) -> None:
    path = annotators.write_lines(tmp_path / "annotators" / "sk_model.safetensors")
    _, files = await files_in(tmp_path)
    weights, picture = load_file(path), drawn(64, 64)

    def layer(x: torch.Tensor, name: str, **how: int) -> torch.Tensor:
        x = functional.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], **how)
        return functional.instance_norm(x)

    def pad(x: torch.Tensor, by: int) -> torch.Tensor:
        return functional.pad(x, (by,) * 4, "reflect")

    x = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
    x = layer(pad(x, 3), "model0.1").relu()
    for name in ("model1.0", "model1.3"):
        x = layer(x, name, stride=2, padding=1).relu()
    for block in range(3):
        own = f"model2.{block}.conv_block"
        x = x + layer(pad(layer(pad(x, 1), f"{own}.1").relu(), 1), f"{own}.5")
    for name in ("model3.0", "model3.3"):
        x = functional.conv_transpose2d(
            x,
            weights[f"{name}.weight"],
            weights[f"{name}.bias"],
            stride=2,
            padding=1,
            output_padding=1,
        )
        x = functional.instance_norm(x).relu()
    x = functional.conv2d(pad(x, 3), weights["model4.1.weight"], weights["model4.1.bias"]).sigmoid()
    found = seen_by(files, parts())["lineart"](picture)
    assert np.abs(found[..., 0] - (255 - x[0, 0].numpy() * 255)).max() <= 1.5


def person(
    row: int, column: int, width: float, height: float, sure: float
) -> tuple[int, np.ndarray]:
    """A row of the detector's answer: who stands in a cell of 32 pixels of its 20 x 20."""
    found = np.zeros(85, np.float32)
    found[:5] = 0.5, 0.5, np.log(width / 32), np.log(height / 32), sure
    found[5] = 1.0
    return 80 * 80 + 40 * 40 + row * 20 + column, found


async def test_a_skeleton_is_drawn_where_the_joints_are(tmp_path: Path) -> None:
    """The picture is 320 x 320, twice as large for the detector."""
    places = np.full((133, 2), (144.0, 192.0))
    likely = np.zeros(133, np.float32)
    # nose, shoulders, and a left hip; as COCO numbers them
    for joint, place in ((0, (144, 96)), (5, (192, 144)), (6, (96, 144)), (11, (168, 240))):
        places[joint], likely[joint] = place, 0.9
    annotators.write_joints(tmp_path / "annotators/dw-ll_ucoco_384.onnx", places, likely)
    rows = dict([person(10, 10, 192, 256, 0.9), person(10, 11, 200, 250, 0.5)])
    annotators.write_detector(tmp_path / "annotators/yolox_l.onnx", rows)
    _, files = await files_in(tmp_path)
    assert (files["person"].name, files["pose"].name) == ("yolox_l", "dw-ll_ucoco_384")
    loaded = parts()
    boxes = pose.people(loaded.onnx(files["person"]), drawn(320, 320))
    assert boxes is not None
    # of two that lie over each other the likelier
    assert boxes.tolist() == [pytest.approx([120, 104, 216, 232], abs=0.1)]
    found = seen_by(files, loaded)["pose"](drawn(320, 320))
    # 1.25 times as large as the box, in the shape of the network's input
    share = 160 / 384
    corner = np.array((168 - 120 / 2, 168 - 160 / 2))

    def at(x: float, y: float) -> list[int]:
        column, row = (corner + np.array((x, y)) * share).astype(int)
        return list(map(int, found[row, column]))

    nose, left, right, hip, neck = (
        at(*place) for place in ((144, 96), (192, 144), (96, 144), (168, 240), (144, 144))
    )
    assert (nose, right, left) == ([255, 0, 0], [255, 170, 0], [85, 255, 0])
    assert (hip, neck) == ([0, 85, 255], [255, 85, 0])
    # between the neck and the right shoulder the first limb, darker
    assert at(125, 144) == [153, 0, 0]
    assert at(20, 20) == [0, 0, 0]


async def test_nobody_is_nothing_and_who_is_unsure_is_sought_in_the_whole(tmp_path: Path) -> None:
    annotators.write_joints(
        tmp_path / "dw-ll_ucoco_384.onnx", np.full((133, 2), 100.0), np.full(133, 0.9, np.float32)
    )
    for name, rows in (("none", {}), ("unsure", dict([person(10, 10, 90, 90, 0.2)]))):
        folder = tmp_path / name
        annotators.write_detector(folder / "yolox_l.onnx", rows)
        _, files = await files_in(folder)
        boxes = pose.people(parts().onnx(files["person"]), drawn(100, 80))
        whole = None if boxes is None else boxes.tolist()
        assert whole == (None if name == "none" else [[0, 0, 100, 80]])


async def test_what_is_there_is_chosen_by_itself(tmp_path: Path) -> None:
    catalog, _ = await files_in(tmp_path)
    assert control_uses.lacking("scribble_hed", catalog) == ("softedge",)
    annotators.write_hed(tmp_path / "annotators" / "ControlNetHED.safetensors")
    catalog, _ = await files_in(tmp_path)
    assert control_uses.lacking("softedge", catalog) == ()
    control_uses.check_preprocessor(ControlUse("a", "0" * 64, preprocessor="scribble_hed"), catalog)


async def test_a_job_draws_along_what_its_annotator_sees(tmp_path: Path) -> None:
    """The same as along the control picture that it makes, and its file is hashed."""
    tiny = models.tiny_stable_diffusion(tmp_path / "tiny")
    path = models.tiny_controlnet(tmp_path / "softedge", tiny)
    net = ModelFile(kind=ModelKind.CONTROLNET, name="softedge", path=path, family="sd1")
    annotators.write_hed(tmp_path / "annotators" / "ControlNetHED.safetensors")
    _, files = await files_in(tmp_path / "annotators")
    photo = Image.fromarray(drawn(WIDTH * 2, HEIGHT * 2))
    use = ControlUse("softedge", "0" * 64, preprocessor="softedge")
    made = prepared(use, photo, (WIDTH, HEIGHT), files, parts())
    drawing = Drawing(tmp_path / "cache")

    def picture(shown: Image.Image, **told: Any) -> Picture:
        file = io.BytesIO()
        shown.save(file, "PNG")
        content = file.getvalue()
        sha256 = hashlib.sha256(content).hexdigest()
        answer = drawing.answer(
            checkpoint(tiny, "sd1"),
            controls=[{"name": "softedge", "picture": sha256, **told}],
            controlnets=(net,),
            pictures={sha256: content},
            annotators=files,
        )
        assert isinstance(answer, Picture), answer
        return answer

    found = picture(photo, preprocessor="softedge")
    assert found.pixels_sha256 == picture(made).pixels_sha256
    assert found.pixels_sha256 != picture(photo).pixels_sha256
    assert found.hashes["annotator:ControlNetHED"] == sha256_of(files["softedge"].path)


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


async def test_a_control_picture_alone_is_made_without_a_model(tmp_path: Path) -> None:
    annotators.write_hed(tmp_path / "annotators" / "ControlNetHED.safetensors")
    _, files = await files_in(tmp_path / "annotators")
    photo, file = Image.fromarray(drawn(100, 70)), io.BytesIO()
    photo.save(file, "PNG")
    sha256 = hashlib.sha256(file.getvalue()).hexdigest()
    for preprocessor in ("canny", "softedge"):
        use = ControlUse("", sha256, preprocessor=preprocessor)
        request = of_upload(Enlargement(sha256, NO_UPSCALER, 100, 70, 100, 70, control=use))
        drawing = Drawing(tmp_path / preprocessor)
        shown = {sha256: file.getvalue()}
        drawing.server.run(Enlarge("1", request, None, shown, annotators=files))
        [made] = drawing.ends.of(Picture)
        expected = prepared(use, photo, (100, 70), files, parts())
        assert np.array_equal(pixels_of(made), np.asarray(expected).astype(float))
    assert made.hashes["annotator:ControlNetHED"] == sha256_of(files["softedge"].path)

"""The background removed: what is kept, in which colours, and what becomes of transparency."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from PIL import Image, ImageDraw

from generation.families.background_removers import REMOVERS
from generation.messages import Configure, Enlarge, Failed, Finished, Finishing, Picture, Progress
from generation.models import ModelFile, ModelKind, Unusable
from generation.onnx_models import onnx_model
from generation.runtime.cutout import cut_out, foreground, shares
from generation.runtime.faults import JobError
from generation.runtime.latents import open_layers, open_picture
from generation.runtime.onnx_session import OnnxNetwork
from generation.runtime.server import Server
from tests.fixtures.onnx_files import classifier
from tests.fixtures.removers import remover, write_remover
from tests.fixtures.requests import a_request
from tests.unit.generation.runtime.ends import SETTINGS, Ends

CPU = torch.device("cpu")


def disc(size: tuple[int, int] = (200, 120)) -> Image.Image:
    """A red disc before blue, its edges soft."""
    large = Image.new("RGB", (size[0] * 4, size[1] * 4), (0, 0, 200))
    x, y = large.size[0] // 2, large.size[1] // 2
    ImageDraw.Draw(large).ellipse((x - 160, y - 160, x + 160, y + 160), fill=(220, 30, 30))
    return large.resize(size, Image.Resampling.BOX)


def png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


# telling


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("rembg/u2net.onnx", "u2net"),
        ("u2net_human_seg.onnx", "u2net"),
        ("silueta.onnx", "u2net"),
        ("isnet-general-use.onnx", "isnet"),
        ("isnet-anime.onnx", "isnet-anime"),
        ("BiRefNet-general-epoch_244.onnx", "birefnet"),
        ("BiRefNet/onnx/model.onnx", "birefnet"),
        ("RMBG-1.4/onnx/model.onnx", "rmbg-1.4"),
        ("bria-rmbg-2.0.onnx", "rmbg-2.0"),
        ("background_removal/mine.onnx", "u2net"),
    ],
)
def test_kinds_are_told_by_their_names_and_folders(tmp_path: Path, name: str, kind: str) -> None:
    found = remover(write_remover(tmp_path / name, outputs=7))
    assert (found.kind, found.family) == (ModelKind.BACKGROUND_REMOVER, kind)


def test_a_network_of_another_name_or_layout_is_none(tmp_path: Path) -> None:
    plain = onnx_model(write_remover(tmp_path / "lineart.onnx"), "lineart", [])
    assert isinstance(plain, Unusable)
    path = tmp_path / "u2net.onnx"
    onnx.save(classifier("input", (1, 3, 64, 64), 5), path)
    assert isinstance(onnx_model(path, "u2net", []), Unusable)


# cutting


@pytest.mark.parametrize("kind", sorted(REMOVERS))
def test_what_is_kept_is_told_in_the_pictures_own_size(tmp_path: Path, kind: str) -> None:
    network = OnnxNetwork(remover(write_remover(tmp_path / "u2net.onnx")), CPU)
    kept = shares(disc(), network, REMOVERS[kind])
    assert kept.shape == (120, 200)
    assert kept[60, 100] > 0.95
    assert kept[5, 5] < 0.05
    assert 0 <= kept.min() <= kept.max() <= 1


def test_edges_have_the_colours_of_what_is_kept(tmp_path: Path) -> None:
    made = cut_out(disc(), OnnxNetwork(remover(write_remover(tmp_path / "u2net.onnx")), CPU))
    assert (made.mode, made.size) == ("RGBA", (200, 120))
    pixels = np.asarray(made).astype(int)
    before = np.asarray(disc()).astype(int)
    edge = (pixels[:, :, 3] > 60) & (pixels[:, :, 3] < 200)
    assert edge.sum() > 20
    # nearer to the disc's red, neither black nor violet
    apart, was = (np.abs(found[edge][:, :3] - (220, 30, 30)).mean() for found in (pixels, before))
    assert apart < 0.8 * was
    inside = pixels[:, :, 3] == 255
    assert (pixels[inside][:, :3] == before[inside]).all()


def test_colours_before_a_background_are_found_again() -> None:
    kept = np.tile(np.linspace(-3, 4, 64, dtype=np.float32).clip(0, 1), (64, 1))
    red, blue = np.array([220, 30, 30]), np.array([0, 0, 200])
    mixed = kept[:, :, None] * red + (1 - kept[:, :, None]) * blue
    found = foreground(mixed.astype(np.float32), kept)
    there = (kept > 0.3) & (kept < 1)
    assert np.abs(found[there] - red).mean() < 25
    assert np.abs(mixed[there] - red).mean() > 35


def test_a_network_that_gives_no_mask_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "u2net.onnx"
    onnx.save(classifier("input", (1, 3, 64, 64), 5), path)
    file = ModelFile(kind=ModelKind.BACKGROUND_REMOVER, name="u2net", path=path, family="u2net")
    with pytest.raises(JobError) as error:
        cut_out(disc(), OnnxNetwork(file, CPU))
    assert error.value.code == "background_remover_kind"


# within a job


def finished(
    folder: Path, picture: Image.Image, wanted: Finishing, size: tuple[int, int], **changes: Any
) -> Ends:
    wide, high = picture.size
    made = {"picture": "0" * 64, "from_width": wide, "from_height": high}
    made |= {"upscaler": "None" if size == picture.size else "Lanczos"}
    request = a_request(enlargement=made | {"width": size[0], "height": size[1]}, **changes)
    ends = Ends()
    server = Server(Configure(SETTINGS, folder), ends, ends)  # type: ignore[arg-type]
    server.run(Enlarge("1", request, None, {"0" * 64: png(picture)}, finishing=wanted))
    assert ends.of(Failed) == []
    return ends


@pytest.mark.parametrize(("format_", "found"), [("png", "PNG"), ("webp", "WEBP"), ("jpeg", "PNG")])
def test_a_job_makes_a_transparent_file(tmp_path: Path, format_: str, found: str) -> None:
    wanted = Finishing(remover=remover(write_remover(tmp_path / "u2net.onnx")))
    ends = finished(tmp_path, disc(), wanted, (200, 120), format=format_)
    [made], [done] = ends.of(Picture), ends.of(Finished)
    with Image.open(io.BytesIO(made.file)) as image:
        assert (image.format, image.mode) == (found, "RGBA")
        alpha = np.asarray(image.getchannel("A"))
    assert (alpha[60, 100] > 240, alpha[3, 3] < 15) == (True, True)
    assert "background_remover:u2net" in done.hashes
    assert ends.of(Progress)[-1].stage == "cutout"
    again = finished(tmp_path, disc(), wanted, (200, 120), format=format_).of(Picture)[0]
    assert (again.pixels_sha256, again.file) == (made.pixels_sha256, made.file)


@pytest.mark.parametrize("size", [(1, 1), (3, 400)])
def test_pictures_of_every_size_are_cut_out(tmp_path: Path, size: tuple[int, int]) -> None:
    wanted = Finishing(remover=remover(write_remover(tmp_path / "u2net.onnx")))
    [made] = finished(tmp_path, Image.new("RGB", size, "teal"), wanted, size).of(Picture)
    assert (made.width, made.height) == size


def test_a_transparent_picture_is_enlarged_with_its_transparency(tmp_path: Path) -> None:
    picture = disc()
    picture.putalpha(Image.linear_gradient("L").resize(picture.size))
    [made] = finished(tmp_path, picture, Finishing(), (400, 240)).of(Picture)
    with Image.open(io.BytesIO(made.file)) as image:
        assert (image.mode, image.size) == ("RGBA", (400, 240))
        apart = np.asarray(image.resize(picture.size)).astype(int) - np.asarray(picture)
    assert np.abs(apart).mean() < 6


def test_to_draw_from_a_transparent_picture_it_lies_on_white() -> None:
    data = png(Image.new("RGBA", (4, 4), (255, 0, 0, 0)))
    assert open_picture(data).getpixel((1, 1)) == (255, 255, 255)
    picture, kept = open_layers(data)
    assert (picture.getpixel((1, 1)), kept and kept.getpixel((1, 1))) == ((255, 0, 0), 0)
    assert open_layers(png(disc()))[1] is None

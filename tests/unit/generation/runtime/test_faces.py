"""Faces found, brought into their place, restored and put back; all else of the picture stays."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from generation.families.face_restorers import CODEFORMER, GFPGAN, RESTOREFORMER
from generation.messages import Configure, Enlarge, Finished, Finishing, Picture, Progress
from generation.model_folders import Candidate
from generation.model_reader import ModelReader
from generation.models import ModelFile, ModelKind, Unusable
from generation.request_fields import FaceChoice
from generation.request_parts import Faces
from generation.runtime import face_alignment, face_detection, face_restorers
from generation.runtime.face_alignment import TEMPLATE, alignment, cropped, in_tone, pasted
from generation.runtime.faults import JobError, NotFiniteError
from generation.runtime.finishing import Finisher
from generation.runtime.networks import codeformer
from generation.runtime.parts import Parts
from generation.runtime.server import Server
from tests.fixtures import faces
from tests.fixtures.requests import a_request
from tests.unit.generation.runtime.ends import SETTINGS, Ends

TWO = ((100, 100), (400, 300))


def ramp(size: tuple[int, int] = (640, 480)) -> face_alignment.FacePixels:
    picture = Image.radial_gradient("L").resize(size).convert("RGB")
    return np.asarray(picture).astype(np.float32)


def of(path: Path) -> ModelFile:
    found = ModelReader().read(Candidate(path, path.parent, "")).model
    assert found is not None
    return found


# finding


@pytest.mark.parametrize("size", [(640, 480), (1400, 1000)])
def test_faces_are_found_from_left_to_right(tmp_path: Path, size: tuple[int, int]) -> None:
    picture = faces.drawn_face(size, TWO[::-1])
    found = face_detection.faces_in(picture, faces.detector(tmp_path))
    for (x, y), face in zip(TWO, found, strict=True):
        assert np.hypot(*(face.points[2] - (x, y))) < 12
        assert face.left < x < face.left + face.width


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (64, 64)])
def test_none_are_found_where_none_are(tmp_path: Path, size: tuple[int, int]) -> None:
    assert face_detection.faces_in(Image.new("RGB", size, "teal"), faces.detector(tmp_path)) == []


def test_a_file_of_another_layout_is_no_detector(tmp_path: Path) -> None:
    file = tmp_path / "other.onnx"
    file.write_bytes(b"no network")
    model = ModelFile(kind=ModelKind.FACE_DETECTOR, name="other", path=file, family="yunet")
    with pytest.raises(JobError) as error:
        face_detection.faces_in(Image.new("RGB", (64, 64)), model)
    assert error.value.code == "face_detector_kind"


@pytest.mark.parametrize(
    ("which", "places"),
    [("all", [0, 1, 2]), ("largest", [1]), ("1", [0]), ("3", [2]), ("4", []), ("none", [])],
)
def test_which_faces_are_meant(which: FaceChoice, places: list[int]) -> None:
    found = [
        face_detection.Face(x, 0, side, side, 1, TEMPLATE)
        for x, side in ((0, 9), (20, 30), (60, 8))
    ]
    assert face_detection.chosen(found, which) == [found[place] for place in places]


def test_no_face_is_the_largest_of_none() -> None:
    assert face_detection.chosen([], "largest") == []


# aligning


@pytest.mark.parametrize("turned", [0.0, 0.4, -2.5])
def test_landmarks_are_led_to_those_of_the_template(turned: float) -> None:
    cos, sin = np.cos(turned) * 0.3, np.sin(turned) * 0.3
    placed = TEMPLATE @ np.array([[cos, -sin], [sin, cos]]) + (50, 20)
    there = alignment(placed)
    assert there is not None
    led = placed @ there[:, :2].T + there[:, 2]
    assert np.abs(led - TEMPLATE).max() < 1e-6


def test_a_mirrored_face_is_not_mirrored_back() -> None:
    there = alignment(TEMPLATE * (-1, 1))
    assert there is not None
    assert np.linalg.det(there[:, :2]) > 0


def test_landmarks_on_one_place_lead_nowhere() -> None:
    assert alignment(np.ones((5, 2))) is None
    assert alignment(np.full((5, 2), np.nan)) is None


def test_the_drawn_face_lies_as_restorers_know_it(tmp_path: Path) -> None:
    picture = faces.drawn_face(places=((124, 92),))
    [face] = face_detection.faces_in(picture, faces.detector(tmp_path))
    there = alignment(face.points)
    assert there is not None
    face_pixels = cropped(np.asarray(picture).astype(np.float32), there)
    eyes = [face_pixels[round(y), round(x)] for x, y in TEMPLATE[:2]]
    assert all(eye.max() < 110 for eye in eyes), "dark, where restorers look for eyes"
    nose = face_pixels[round(TEMPLATE[2, 1]), round(TEMPLATE[2, 0])]
    assert np.abs(nose - faces.MARK).max() < 40


# pasting


@pytest.mark.parametrize("moved", [(200.0, 150.0), (-40.0, -30.0), (560.0, 400.0)])
def test_only_the_face_changes_and_softly(moved: tuple[float, float]) -> None:
    pixels, points = ramp(), TEMPLATE * 0.35 + moved
    there = alignment(points)
    assert there is not None
    face = np.full((512, 512, 3), 255, np.float32)
    found = pasted(pixels, face, there, 1.0)
    changed = np.abs(found - pixels).max(2) > 0
    left, top = np.array(moved)
    rows, columns = np.nonzero(changed)
    assert len(rows) > 500
    assert columns.min() >= left - 1
    assert columns.max() <= left + 512 * 0.35 + 1
    assert rows.min() >= top - 1
    # no step at the edge
    assert np.abs(np.diff(found - pixels, axis=1)).max() < 30
    half = pasted(pixels, face, there, 0.5)
    assert np.abs((half - pixels) * 2 - (found - pixels)).max() < 0.01
    assert (pasted(pixels, face, there, 0.0) == pixels).all()


def test_a_face_beyond_the_picture_changes_nothing() -> None:
    there = alignment(TEMPLATE * 0.2 + 5000)
    assert there is not None
    assert (pasted(ramp(), np.zeros((512, 512, 3), np.float32), there, 1.0) == ramp()).all()


@pytest.mark.parametrize("scale", [0.3, 0.8])
def test_what_was_not_restored_comes_back_as_it_was(scale: float) -> None:
    pixels = ramp()
    there = alignment(TEMPLATE * scale + (30, 20))
    assert there is not None
    found = pasted(pixels, cropped(pixels, there), there, 1.0)
    assert np.abs(found - pixels).mean() < 0.3


def test_colours_stay_and_details_are_the_restored() -> None:
    before = np.full((512, 512, 3), (200, 120, 90), np.float32)
    after = np.full((512, 512, 3), (90, 120, 200), np.float32)
    after[::2] += 10
    found = in_tone(before, after)
    assert np.abs(found.mean((0, 1)) - (200, 120, 90)).max() < 1
    assert np.abs((found[100] - found[101]) - 10).max() < 1


# restorers


def test_each_published_layout_is_told(tmp_path: Path) -> None:
    assert of(faces.write_codeformer(tmp_path / "c.safetensors")).variant == CODEFORMER
    assert of(faces.write_restoreformer(tmp_path / "r.safetensors")).variant == RESTOREFORMER
    found = of(faces.detector(tmp_path).path)
    assert (found.kind, found.family) == (ModelKind.FACE_DETECTOR, "yunet")


def test_codeformer_has_the_names_and_shapes_of_the_published_file() -> None:
    with torch.device("meta"):
        made = codeformer.CodeFormer(
            [64, 128, 128, 256, 256, 512], 2, (1024, 256), 512, 1024, 9, (32, 64, 128, 256)
        )
    shapes = {name: tuple(tensor.shape) for name, tensor in made.state_dict().items()}
    wanted = {
        "position_emb": (256, 512),
        "feat_emb.weight": (512, 256),
        "ft_layers.8.self_attn.in_proj_weight": (1536, 512),
        "ft_layers.0.linear1.weight": (1024, 512),
        "idx_pred_layer.1.weight": (1024, 512),
        "quantize.embedding.weight": (1024, 256),
        "encoder.blocks.0.weight": (64, 3, 3, 3),
        "encoder.blocks.3.conv.weight": (64, 64, 3, 3),
        "encoder.blocks.4.conv_out.weight": (128, 64, 1, 1),
        "encoder.blocks.17.proj_out.weight": (512, 512, 1, 1),
        "encoder.blocks.21.q.weight": (512, 512, 1, 1),
        "encoder.blocks.24.weight": (256, 512, 3, 3),
        "generator.blocks.0.weight": (512, 256, 3, 3),
        "generator.blocks.9.conv_out.weight": (256, 512, 1, 1),
        "generator.blocks.23.weight": (64,),
        "generator.blocks.24.weight": (3, 64, 3, 3),
        "fuse_convs_dict.32.encode_enc.conv1.weight": (256, 512, 3, 3),
        "fuse_convs_dict.128.scale.2.weight": (128, 128, 3, 3),
    }
    assert {name: shapes.get(name) for name in wanted} == wanted
    assert sum(name.startswith("fuse_convs_dict.") for name in shapes) == 72
    assert "idx_pred_layer.1.bias" not in shapes


@pytest.mark.slow
def test_codeformer_is_loaded_by_its_shapes_and_heeds_its_weight(tmp_path: Path) -> None:
    file = of(faces.write_codeformer(tmp_path / "codeformer.safetensors"))
    network = face_restorers.load_face_restorer(file, torch.float32)
    face = torch.rand(1, 3, 512, 512, generator=torch.manual_seed(1))
    fine, like = (face_restorers.restored(network, face, weight) for weight in (0.0, 1.0))
    assert fine.shape == face.shape
    assert 0 <= fine.min() <= fine.max() <= 1
    assert (fine - like).abs().max() > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("which", ["restoreformer", "gfpgan"])
def test_those_of_spandrel_restore_the_same_each_time(tmp_path: Path, which: str) -> None:
    file = of(getattr(faces, f"write_{which}")(tmp_path / f"{which}.safetensors"))
    assert file.variant.casefold() == which
    network = face_restorers.load_face_restorer(file, torch.float32)
    face = torch.rand(1, 3, 512, 512, generator=torch.manual_seed(1))
    one, other = (face_restorers.restored(network, face, 0.5) for _ in range(2))
    assert (one.shape, bool((one == other).all())) == (face.shape, True)
    assert one.std() > 0


def test_what_is_no_restorer_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    faces._saved(torch.nn.Linear(2, 2), path)
    with pytest.raises(JobError) as error:
        face_restorers.load_face_restorer(faces.restorer(path, GFPGAN), torch.float32)
    assert error.value.code == "face_restorer_kind"
    reading = ModelReader().read(Candidate(path, path.parent, ""))
    assert isinstance(reading.problem, Unusable)


# the whole


class Inverts(torch.nn.Module):
    """Stands for a restorer: what it gave can be told."""

    about = None

    def __init__(self) -> None:
        super().__init__()
        self.nothing = torch.nn.Linear(1, 1)
        self.weights: list[float] = []

    def forward(self, face: torch.Tensor, weight: float) -> torch.Tensor:
        self.weights.append(weight)
        return -face


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Inverts:
    made = Inverts()
    monkeypatch.setattr("generation.runtime.parts.load_face_restorer", lambda *_: made)
    return made


def finishing(folder: Path, **changes: object) -> Finishing:
    path = folder / "codeformer.safetensors"
    path.write_bytes(b"-")
    return Finishing(
        faces=Faces(model="codeformer", **changes),  # type: ignore[arg-type]
        restorer=faces.restorer(path, CODEFORMER),
        detector=faces.detector(folder),
    )


def finished(wanted: Finishing, picture: Image.Image) -> tuple[Image.Image, Finisher, list[object]]:
    told: list[object] = []
    finisher = Finisher(Parts(SETTINGS, torch.device("cpu")), wanted)
    made = finisher.finish(2, picture, lambda *stage: told.append(stage))
    return made, finisher, told


def changed_at(before: Image.Image, after: Image.Image) -> list[bool]:
    apart = np.abs(np.asarray(before).astype(int) - np.asarray(after)).max(2)
    return [bool(apart[y - 18, x - 16] > 3) for x, y in TWO]


@pytest.mark.parametrize(
    ("which", "changed"), [("all", [True, True]), ("1", [True, False]), ("2", [False, True])]
)
def test_the_faces_that_are_meant_are_restored(
    tmp_path: Path, network: Inverts, which: FaceChoice, changed: list[bool]
) -> None:
    picture = faces.drawn_face((640, 480), TWO)
    made, finisher, told = finished(finishing(tmp_path, which=which, fidelity=0.3), picture)
    assert changed_at(picture, made) == changed
    assert network.weights == [0.3] * sum(changed)
    assert told[0] == ("faces", 0.0)
    assert told[-1] == ("faces", 1.0)
    assert not finisher.faceless
    again, _, _ = finished(finishing(tmp_path, which=which, fidelity=0.3), picture)
    assert again.tobytes() == made.tobytes()


def test_what_a_mask_keeps_is_put_over_restored_faces(tmp_path: Path, network: Inverts) -> None:
    picture = faces.drawn_face((640, 480), TWO)
    left = picture.crop((0, 0, 200, 480))

    def pasted(made: Image.Image) -> Image.Image:
        made = made.copy()
        made.paste(left, (0, 0))
        return made

    finisher = Finisher(Parts(SETTINGS, torch.device("cpu")), finishing(tmp_path))
    made = finisher.finish(0, picture, lambda *_: None, pasted)
    assert changed_at(picture, made) == [False, True]
    assert made.crop((0, 0, 200, 480)).tobytes() == left.tobytes()


def test_strength_is_how_much_shows(tmp_path: Path, network: Inverts) -> None:
    picture = faces.drawn_face((640, 480), TWO)
    before = np.asarray(picture).astype(float)
    whole, half, none = (
        np.abs(np.asarray(finished(finishing(tmp_path, strength=s), picture)[0]) - before).sum()
        for s in (1.0, 0.5, 0.0)
    )
    assert none == 0
    assert 0.4 * whole < half < 0.6 * whole


def test_a_picture_without_a_face_stays_and_it_is_told(tmp_path: Path, network: Inverts) -> None:
    picture = Image.new("RGB", (300, 200), "teal")
    made, finisher, _ = finished(finishing(tmp_path), picture)
    assert made.tobytes() == picture.tobytes()
    assert finisher.faceless == {2}
    _, finisher, _ = finished(finishing(tmp_path, which="3"), faces.drawn_face((640, 480), TWO))
    assert finisher.faceless == {2}
    assert network.weights == []


def test_what_is_no_number_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Inverts()
    monkeypatch.setattr(Inverts, "forward", lambda *_: torch.full((1, 3, 512, 512), torch.nan))
    monkeypatch.setattr("generation.runtime.parts.load_face_restorer", lambda *_: broken)
    with pytest.raises(NotFiniteError):
        finished(finishing(tmp_path), faces.drawn_face())


# within a job


def sent(work: Enlarge, folder: Path) -> Ends:
    ends = Ends()
    server = Server(Configure(SETTINGS, folder), ends, ends)  # type: ignore[arg-type]
    server.run(work)
    return ends


def enlarging(folder: Path, picture: Image.Image, **changes: object) -> Enlarge:
    file = io.BytesIO()
    picture.save(file, "PNG")
    wide, high = picture.size
    made = {"picture": "0" * 64, "upscaler": "None", "from_width": wide, "from_height": high}
    request = a_request(enlargement={**made, "width": wide, "height": high})
    pictures = {"0" * 64: file.getvalue()}
    return Enlarge("1", request, None, pictures, finishing=finishing(folder, **changes))


def test_a_finished_picture_keeps_its_size_and_all_but_its_faces(
    tmp_path: Path, network: Inverts
) -> None:
    picture = faces.drawn_face((640, 480), TWO)
    ends = sent(enlarging(tmp_path, picture), tmp_path)
    [made], [done] = ends.of(Picture), ends.of(Finished)
    with Image.open(io.BytesIO(made.file)) as found:
        assert changed_at(picture, found) == [True, True]
        assert found.getpixel((620, 20)) == picture.getpixel((620, 20))
    assert {"face_restorer:codeformer"} < done.hashes.keys()
    assert [stage.stage for stage in ends.of(Progress)][-1] == "faces"
    assert done.faceless == ()
    again = sent(enlarging(tmp_path, picture), tmp_path)
    assert again.of(Picture)[0].pixels_sha256 == made.pixels_sha256


def test_a_picture_of_one_pixel_stays(tmp_path: Path, network: Inverts) -> None:
    ends = sent(enlarging(tmp_path, Image.new("RGB", (1, 1), "teal")), tmp_path)
    [made], [done] = ends.of(Picture), ends.of(Finished)
    assert (made.width, made.height, done.faceless) == (1, 1, (0,))

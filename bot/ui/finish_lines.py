"""What is said of what was done to a picture once it was drawn: its faces restored, …"""

from collections.abc import Iterator

from bot.locales import Texts
from generation.face_words import architecture
from generation.families.face_restorers import CODEFORMER
from generation.job import Job
from generation.request_parts import Faces


def fields(job: Job, texts: Texts) -> Iterator[tuple[str, str]]:
    """Key and text of each field under the picture."""
    faces = job.request.faces_wanted
    if faces is not None:
        yield "field_faces", _faces(faces, texts)
    if job.request.cutout_wanted:
        yield "field_cutout", job.request.cutout_wanted


def remarks(job: Job, texts: Texts) -> Iterator[str]:
    """Lines on what could not be done, and is no failure."""
    if job.request.cutout_wanted and job.request.format == "jpeg":
        yield texts("jpeg_transparent")
    faceless = job.provenance.faceless if job.provenance is not None else ()
    faces = job.request.faces_wanted
    if faces is None or not faceless:
        return
    if faces.which in ("all", "largest"):
        shown = len(faceless) < len(job.pictures)
        numbers = ", ".join(str(index + 1) for index in faceless)
        yield texts("faceless_some", numbers=numbers) if shown else texts("faceless")
    else:
        yield texts("faceless_number", number=faces.which)


def _faces(faces: Faces, texts: Texts) -> str:
    told = []
    if faces.which == "largest":
        told.append(texts("faces_largest"))
    elif faces.which != "all":
        told.append(texts("faces_number", number=faces.which))
    if faces.strength != 1:
        told.append(f"× {texts.number(faces.strength)}")
    if architecture(faces.model) == CODEFORMER:
        told.append(texts("faces_fidelity", weight=texts.number(faces.fidelity)))
    return ", ".join((faces.model, *told))

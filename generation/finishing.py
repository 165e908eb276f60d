"""What is done to a picture once it is drawn or enlarged, and the files that do it."""

from typing import Final

from generation.catalog import Catalog
from generation.families.background_removers import REMOVERS
from generation.families.face_restorers import ARCHITECTURES
from generation.messages import NOTHING, Finishing
from generation.models import ModelFile, ModelKind
from generation.name_search import fold
from generation.refusal import Refused
from generation.request import GenerationRequest

USUAL: Final = "auto"
"""Stands for the name of what removes the background."""
DETECTOR_FILE: Final = "face_detection_yunet_2023mar.onnx"
"""As OpenCV's collection of models has it."""


def of(request: GenerationRequest, catalog: Catalog) -> Finishing:
    """What a request wants done. Raises Refused where a file for it is missing."""
    faces, cutout = request.faces_wanted, request.cutout_wanted
    if faces is None and not cutout:
        return NOTHING
    return Finishing(
        faces=faces,
        restorer=None if faces is None else restorer(faces.model, catalog),
        detector=None if faces is None else detector(catalog),
        remover=remover(cutout, catalog) if cutout else None,
    )


def restorer(name: str, catalog: Catalog) -> ModelFile:
    """The file that restores faces: of that name, or of that architecture, or where there is no
    name the first in A1111's order. Raises Refused.
    """
    named = catalog.find(ModelKind.FACE_RESTORER, name) if name else None
    if named is not None:
        return named
    found = catalog.face_restorers
    if not found and catalog.scanned and not name:
        raise Refused("face_restorers_missing")
    for architecture in ARCHITECTURES:
        first = next((file for file in found if file.variant == architecture), None)
        if fold(name) in ("", fold(architecture)) and first is not None:
            return first
    if not found and catalog.scanned and fold(name) in map(fold, ARCHITECTURES):
        raise Refused("face_restorers_missing")
    return catalog.get(ModelKind.FACE_RESTORER, name)


def detector(catalog: Catalog) -> ModelFile:
    """The file that finds faces. Raises Refused where there is none."""
    found = catalog.face_detectors
    if not found:
        if not catalog.scanned:
            raise Refused("models_being_read", found=len(catalog.all))
        raise Refused("face_detector_missing", file=DETECTOR_FILE)
    return found[0]


def remover(name: str, catalog: Catalog) -> ModelFile:
    """The file that tells the background: of that name, or of that kind, or with USUAL the first in
    the order of REMOVERS. Raises Refused.
    """
    named = catalog.find(ModelKind.BACKGROUND_REMOVER, name)
    if named is not None:
        return named
    found, usual = catalog.background_removers, fold(name) == fold(USUAL)
    if not found and catalog.scanned and (usual or fold(name) in map(fold, REMOVERS)):
        raise Refused("background_remover_missing")
    for kind in REMOVERS:
        first = next((file for file in found if file.family == kind), None)
        if first is not None and (usual or fold(name) == fold(kind)):
            return first
    return catalog.get(ModelKind.BACKGROUND_REMOVER, name)

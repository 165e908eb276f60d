"""What is done to a finished picture in an infotext: faces restored, the background removed; under
A1111's keys and, where it has none, our own.
"""

from collections.abc import Mapping
from typing import Final

from generation.families.face_restorers import ARCHITECTURES, CODEFORMER, GFPGAN
from generation.name_search import fold
from generation.request_fields import FIDELITY
from generation.request_options import exact, options
from generation.request_parts import Faces

KEY: Final = "Face restoration"
"""A1111's: the architecture."""
MODEL, WHICH, STRENGTH = f"{KEY} model", f"{KEY} faces", f"{KEY} strength"
HASH: Final = f"{KEY} hash"
WEIGHT: Final = "CodeFormer weight"
"""A1111's, of its extras."""
OPTIONS: Final[Mapping[str, str]] = {
    MODEL: "face_model",
    WHICH: "faces",
    STRENGTH: "face_strength",
    WEIGHT: "face_fidelity",
}
CUTOUT: Final = "Rembg"
"""As A1111's extension of that name has it: what removed the background."""
KEYS: Final = frozenset((KEY, HASH, *OPTIONS))


def architecture(model: str) -> str:
    """What A1111 calls a restorer, by its file's name, which has that in it."""
    plain = fold(model)
    return next((name for name in ARCHITECTURES if fold(name) in plain), GFPGAN)


def written(faces: Faces, hashes: Mapping[str, str]) -> list[tuple[str, str]]:
    """The parameters of a picture that was drawn."""
    name = architecture(faces.model)
    found = [(KEY, name)]
    if faces.model != name:
        found.append((MODEL, faces.model))
    if faces.which != "all":
        found.append((WHICH, faces.which))
    if faces.strength != 1:
        found.append((STRENGTH, exact(faces.strength)))
    if name == CODEFORMER or faces.fidelity != FIDELITY:
        found.append((WEIGHT, exact(faces.fidelity)))
    sha256 = hashes.get(f"face_restorer:{faces.model}")
    return [*found, (HASH, sha256[:10])] if sha256 else found


def extras(faces: Faces, hashes: Mapping[str, str]) -> list[tuple[str, str]]:
    """The parameters of a picture that was finished before, as A1111's extras have them."""
    name = architecture(faces.model)
    found = [(f"{name} visibility", exact(faces.strength))]
    if name == CODEFORMER:
        found.append((f"{name} weight", exact(faces.fidelity)))
    found.append(("Postprocess face model", faces.model))
    if faces.which != "all":
        found.append(("Postprocess faces", faces.which))
    sha256 = hashes.get(f"face_restorer:{faces.model}")
    return [*found, ("Postprocess face hash", sha256[:10])] if sha256 else found


def read(parameters: Mapping[str, str]) -> dict[str, str | int | float]:
    """The options that parameters give; of faces none without A1111's key. Raises Refused."""
    given: dict[str, str | int | float] = {}
    if parameters.get(CUTOUT, "").strip():
        given["cutout"] = options()["cutout"].parse(parameters[CUTOUT])
    if not parameters.get(KEY, "").strip():
        return given
    given |= {"faces": "all", "face_model": parameters[KEY]}
    for key, name in OPTIONS.items():
        if key in parameters:
            given[name] = options()[name].parse(parameters[key])
    return given

"""Networks that restore a face of 512 pixels, through spandrel or, CodeFormer, one of our own."""

from typing import Any, Final

import torch
from safetensors.torch import load_file

from generation.families.face_restorers import CODEFORMER, GFPGAN
from generation.models import ModelFile
from generation.runtime.faults import JobError, NotFiniteError
from generation.runtime.networks import codeformer
from generation.runtime.spandrel import spandrel

SIDE: Final = 512
"""Pixels of a face, as it is given and returned."""
PURPOSE: Final = "FaceSR"
"""What spandrel says of them."""


def load_face_restorer(file: ModelFile, dtype: torch.dtype) -> Any:
    """The network of a safetensors file; the attribute `about` is spandrel's description, or None
    of CodeFormer.

    Raises JobError for a file that holds none, or where spandrel is not installed, and whatever a
    library says of a broken one.
    """
    state = load_file(file.path)
    if file.variant == CODEFORMER:
        own: Any = codeformer.load(state).eval().requires_grad_(False)
        own.about = None
        return own.to(dtype)
    try:
        library = spandrel()
    except ModuleNotFoundError as error:
        raise JobError("face_restorer_library_missing", name=file.name) from error
    try:
        about = library.ModelLoader().load_from_state_dict(state)
    except library.UnsupportedModelError as error:
        raise JobError("face_restorer_kind", name=file.name) from error
    if about.purpose != PURPOSE:
        raise JobError("face_restorer_kind", name=file.name)
    network = about.model.eval().requires_grad_(False)
    network.to(dtype)
    network.about = about
    return network


def restored(network: Any, face: torch.Tensor, fidelity: float) -> torch.Tensor:
    """A face (1, 3, 512, 512), from 0 to 1, restored; `fidelity` is CodeFormer's weight.

    Raises NotFiniteError.
    """
    with torch.no_grad():
        if network.about is None:
            found = (network(face * 2 - 1, fidelity) + 1) / 2
        elif network.about.architecture.id == GFPGAN:
            # with the noise of its file: at random, a replay would not be the same
            pixels = network(face * 2 - 1, return_rgb=False, randomize_noise=False)[0]
            found = (pixels + 1) / 2
        else:
            # spandrel itself would call torchvision here
            found = (network(face * 2 - 1)[0] + 1) / 2
    if not torch.isfinite(found).all():
        raise NotFiniteError
    clamped: torch.Tensor = found.clamp(0, 1)
    return clamped

"""What is done to a picture once it is drawn or enlarged: faces restored, background removed."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image

from generation.messages import Finishing
from generation.request_parts import Faces
from generation.runtime import face_alignment, face_detection
from generation.runtime.cutout import cut_out
from generation.runtime.face_restorers import restored
from generation.runtime.onnx_session import OnnxNetwork
from generation.runtime.parts import Parts

After = Callable[[str, float], None]
"""Hears which stage is how far, from 0 to 1, and may raise to stop."""


Pasted = Callable[[Image.Image], Image.Image]


class Finisher:
    """Does for each picture of a job what its request wants done."""

    def __init__(self, parts: Parts, wanted: Finishing) -> None:
        self._parts = parts
        self._wanted = wanted
        self._network: OnnxNetwork | None = None
        """What removes the background, once it is loaded."""
        self.faceless: set[int] = set()
        """Pictures, by index, that none of the faces is in which were meant."""

    def finish(
        self, index: int, picture: Image.Image, after: After, pasted: Pasted | None = None
    ) -> Image.Image:
        """Raises JobError and NotFiniteError. `pasted` puts what a mask keeps over the picture: as
        A1111 has it after its faces are restored, so that what stays stays.
        """
        if self._wanted.faces is not None:
            picture = self._with_faces(index, picture, self._wanted.faces, after)
        if pasted is not None:
            picture = pasted(picture)
        if self._wanted.remover is not None:
            after("cutout", 0.0)
            if self._network is None:
                self._network = OnnxNetwork(self._wanted.remover, self._parts.device)
            picture = cut_out(picture, self._network)
            after("cutout", 1.0)
        return picture

    def let_go(self) -> None:
        """Unload what it works with, which is loaded anew where it is wanted again."""
        self._network = None
        self._parts.let_go(self._wanted.files)

    def _with_faces(
        self, index: int, picture: Image.Image, faces: Faces, after: After
    ) -> Image.Image:
        assert self._wanted.detector is not None
        assert self._wanted.restorer is not None
        after("faces", 0.0)
        found = face_detection.faces_in(picture, self._wanted.detector)
        meant = face_detection.chosen(found, faces.which)
        if not meant:
            self.faceless.add(index)
            return picture
        parts = self._parts
        # in float32: GFPGAN overflows in half precision, and a face is small
        with parts.in_precision(torch.float32):
            network = parts.face_restorer(self._wanted.restorer)
            pixels = np.asarray(picture).astype(np.float32)
            with parts.residency.at_work(network):
                for number, face in enumerate(meant, 1):
                    pixels = _mended(network, pixels, face, faces, parts.device)
                    after("faces", number / len(meant))
        return Image.fromarray(pixels.round().clip(0, 255).astype(np.uint8))


def _mended(
    network: Any,
    pixels: face_alignment.FacePixels,
    face: face_detection.Face,
    faces: Faces,
    device: torch.device,
) -> face_alignment.FacePixels:
    """The picture with one face restored."""
    there = face_alignment.alignment(face.points)
    if there is None:
        return pixels
    before = face_alignment.cropped(pixels, there)
    given = torch.from_numpy(before).permute(2, 0, 1)[None].to(device) / 255
    after = restored(network, given, faces.fidelity)[0].permute(1, 2, 0).float().cpu().numpy() * 255
    return face_alignment.pasted(
        pixels, face_alignment.in_tone(before, after), there, faces.strength
    )

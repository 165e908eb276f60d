"""The LoRAs of a job, merged into the networks of its checkpoint."""

from collections.abc import Mapping
from typing import Final

import structlog
import torch

from generation.families import TextEncoder
from generation.messages import Generate
from generation.runtime.checkpoints import Checkpoint
from generation.runtime.merging import LoraMerge, Merger

log = structlog.get_logger(__name__)

NAMES_LOGGED: Final = 10


def merge(
    merger: Merger,
    model: Checkpoint,
    work: Generate,
    device: torch.device,
    *,
    alone: bool = True,
) -> Mapping[str, Mapping[str, torch.Tensor]]:
    """Let the checkpoint have the job's LoRAs, each at its weight; they stay until another job
    wants others. One that is not `alone` has those that are made for it. Returns the textual
    inversions that they bring along.

    Raises JobError as `Merger.apply` does.
    """
    uses = [
        LoraMerge(
            file.path,
            file.name,
            use.weight,
            use.weight if use.te_weight is None else use.te_weight,
        )
        for file, use in zip(work.loras, work.request.loras, strict=True)
        if alone or file.fits(model.file)
    ]
    networks = {network_of(encoder.row): encoder.module for encoder in model.encoders}
    networks[model.family.denoiser] = model.denoiser
    if not alone and not uses and not any(map(merger.merged, networks.values())):
        # or the files of the other checkpoint's would be forgotten
        return {}
    reports = merger.apply(networks, uses, device)
    vectors: dict[str, Mapping[str, torch.Tensor]] = {}
    for report in reports:
        vectors |= report.embeddings
        if report.is_partial:
            log.warning(
                "only a part of a LoRA fits",
                lora=report.name,
                layers=f"{report.applied} of {report.layers}",
                unused=report.unused[:NAMES_LOGGED],
            )
    return vectors


def network_of(row: TextEncoder) -> str:
    """What LoRA files know a text encoder by: T5 by its make, for its place in diffusers' layout
    differs from family to family.
    """
    return row.part if row.make == "clip" else f"text_encoder_{row.make}"

"""The LoRAs of a job, merged into the networks of its pipeline."""

import contextlib
from collections.abc import Iterator
from typing import Any, Final

import structlog

from generation.messages import Generate
from generation.runtime.merging import LoraMerge, Merger

log = structlog.get_logger(__name__)

NETWORKS: Final = ("unet", "text_encoder", "text_encoder_2")
MERGER: Final = Merger()
"""One for the process: what is merged into a network outlives the pipelines that share it."""
NAMES_LOGGED: Final = 10


@contextlib.contextmanager
def applied(pipe: Any, work: Generate) -> Iterator[None]:
    """Let the pipeline have the job's LoRAs, each at its weight.

    They stay until another job wants others. Raises JobError as `Merger.apply` does.
    """
    uses = [
        LoraMerge(
            file.path,
            file.name,
            denoiser=use.weight,
            text=use.weight if use.te_weight is None else use.te_weight,
        )
        for file, use in zip(work.loras, work.request.loras, strict=True)
    ]
    found = {name: getattr(pipe, name, None) for name in NETWORKS}
    networks = {name: network for name, network in found.items() if network is not None}
    for report in MERGER.apply(networks, uses, pipe._execution_device):
        if report.is_partial:
            log.warning(
                "only a part of a LoRA fits",
                lora=report.name,
                layers=f"{report.applied} of {report.layers}",
                unused=report.unused[:NAMES_LOGGED],
            )
    yield

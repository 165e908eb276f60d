"""What packing a whole weight into fewer bits takes: `python -m benchmarks.packing`.

A matrix of a block of Flux.1 (3072 by 12288) in bfloat16, as it comes from a file, becomes NF4,
int8 and fp8. Beside each time that of a baseline: for NF4 a search for every value among the
borders between the 16 (`torch.bucketize`), for the others the whole matrix in one operation after
the other. Both give the same bytes. The quickest of several rounds, in turns, in seconds of the
processor.
"""

import argparse
import itertools
import time
from collections.abc import Callable
from typing import Final

import torch
from rich.console import Console
from rich.table import Table

from generation.model_settings import Quantise
from generation.runtime.four_bits import NF4
from generation.runtime.quantised import Packed
from generation.runtime.quantising import BLOCK, FLOAT8, INT8, packed

FORMATS: Final[tuple[Quantise, ...]] = ("nf4", "int8", "fp8")
FLUX: Final = 11_901_408_320
"""Values of Flux.1's denoiser."""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="benchmarks.packing", description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=3072)
    parser.add_argument("--columns", type=int, default=12288)
    parser.add_argument("--rounds", type=int, default=3)
    # on a busy machine more than one would be measured waiting for each other
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    weight = (torch.randn(arguments.rows, arguments.columns) * 0.02).to(torch.bfloat16)
    table = Table("format", "seconds", "baseline", "ratio", "of Flux.1's denoiser", "same bytes")
    for to in FORMATS:
        own, other, same = _both(weight, to, arguments.rounds)
        whole = own * FLUX / weight.numel()
        table.add_row(
            to,
            f"{own:.3f}",
            f"{other:.3f}",
            f"{other / own:.1f}",
            f"{whole:.0f} s",
            "yes" if same else "no",
        )
    console = Console(width=100)
    console.print(f"{arguments.rows} x {arguments.columns}; threads: {arguments.threads}")
    console.print(table)


def _both(weight: torch.Tensor, to: Quantise, rounds: int) -> tuple[float, float, bool]:
    own, other = [], []
    for _ in range(rounds):
        seconds, found = _timed(lambda: packed(weight, to))
        own.append(seconds)
        seconds, expected = _timed(lambda: _baseline(weight, to))
        other.append(seconds)
    assert isinstance(found, Packed)
    return min(own), min(other), torch.equal(found.data_by_row, expected)


def _timed(work: Callable[[], torch.Tensor]) -> tuple[float, torch.Tensor]:
    begun = time.process_time()
    found = work()
    return time.process_time() - begun, found


def _baseline(weight: torch.Tensor, to: Quantise) -> torch.Tensor:
    values = weight.float()
    if to == "int8":
        scale = values.abs().amax(1, keepdim=True) / INT8
        return (values / scale).round().to(torch.int8).view(torch.uint8)
    if to == "fp8":
        scale = values.abs().amax(1, keepdim=True) / torch.finfo(FLOAT8).max
        return (values / scale).to(FLOAT8).view(torch.uint8)
    borders = torch.tensor([(low + high) / 2 for low, high in itertools.pairwise(NF4)])
    blocks = values.view(len(values), -1, BLOCK)
    scaled = (blocks / blocks.abs().amax(2, keepdim=True)).flatten(1)
    codes = torch.bucketize(scaled, borders, out_int32=True).to(torch.uint8)
    return (codes[:, ::2] << 4) | codes[:, 1::2]


if __name__ == "__main__":
    main()

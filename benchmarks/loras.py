"""What LoRAs cost a job: `python -m benchmarks.loras`, with `--full` for Stable Diffusion 1's size.

Three UNets of one make stand side by side: one without LoRAs, one with them merged into its
weights, one with diffusers' adapters (peft) as a baseline. Above, what a job pays before it can
draw; below, a step of the three, in turns, the quickest of each. All in seconds of the processor.
"""

import argparse
import functools
import gc
import json
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch
from diffusers import UNet2DConditionModel
from rich.console import Console
from rich.table import Table
from safetensors.torch import load_file, save_file

from generation.runtime.merging import LoraMerge, Merger

CONFIG: Final = Path("generation/runtime/configs/sd1/unet/config.json")
SMALL: Final = {"block_out_channels": (64, 128, 256, 256), "cross_attention_dim": 256}
LAYERS: Final = ("to_q", "to_k", "to_v", "to_out.0", "proj_in", "proj_out", "net.0.proj", "net.2")
"""What kohya's trainer takes."""
RANK: Final = 32


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="benchmarks.loras", description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="860 million weights; 12 GB of memory")
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), default="float32")
    # of several, each waits for the slowest, and on a busy machine nothing else is measured
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=7, help="of each UNet")
    arguments = parser.parse_args()
    # peft of two adapters on one model, diffusers of options that it will rename
    warnings.simplefilter("ignore")
    torch.set_num_threads(arguments.threads)
    dtype = getattr(torch, arguments.dtype)
    config = json.loads(CONFIG.read_text()) | ({} if arguments.full else SMALL)
    bare, merged, adapted = (_unet(config, dtype) for _ in range(3))
    size = sum(parameter.numel() for parameter in bare.parameters())
    console = Console(width=100)
    with tempfile.TemporaryDirectory() as folder:
        files = [_lora(bare, Path(folder) / f"{name}.safetensors") for name in "ab"]
        layers = len(load_file(files[0])) // 2
        console.print(
            f"{size / 1e6:.0f} million weights in {arguments.dtype}, LoRAs of rank {RANK} on "
            f"{layers} layers; threads: {arguments.threads}"
        )
        console.print(_before_drawing(merged, adapted, files))
    side = 64 if arguments.full else 16
    console.print(
        _a_step({"without": bare, "merged": merged, "adapters": adapted}, side, arguments)
    )


def _before_drawing(merged: Any, adapted: Any, files: list[Path]) -> Table:
    merger, networks = Merger(), {"unet": merged}
    a, b = (LoraMerge(file, file.stem) for file in files)

    def merge(*wanted: LoraMerge) -> Callable[[], object]:
        return lambda: merger.apply(networks, wanted)

    def adapt(*names: Path) -> Callable[[], object]:
        def load() -> None:
            # as a job does that can't know what the next one wants
            adapted.unload_lora()
            for number, file in enumerate(names):
                adapted.load_lora_adapter(
                    load_file(file), prefix=None, adapter_name=f"lora{number}end"
                )

        return load

    table = Table("a job", "merged", "adapters", title="CPU seconds before the first step")
    for name, own, theirs in (
        ("the first LoRA", merge(a), adapt(files[0])),
        ("the same again", merge(a), adapt(files[0])),
        ("another one", merge(b), adapt(files[1])),
        ("both", merge(a, b), adapt(*files)),
        ("none", merge(), adapt()),
        ("the first again", merge(a), adapt(files[0])),
    ):
        table.add_row(name, *(f"{_seconds(work):.3f}" for work in (own, theirs)))
    table.caption = f"originals kept beside the merged weights: {merger.kept_bytes / 2**20:.0f} MiB"
    return table


def _a_step(unets: dict[str, Any], side: int, arguments: argparse.Namespace) -> Table:
    generator = torch.Generator().manual_seed(0)
    first = unets["without"]
    latents = torch.randn((1, 4, side, side), generator=generator).to(first.dtype)
    width = first.config.cross_attention_dim
    words = torch.randn((1, 77, width), generator=generator).to(first.dtype)
    found: dict[str, list[float]] = {name: [] for name in unets}
    for _ in range(arguments.steps):
        for name, unet in unets.items():
            step = functools.partial(unet, latents, 500, encoder_hidden_states=words)
            found[name].append(_seconds(step))
    best = {name: min(times) for name, times in found.items()}
    table = Table("UNet", "CPU seconds", "ratio", title=f"a step of {8 * side} × {8 * side} pixels")
    for name, seconds in best.items():
        table.add_row(name, f"{seconds:.3f}", f"{seconds / best['without']:.2f}")
    return table


def _seconds(work: Callable[[], object]) -> float:
    gc.collect()
    begun = time.process_time()
    with torch.no_grad():
        work()
    return time.process_time() - begun


def _unet(config: dict[str, Any], dtype: torch.dtype) -> Any:
    """With random weights of no meaning."""
    options = {key: value for key, value in config.items() if not key.startswith("_")}
    with torch.device("meta"):
        unet = UNet2DConditionModel(**options)
    unet = unet.to(dtype).to_empty(device="cpu")
    for parameter in unet.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    return unet.eval()


def _lora(unet: Any, file: Path) -> Path:
    """A file that both can read."""
    tensors: dict[str, torch.Tensor] = {}
    for name, module in unet.named_modules():
        if name.endswith(LAYERS) and hasattr(module, "weight"):
            out, in_, *kernel = module.weight.shape
            down = torch.randn(RANK, in_, *kernel) / RANK
            tensors[f"{name}.lora_A.weight"] = down.half()
            tensors[f"{name}.lora_B.weight"] = (torch.randn(out, RANK, *kernel) / RANK).half()
    save_file(tensors, file)
    return file


if __name__ == "__main__":
    main()

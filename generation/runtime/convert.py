"""`python -m generation.runtime.convert FILE PART`: a pickle of tensors becomes safetensors.

Only tensors are read, by torch's reader that runs no code (`weights_only`). The last line on stdout
is JSON: {"tensors": N}, or {"why": "…"} with status 1.
"""

import json
import re
import sys
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import safetensors.torch
import torch

NESTED: Final = ("state_dict", "params_ema", "params", "model_state_dict", "model", "module")
"""Where the tensors lie in a checkpoint of training, the first that is there."""
IP_ADAPTER: Final = ("image_proj", "ip_adapter")
"""The two halves of an IP-Adapter, by which its tensors lie apart."""
WORDS: Final = "string_to_param"
"""Where they lie in an embedding of A1111, one for each word; what is written is its only one."""


class NoTensorsError(Exception):
    """There is something else in it than plain tensors; the text says what."""


class _Forgotten:
    """Stands for objects of training that checkpoints of 2022 hold beside their weights."""


FORGOTTEN: Final = ("pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint",)


def read(file: Path) -> dict[str, torch.Tensor]:
    """All tensors of a pickle, by name. Raises NoTensorsError."""
    with torch.serialization.safe_globals([(_Forgotten, name) for name in FORGOTTEN]):
        try:
            found = torch.load(
                file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file)
            )
        except OSError:
            raise
        except Exception as error:
            raise NoTensorsError(_reason(error)) from error
    return dict(_tensors(found))


def _reason(error: Exception) -> str:
    found = re.search(r"[Uu]nsupported (?:global: )?(?:GLOBAL|class) ([\w.]+)", str(error))
    if found:
        return f"it would run code of {found[1][:100]}, so it is not read"
    return "it is no file that torch wrote, or it is cut off"


def _tensors(found: object) -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(found, Mapping) and isinstance(found.get(WORDS), Mapping):
        words = found[WORDS]
        if len(words) != 1:
            raise NoTensorsError(f"it holds {len(words)} words, and not one")
        found = {"emb_params": next(iter(words.values()))}
    if isinstance(found, Mapping) and all(isinstance(found.get(p), Mapping) for p in IP_ADAPTER):
        # an IP-Adapter of 2023, whose safetensors have the parts before the names
        found = {f"{part}.{n}": t for part in IP_ADAPTER for n, t in found[part].items()}
    for name in NESTED:
        if isinstance(found, Mapping) and isinstance(found.get(name), Mapping):
            found = found[name]
            break
    if not isinstance(found, Mapping) or not found:
        raise NoTensorsError("it holds no tensors by name")
    for name, tensor in found.items():
        if isinstance(tensor, torch.Tensor) and tensor.layout is torch.strided:
            if tensor.is_quantized:
                raise NoTensorsError(f"{name} is quantised")
            # one memory for two names is not taken
            yield str(name), tensor.detach().contiguous().clone()
        elif isinstance(tensor, Mapping | list | tuple) or not _is_plain(tensor):
            raise NoTensorsError(f"{str(name)[:100]} is no plain tensor")


def _is_plain(value: object) -> bool:
    """Numbers and texts, which note something about training and are left out."""
    return value is None or isinstance(value, int | float | str | bool)


def write(tensors: Mapping[str, torch.Tensor], part: Path) -> None:
    """The file, whole. Raises NoTensorsError for none, and OSError."""
    if not tensors:
        raise NoTensorsError("it holds no tensors by name")
    safetensors.torch.save_file(dict(tensors), part, {"format": "pt"})


def main() -> int:
    """Convert one file into another, which must not be there."""
    warnings.simplefilter("ignore")
    file, part = (Path(argument) for argument in sys.argv[1:])
    answer: dict[str, Any]
    try:
        tensors = read(file)
        write(tensors, part)
        answer = {"tensors": len(tensors)}
    except NoTensorsError as error:
        answer = {"why": str(error)}
    except (OSError, safetensors.SafetensorError) as error:
        answer = {"why": getattr(error, "strerror", None) or str(error)}
    except MemoryError:
        answer = {"why": "there is not enough memory"}
    sys.stdout.write("\n" + json.dumps(answer) + "\n")
    return int("why" in answer)


if __name__ == "__main__":
    sys.exit(main())

"""`darkroom run` in a folder that has nothing of it: the settings are written, and what comes next
is said.
"""

import sys
from pathlib import Path
from typing import Final

from bot.shipped import TEMPLATE, models_folder
from bot.storage_folder import StartError

KINDS: Final = ("checkpoints", "loras", "vae", "controlnet", "upscale_models")
"""Of `models/`, those folders that nearly everybody fills."""
NEXT: Final = """
  A new Darkroom in {folder}
    config.toml          every setting with its default, and what it does
    models/checkpoints   for .safetensors and .gguf; or name AUTOMATIC1111's or ComfyUI's models
                         folder in [models] of config.toml. Until then a small demo draws
    .env                 for the bot's token, as a line DISCORD_TOKEN=...; until then a local
                         Discord takes Discord's place
  darkroom doctor says what is still wanting, and darkroom run starts it again from here.

"""


def begin(config: Path) -> None:
    """Write the settings and the models' folders where there are none; never over a file.

    Raises StartError where that can't be.
    """
    folder = config.resolve().parent
    if config.exists():
        return
    try:
        for kind in KINDS:
            (models_folder(config.resolve()) / kind).mkdir(parents=True, exist_ok=True)
        with config.open("x", encoding="utf-8", newline="\n") as file:
            file.write(TEMPLATE.read_text(encoding="utf-8"))
    except OSError as error:
        raise StartError(
            f"{folder}: {error.strerror or error}. Run darkroom in a folder of its own that you"
            " may write to."
        ) from None
    sys.stdout.write(NEXT.format(folder=folder))
    sys.stdout.flush()

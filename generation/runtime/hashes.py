"""SHA-256 of model files, remembered by path, size and time of change."""

import hashlib
import re
from pathlib import Path

from generation.kept_file import KeptFile
from generation.safetensors_header import HeaderError, read_header

CHUNK = 2**20
OWN_HASH = "sshs_model_hash"
"""Where kohya's trainer and A1111 write a LoRA's hash into its header."""


class Hashes:
    """Remembers in `hashes.json` of its folder; hashing a checkpoint takes seconds to a minute."""

    def __init__(self, folder: Path) -> None:
        self._kept = KeptFile(folder / "hashes.json")
        self._known = {key: str(value) for key, value in self._kept.found.items()}
        self._kept.found = self._known

    def of(self, path: Path) -> str:
        """The SHA-256 of a file; of a folder, that of the names and hashes of its files.

        A snapshot of a hub also holds whole checkpoints and a safety checker, which nobody loads;
        the words that a model knows draw nothing either.
        """
        if path.is_file():
            return self._of_file(path)
        whole = hashlib.sha256()
        pipeline = (path / "model_index.json").is_file()
        for file in sorted(path.rglob("*")):
            name = file.relative_to(path).as_posix()
            whole_checkpoint = pipeline and file.parent == path and file.suffix == ".safetensors"
            beside = name == "vocabulary.json" or name.startswith("safety_checker/")
            if whole_checkpoint or beside:
                continue
            if file.suffix in (".safetensors", ".json", ".txt"):
                whole.update(f"{name}\0{self._of_file(file)}\n".encode())
        return whole.hexdigest()

    def of_tensors(self, path: Path) -> str:
        """The SHA-256 that A1111 and Civitai (AutoV3) know a LoRA by; "" of what is no such file.

        It is the one that its header names, else that of all that stands behind the header.
        """
        try:
            named = read_header(path).metadata.get(OWN_HASH, "")
        except (HeaderError, OSError):
            return ""
        if re.fullmatch(r"[0-9a-fA-F]{64}", named):
            return named.lower()
        return self._of_file(path, tensors=True)

    def _of_file(self, path: Path, *, tensors: bool = False) -> str:
        stat = path.stat()
        key = f"{path.resolve()}|{stat.st_size}|{stat.st_mtime_ns}{'|tensors' if tensors else ''}"
        if key not in self._known:
            with path.open("rb") as file:
                if tensors:
                    file.seek(8 + int.from_bytes(file.read(8), "little"))
                self._known[key] = hashlib.file_digest(file, "sha256").hexdigest()
            if stat.st_size > CHUNK:
                self._kept.save()
        return self._known[key]

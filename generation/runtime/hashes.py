"""SHA-256 of model files, remembered by path, size and time of change."""

import hashlib
import json
import os
from pathlib import Path

CHUNK = 2**20


class Hashes:
    """Remembers in `hashes.json` of its folder; hashing a checkpoint takes seconds to a minute."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "hashes.json"
        self._known: dict[str, str] = {}
        try:
            loaded = json.loads(self._file.read_text(encoding="utf-8"))
            self._known = {str(key): str(value) for key, value in loaded.items()}
        except (OSError, ValueError, AttributeError):
            pass  # not there yet, or half written by a crash: hashes can be computed anew

    def of(self, path: Path) -> str:
        """The SHA-256 of a file; of a folder, that of the names and hashes of its files.

        A snapshot of a hub also holds whole checkpoints and a safety checker, which nobody loads.
        """
        if path.is_file():
            return self._of_file(path)
        whole = hashlib.sha256()
        pipeline = (path / "model_index.json").is_file()
        for file in sorted(path.rglob("*")):
            name = file.relative_to(path).as_posix()
            whole_checkpoint = pipeline and file.parent == path and file.suffix == ".safetensors"
            if whole_checkpoint or name.startswith("safety_checker/"):
                continue
            if file.suffix in (".safetensors", ".json", ".txt"):
                whole.update(f"{name}\0{self._of_file(file)}\n".encode())
        return whole.hexdigest()

    def _of_file(self, path: Path) -> str:
        stat = path.stat()
        key = f"{path.resolve()}|{stat.st_size}|{stat.st_mtime_ns}"
        if key not in self._known:
            with path.open("rb") as file:
                self._known[key] = hashlib.file_digest(file, "sha256").hexdigest()
            if stat.st_size > CHUNK:
                self._save()
        return self._known[key]

    def _save(self) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        part = self._file.with_suffix(f".{os.getpid()}.part")
        part.write_text(json.dumps(self._known), encoding="utf-8")
        part.replace(self._file)

"""What an interrupted fit or evaluation continues from: safetensors files, one per batch, each whole or absent.

Every folder is named after a digest of what made its batches, so a changed config, model or prompt looks in another
folder. Signals, outcomes, clocks and running sums are kept; responses only if the config asks for them; prompts and
activations never.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from sri_sdk.errors import MissingExtra
from sri_sdk.files import claimed, digest, replacing, write_text
from sri_sdk.fitting.packed import NOTE, Batch, pack
from sri_sdk.strict_json import parse, write

_LARGEST = 2**26
"""Most bytes of notes."""

log = logging.getLogger(__name__)


class Store:
    """One folder of batches, named after everything that made them."""

    def __init__(self, root: Path, stage: str, key: Mapping[str, Any]) -> None:
        """Finds the folder of one stage.

        Args:
            root: folder of all stages.
            stage: what is generated, such as `calibration`; part of the folder's name.
            key: everything the batches depend on, as JSON can hold it.

        Raises:
            MissingExtra: safetensors is not installed.
        """
        try:
            import safetensors.numpy  # noqa: F401  # Found missing now, not after the first batch.
        except ImportError as err:
            raise MissingExtra("Keeping generations for an interrupted run", extra="capture") from err
        self.folder = root / f"{stage.replace(' ', '-')}-{digest(dict(key))[:16]}"

    @contextmanager
    def claim(self, name: str) -> Iterator[bool]:
        """Whether this process is the one that makes a batch; False = another one is making it."""
        with claimed(self.folder / name) as ours:
            yield ours

    @contextmanager
    def alone(self, name: str) -> Iterator[None]:
        """Waits for another process that is making this, and says so; then look for it before making it."""
        with claimed(self.folder / name) as ours:
            if ours:
                yield
                return
        log.info("%s: another process is at it; waiting for it", self.folder.name.rpartition("-")[0])
        with claimed(self.folder / name, wait=True):
            yield

    def has(self, name: str) -> bool:
        """Whether a batch was written; it may still be damaged."""
        return (self.folder / f"{name}.safetensors").exists()

    def load(self, name: str) -> Batch | None:
        """A batch: arrays [...] by name, shapes and dtypes as saved, and its notes.

        None = it was not written, or is damaged: then it is made again.
        """
        from safetensors import SafetensorError, safe_open

        path = self.folder / f"{name}.safetensors"
        if not path.exists():
            return None
        try:
            with safe_open(path, framework="numpy") as file:
                notes = parse((file.metadata() or {})[NOTE])
                return {key: file.get_tensor(key) for key in file.keys()}, notes  # noqa: SIM118
        except (OSError, SafetensorError, KeyError, ValueError):
            return None

    def save(
        self, name: str, arrays: Mapping[str, NDArray[Any]], notes: Mapping[str, Any], *, private: bool = False
    ) -> None:
        """Writes a batch of arrays [...] of any shape and dtype, whole or not at all; `load` is its exact inverse.

        `private` = only its owner may read the file.

        Raises:
            JsonError: the notes hold what `load` would refuse.
        """
        self.save_packed(name, pack(arrays, notes), private=private)

    def save_packed(self, name: str, content: bytes, *, private: bool = False) -> None:
        """Writes a batch that `pack` has packed, whole or not at all; see `save`."""
        with replacing(self.folder / f"{name}.safetensors") as made:
            if private:
                made.touch(mode=0o600)
            made.write_bytes(content)

    def remove(self, names: Iterable[str]) -> None:
        """Deletes batches that nobody will ask for again."""
        for name in names:
            (self.folder / f"{name}.safetensors").unlink(missing_ok=True)

    def load_notes(self, name: str) -> Any:
        """JSON kept beside the batches, such as what an attack learnt; None if it was not written, or is damaged."""
        try:
            with (self.folder / f"{name}.json").open("rb") as stream:
                content = stream.read(_LARGEST + 1)
            return parse(content) if len(content) <= _LARGEST else None
        except (OSError, ValueError):
            return None

    def save_notes(self, name: str, notes: Any) -> None:
        """Writes JSON beside the batches; `load_notes` gives it back.

        Raises:
            JsonError: the notes hold what `load_notes` would refuse.
        """
        write_text(self.folder / f"{name}.json", write(notes))

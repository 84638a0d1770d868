"""From a published file to one on this machine: found under a path, or downloaded if asked; its hash is checked."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sri_plugin_benchmarks.manifest import DataFile, Manifest
from sri_plugin_benchmarks.tables import READERS
from sri_sdk.errors import ConfigError, MissingExtra


@dataclass(frozen=True, slots=True)
class Found:
    """One file on this machine."""

    file: DataFile
    path: Path
    sha256: str
    """Of its bytes, computed now."""
    expected: str | None
    """The hash it was compared with; None = there was none."""
    revision: str
    """Commit it was downloaded at, or what the options or the manifest say of it."""


def locate(
    manifest: Manifest, file: DataFile, *, path: Path | None, alone: bool = True, revision: str | None = None,
    download: bool = False, pinned: str | None = None,
) -> Found:  # fmt: skip
    """One published file on this machine.

    Args:
        manifest: the set.
        file: one of its files.
        path: the file itself, or a folder with it; None = nothing is here.
        alone: whether it is the only file wanted, so that `path` may be the file itself under any name.
        revision: commit, tag or branch; None = the manifest's own.
        download: whether the hub may be asked where `path` is None.
        pinned: sha256 that the options demand; None = the manifest's, where it knows one.

    Raises:
        ConfigError: it is not here, cannot be downloaded, or is another file.
        MissingExtra: downloading was asked for, and the hub's package is not installed.
    """
    if path is not None:
        place = _under(manifest, file, path.expanduser(), alone, revision)
        at, known = revision or manifest.revision, file.sha256
    elif download:
        place, at = _downloaded(manifest, file, revision)
        # The manifest's hash belongs to the manifest's own address and revision.
        known = None
    else:
        raise ConfigError(
            f"dataset {manifest.name}: {file.base} is not on this machine as far as the options say. "
            f"{manifest.how_to_get(file, revision)} Then set options.path to the file or its folder"
            f"{_or_download(manifest)}."
        )
    if revision not in (None, manifest.revision) or place.suffix != Path(file.base).suffix:
        # Another release, or another form of it: the known hash says nothing.
        known = None
    digest = _sha256(place)
    expected = known if pinned is None else pinned.lower()
    if expected is not None and digest != expected:
        whose = "options.sha256" if pinned is not None else f"the publication at {manifest.revision}"
        raise ConfigError(
            f"{place}: sha256 is {digest}, {whose} says {expected}: this is another file, or it is damaged. "
            f"{manifest.how_to_get(file, revision)} If you want this one, pin it: "
            f"options.sha256: {{{file.name}: {digest}}}."
        )
    return Found(file, place, digest, expected, at)


def _under(manifest: Manifest, file: DataFile, path: Path, alone: bool, revision: str | None) -> Path:
    if path.is_file():
        if not alone:
            raise ConfigError(
                f"dataset {manifest.name}: options.path is the file {path.name}, but several are needed, such as "
                f"{file.base}. Give the folder that holds them, or ask for fewer parts in the options."
            )
        return path
    found = next((place for place in _places(manifest, file, path) if place.is_file()), None)
    if found is None:
        missing = f"{path} does not exist" if not path.is_dir() else f"{path} holds no {file.name}"
        raise ConfigError(
            f"dataset {manifest.name}: options.path: {missing}, seen from {Path.cwd()}. "
            f"{manifest.how_to_get(file, revision)}"
        )
    return found


def _places(manifest: Manifest, file: DataFile, folder: Path) -> Iterator[Path]:
    """Where a file may be under a folder: as published, without outer folders, or as the same rows in another form."""
    parts = file.name.split("/")
    for left_out in range(len(parts)):
        end = "/".join(parts[left_out:])
        # Files of several attacks have one name: a place must be of this file alone.
        if sum(each.name == end or each.name.endswith(f"/{end}") for each in manifest.files) == 1:
            place = folder / end
            yield place
            yield from (place.with_suffix(form) for form in READERS if form != place.suffix)


def _or_download(manifest: Manifest) -> str:
    return "" if manifest.hub is None else f", or set options.download: true to take it from {manifest.hub} on the hub"


def _downloaded(manifest: Manifest, file: DataFile, revision: str | None) -> tuple[Path, str]:
    """Path in the hub's cache, and the commit it is from."""
    if manifest.hub is None:
        raise ConfigError(
            f"dataset {manifest.name}: options.download: this set is not on the Hugging Face hub in its published form."
            f" {manifest.how_to_get(file, revision)} Then set options.path."
        )
    try:
        from huggingface_hub import hf_hub_download
    except ModuleNotFoundError as err:
        raise MissingExtra(f"Downloading {manifest.title}", extra="capture") from err
    wanted = revision or (manifest.revision if manifest.hub in manifest.page else None)
    try:
        got = hf_hub_download(manifest.hub, file.name, repo_type="dataset", revision=wanted)
    except Exception as err:
        # Network, gate, disk: the hub has dozens of errors. The cause stays attached.
        reason = " ".join(str(err).split())[:200].rstrip(". ")
        raise ConfigError(
            f"dataset {manifest.name}: {file.name} could not be downloaded from {manifest.hub}: {type(err).__name__}: "
            f"{reason}. {manifest.how_to_get(file, revision)} Then set options.path."
        ) from err
    parts = Path(got).parts
    # The hub's cache is .../snapshots/<commit>/<file>.
    commit = parts[parts.index("snapshots") + 1] if "snapshots" in parts[:-1] else wanted or "main"
    return Path(got), commit


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as err:
        raise ConfigError(f"{path}: cannot be read: {err.strerror or err}. Check its permissions.") from err

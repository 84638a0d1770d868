"""The exported artefact: a folder that executes nothing. Write it whole or not at all; read it or refuse it.

    <bundle>/manifest.json    see `manifest.py`
    <bundle>/signal.onnx      one file per graph the manifest lists
    <bundle>/manifest.sig     if it was signed, see `signature.py`; and nothing else

A zip of these files is the same bundle, see `stored_zip.py`. Hashes protect against damage, not against tampering:
whoever can change a graph can change the manifest too. Only a signature, or a digest kept where nobody else can write,
protects against that.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Self

from sri_sdk.bundle.files import MANIFEST as MANIFEST
from sri_sdk.bundle.files import SIGNATURE, UNLISTED, read_files, write_files
from sri_sdk.bundle.manifest import NO_DIGEST
from sri_sdk.bundle.manifest_v2 import AnyManifest, read_manifest
from sri_sdk.bundle.signature import KeyFile, verify
from sri_sdk.errors import BundleError, ConfigError
from sri_sdk.files import sha256

if TYPE_CHECKING:
    from sri_sdk.bundle.multi_part_guard import AnyGuard
    from sri_sdk.graph.builder import Graph


@dataclass(frozen=True, slots=True, eq=False)
class Bundle:
    """A bundle in memory, checked against its hashes. Whether the graphs compute what they should is left to the
    scorer's golden self-test."""  # fmt: skip

    path: Path
    manifest: AnyManifest
    files: Mapping[str, bytes]
    """The graphs, by file name."""
    unlisted: Mapping[str, bytes]
    """The manifest's own bytes, and signatures, by file name."""
    signed_by: str | None = None
    """Id of the key whose signature was checked; None = no key was given."""
    trusted: bool = False
    """Whether a public key or a digest was given, and fits."""

    @property
    def digest(self) -> str:
        """The manifest's digest. It covers every file, so it identifies this bundle."""
        return self.manifest.digest

    def graph(self, name: str) -> bytes:
        """The ONNX bytes of one graph.

        Raises:
            BundleError: the bundle has no such graph.
        """
        if name not in self.manifest.graphs:
            raise BundleError(
                f"{self.path}: no graph {name!r}; it has {', '.join(sorted(self.manifest.graphs))}. "
                "Export the guard again with the exporter option that adds it."
            )
        return self.files[self.manifest.graphs[name].file]

    @property
    def members(self) -> dict[str, bytes]:
        """Every file of the bundle, by name."""
        return {**self.unlisted, **self.files}

    @classmethod
    def read(
        cls, path: str | PathLike[str], *, public_key: KeyFile | None = None, digest: str | None = None
    ) -> Self:  # fmt: skip
        """Reads a bundle, a folder or a zip, into memory.

        Nothing is parsed before everything is read, so a file that changes meanwhile cannot be half old and half new.

        Args:
            path: the folder or zip file.
            public_key: PEM file with the public key that must have signed it, or the file's bytes;
                None = any or no signature.
            digest: the digest it must have, as hex; None = any.

        Raises:
            BundleError: missing, too large, not as listed, damaged, of another format, or not the one that was asked
                for.
            ConfigError: `public_key` is not a public key, or `digest` not a digest.
            MissingExtra: `public_key` was given and cryptography is not installed.
        """
        return cls.of(Path(path), read_files(Path(path)), public_key=public_key, digest=digest)

    @classmethod
    def of(
        cls, path: Path, members: Mapping[str, bytes], *, public_key: KeyFile | None = None, digest: str | None = None
    ) -> Self:
        """A bundle from its files in memory; see `read`. `path` is for messages."""
        if MANIFEST not in members:
            raise BundleError(f"{path}: {MANIFEST} is missing. Point to a bundle folder, or export the guard again.")
        content, signed_by = members[MANIFEST], None
        # Before a byte is parsed: with a signature or a digest, our parsers never see bytes that were not vouched for.
        if digest is not None:
            _check_digest(path, content, digest)
        if public_key is not None:
            if SIGNATURE not in members:
                raise BundleError(
                    f"{path}: not signed ({SIGNATURE} is missing), and a public key was given. Get the signed bundle, "
                    "or sign it with `sri bundle sign`."
                )
            signed_by = verify(content, members[SIGNATURE], public_key, str(path))
        manifest = read_manifest(content, f"{path}/{MANIFEST}")
        files = {name: found for name, found in members.items() if name not in UNLISTED}
        for name in sorted(manifest.files.keys() ^ files.keys()):
            problem = "is missing" if name in manifest.files else "is not listed in the manifest"
            raise BundleError(f"{path}: {name} {problem}. Copy the bundle again, or export the guard again.")
        for name, entry in manifest.files.items():
            if len(files[name]) != entry.size or sha256(files[name]) != entry.sha256:
                raise BundleError(f"{path}: {name} does not match its digest. Copy the bundle again.")
        unlisted = {name: members[name] for name in UNLISTED if name in members}
        return cls(path, manifest, files, unlisted, signed_by, public_key is not None or digest is not None)


def write_bundle(
    target: Path, parts: AnyGuard, graphs: Mapping[str, Graph], files: Mapping[str, bytes], *, zipped: bool = False
) -> Path:
    """Writes a bundle for drawn `graphs` and their compiled `files` (both by graph name); an old one is replaced.

    Args:
        target: folder, or zip file if `zipped`.
        parts: the guard.
        graphs: what was drawn.
        files: the same graphs, compiled to ONNX.
        zipped: write one stored zip.
    """
    named = {f"{name}.onnx": content for name, content in files.items()}
    return write_files(target, {**named, MANIFEST: parts.manifest(graphs, named).to_bytes()}, zipped=zipped)


def _check_digest(path: Path, content: bytes, wanted: str) -> None:
    wanted = wanted.strip().lower()
    if not re.fullmatch("[0-9a-f]{64}", wanted):
        raise ConfigError(
            f"digest: {wanted[:80]!r} is not a SHA-256 in hex, 64 characters. `sri bundle inspect` prints it."
        )
    own = wanted.encode()
    if content.count(own) != 1 or sha256(content.replace(own, NO_DIGEST.encode())) != wanted:
        raise BundleError(
            f"{path}: not the bundle with digest {wanted[:12]}..., which was asked for. Get that one, or ask for the "
            "digest of this one if you know why it changed."
        )

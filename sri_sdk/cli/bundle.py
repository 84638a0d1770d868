"""`sri bundle`: what is in a bundle, whether it is intact, and who made it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from sri_sdk.bundle.bundle import Bundle
from sri_sdk.bundle.files import SIGNATURE, put_file, write_files
from sri_sdk.bundle.manifest import Manifest
from sri_sdk.bundle.manifest_v2 import AnyManifest, Manifest2, thresholds_of
from sri_sdk.bundle.signature import key_id, new_keys, sign, signer_of
from sri_sdk.cli.output import emit_json, say, say_lines, table
from sri_sdk.errors import ConfigError
from sri_sdk.files import write_new

LONG = {"base64"}
"""Keys with values for machines only: `inspect --json` leaves them out."""

a_bundle = click.argument("path", metavar="BUNDLE", type=click.Path(path_type=Path))
as_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
replace_option = click.option("--replace", is_flag=True, help="Replace an existing file or signature.")


@click.group()
def command() -> None:
    """Inspect, verify, sign and pack bundles. BUNDLE is a folder or its zip file."""


@command.command()
@a_bundle
@click.option("--json", "as_json", is_flag=True, help="Print the manifest as JSON, without the bytes of its arrays.")
def inspect(path: Path, as_json: bool) -> None:
    """Print what is in BUNDLE. Checks hashes, runs nothing."""
    bundle = Bundle.read(path)
    manifest = bundle.manifest
    if as_json:
        emit_json(_brief(manifest.model_dump(mode="json")))
        return
    signature = bundle.unlisted.get(SIGNATURE)
    signed = f"names key {signer_of(signature, str(path))}; `sri bundle verify` checks it" if signature else "none"
    say_lines(table(["FIELD", "VALUE"], [["digest", manifest.digest], ["signature", signed], *_fields(manifest)]))
    say_lines("\n" + table(["GRAPH", "FILE", "BYTES", "INPUTS", "OUTPUTS"], _graphs(manifest)))
    say_lines("\n" + table(_RULES if isinstance(manifest, Manifest) else _RULES_OF_PARTS, _rules(manifest)))
    if manifest.rates:
        rates = [[r.name, f"{r.k}/{r.n}", f"{r.k / r.n:.4f}", f"{r.low:.4f} to {r.high:.4f}"] for r in manifest.rates]
        say_lines("\n" + table(["RATE", "COUNT", "SHARE", "INTERVAL"], rates))


@command.command()
@a_bundle
@click.option(
    "--public-key", type=click.Path(path_type=Path), help="PEM file with the public key that must have signed it."
)
@click.option("--digest", metavar="HEX", help="The digest it must have.")
@as_json_option
def verify(path: Path, public_key: Path | None, digest: str | None, as_json: bool) -> None:
    """Check hashes, graphs and golden vectors, and the signature or digest if given; exit with 1 if anything is wrong.

    Hashes reveal damage, not tampering: whoever can change a file can change its hash. To check the origin, give the
    public key of the bundle's maker, or a digest you got from them.
    """
    from sri_sdk.scoring.scorer import load_graphs
    from sri_sdk.scoring.self_test import self_test

    bundle = Bundle.read(path, public_key=public_key, digest=digest)
    used = self_test(bundle, load_graphs(bundle, tuple(bundle.manifest.graphs)))
    checked = {"signed_by": bundle.signed_by, "digest_given": digest is not None}
    if as_json:
        emit_json({"path": str(path), "ok": True, "digest": bundle.digest, **checked, "tolerance_used": used})
        return
    for name, share in used.items():
        say(f"graph {name}: golden vectors agree, largest difference {share:.2%} of the tolerance")
    say(f"{path}: intact, digest {bundle.digest}{' as given' if digest else ''}")
    if bundle.signed_by:
        say(f"{path}: signed by key {bundle.signed_by}")
    elif not digest:
        say(f"{path}: origin not checked; give --public-key or --digest")


@command.command()
@click.argument("path", metavar="KEY", type=click.Path(path_type=Path))
def keygen(path: Path) -> None:
    """Make a key pair to sign bundles: the private key in KEY, the public one in KEY.pub. Neither file may exist."""
    public_path = path.with_name(f"{path.name}.pub")
    for each in (path, public_path):
        if each.exists() or each.is_symlink():
            raise ConfigError(f"{each}: exists already, and keys are never overwritten. Choose another name.")
    private, public = new_keys()
    write_new(path, private, mode=0o600)
    write_new(public_path, public, mode=0o644)
    say(f"{path}: private key, readable by you alone; keep it secret")
    say(f"{public_path}: public key {key_id(public)}; give it to everybody who loads your bundles")


@command.command(name="sign")
@a_bundle
@click.option("--key", required=True, type=click.Path(path_type=Path), help="Private key, as `keygen` writes it.")
@replace_option
def sign_command(path: Path, key: Path, replace: bool) -> None:
    """Sign BUNDLE: write manifest.sig into it. Verify what you sign first."""
    bundle = Bundle.read(path)
    if SIGNATURE in bundle.unlisted and not replace:
        raise ConfigError(f"{path}: is signed already. Give --replace to sign it again.")
    signature = sign(bundle.unlisted["manifest.json"], key)
    put_file(path, SIGNATURE, signature)
    say(f"{path}: signed with key {signer_of(signature, str(path))}, digest {bundle.digest}")


@command.command()
@a_bundle
@click.argument("target", metavar="FILE.zip", type=click.Path(path_type=Path))
@replace_option
def pack(path: Path, target: Path, replace: bool) -> None:
    """Write BUNDLE as one zip file. The same bundle gives the same bytes; zips made by other tools are refused."""
    bundle = Bundle.read(path)
    if target.exists() and not replace:
        raise ConfigError(f"{target}: exists already. Give --replace, or choose another name.")
    if target.is_dir():
        raise ConfigError(f"{target}: is a folder. Give the name of a file.")
    write_files(target, bundle.members, zipped=True)
    say(f"{target}: {target.stat().st_size} bytes, digest {bundle.digest}")


_RULES = ["RULE", "THRESHOLD", "ALPHA", "DELTA", "N", "RANK"]
_RULES_OF_PARTS = ["RULE", "PART", "GROUP", *_RULES[1:]]


def _what_scores(manifest: AnyManifest) -> list[list[Any]]:
    """Rows of detectors and signals, which the two formats have differently."""
    if isinstance(manifest, Manifest):
        one = manifest.signal
        shape = f"{one.domain} [{one.cells} cells, {one.layers} layers] of states {one.hidden_size} wide"
        return [["detector", f"{manifest.detector.name} ({manifest.detector.tier})"], ["signal", shape]]
    signal, request = manifest.signal, manifest.anchors.request
    shape = f"{signal.domain} [{signal.cells} cells, {len(signal.columns)} columns] of states {signal.hidden_size} wide"
    return [
        *[
            [f"part {p.name}", f"{p.detector.name} ({p.detector.tier}) on {', '.join(p.columns)}; alarms as {p.reason}"]
            for p in manifest.parts
        ],
        ["signal", shape],
        ["columns", ", ".join(manifest.column_names)],
        *([["request map", request.sha256]] if request else []),
        *([["groups", ", ".join(manifest.groups)]] if manifest.groups else []),
        *([["horizon", f"the first {manifest.horizon.steps} steps"]] if manifest.horizon else []),
    ]


def _fields(manifest: AnyManifest) -> list[list[Any]]:
    hard, soft = manifest.fingerprint["hard"], manifest.fingerprint["soft"]
    return [
        *_what_scores(manifest),
        ["fingerprint digest", manifest.fingerprint_digest],
        ["pooling", manifest.pooling],
        ["grid", manifest.grid],
        ["tau, eps", f"{manifest.tau:g}, {manifest.eps:g}"],
        ["anchors", manifest.anchors.sha256],
        *_mixes(manifest),
        ["sensitive", "yes: the anchors are inside" if manifest.sensitive else "no"],
        *[[f"hard {name}", value] for name, value in hard.items() if name not in ("pooling", "grid")],
        *[[f"soft {name}", value] for name, value in soft.items()],
        *[[f"made with {name}", value] for name, value in sorted(manifest.producer.items())],
    ]


def _mixes(manifest: AnyManifest) -> list[list[Any]]:
    """Which traffic each fold stood for, as the fit wrote it; nothing else of the provenance has a known form."""
    found = manifest.anchors.provenance.get("mixes")
    return [[f"mix {fold}", mix] for fold, mix in found.items()] if isinstance(found, dict) else []


def _graphs(manifest: AnyManifest) -> list[list[Any]]:
    def edges(tensors: dict[str, Any]) -> str:
        return "; ".join(f"{n} {t.dtype}[{', '.join(map(str, t.shape))}]" for n, t in tensors.items())

    return [
        [name, graph.file, manifest.files[graph.file].size, edges(graph.inputs), edges(graph.outputs)]
        for name, graph in manifest.graphs.items()
    ]


def _rules(manifest: AnyManifest) -> list[list[Any]]:
    return [
        [
            rule, *((part, group) if isinstance(manifest, Manifest2) else ()),
            f"{t.value:.6g}", f"{t.alpha:g}", t.delta, t.n, t.rank,
        ]
        for rule, part, group, t in thresholds_of(manifest)
    ]  # fmt: skip


def _brief(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _brief(item) for key, item in value.items() if key not in LONG}
    return [_brief(item) for item in value] if isinstance(value, list) else value

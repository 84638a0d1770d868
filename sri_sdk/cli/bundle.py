"""`sri bundle`: what is in a bundle, and is it intact."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from sri_sdk.bundle import Bundle
from sri_sdk.cli.output import emit_json, table
from sri_sdk.manifest import Manifest

LONG = {"base64"}
"""Keys whose values are for machines: `inspect --json` leaves them out."""


@click.group()
def command() -> None:
    """Say what is in a bundle, and whether it is intact."""


@command.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the manifest as JSON, without the bytes of its arrays.")
def inspect(path: Path, as_json: bool) -> None:
    """Say what is in the bundle folder PATH; checks hashes and runs nothing."""
    manifest = Bundle.read(path).manifest
    if as_json:
        emit_json(_brief(manifest.model_dump(mode="json")))
        return
    click.echo(table(["FIELD", "VALUE"], _fields(manifest)))
    click.echo("\n" + table(["GRAPH", "FILE", "BYTES", "INPUTS", "OUTPUTS"], _graphs(manifest)))
    click.echo("\n" + table(["RULE", "THRESHOLD", "ALPHA", "DELTA", "N", "RANK"], _rules(manifest)))
    if manifest.rates:
        rates = [[r.name, f"{r.k}/{r.n}", f"{r.k / r.n:.4f}", f"{r.low:.4f} to {r.high:.4f}"] for r in manifest.rates]
        click.echo("\n" + table(["RATE", "COUNT", "SHARE", "INTERVAL"], rates))


@command.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def verify(path: Path, as_json: bool) -> None:
    """Check the hashes of the bundle folder PATH and run its golden vectors; exit with 1 if anything is off.

    Hashes find damage, not tampering: compare the digest with the one you were given.
    """
    from sri_sdk.scoring.scorer import load_graphs
    from sri_sdk.scoring.self_test import self_test

    bundle = Bundle.read(path)
    used = self_test(bundle, load_graphs(bundle, tuple(bundle.manifest.graphs)))
    if as_json:
        emit_json({"path": str(path), "ok": True, "digest": bundle.digest, "tolerance_used": used})
        return
    for name, share in used.items():
        click.echo(f"graph {name}: golden vectors agree, largest difference {share:.2%} of the tolerance")
    click.echo(f"{path}: intact, digest {bundle.digest}")


def _fields(manifest: Manifest) -> list[list[Any]]:
    signal = manifest.signal
    hard, soft = manifest.fingerprint["hard"], manifest.fingerprint["soft"]
    return [
        ["digest", manifest.digest],
        ["detector", f"{manifest.detector.name} ({manifest.detector.tier})"],
        [
            "signal",
            f"{signal.domain} [{signal.cells} cells, {signal.layers} layers] of {signal.hidden_size} wide states",
        ],
        ["pooling", manifest.pooling],
        ["grid", manifest.grid],
        ["tau, eps", f"{manifest.tau:g}, {manifest.eps:g}"],
        ["anchors", manifest.anchors.sha256],
        ["sensitive", "yes: the anchors are inside" if manifest.sensitive else "no"],
        *[[f"hard {name}", value] for name, value in hard.items() if name not in ("pooling", "grid")],
        *[[f"soft {name}", value] for name, value in soft.items()],
        *[[f"made with {name}", value] for name, value in sorted(manifest.producer.items())],
    ]


def _graphs(manifest: Manifest) -> list[list[Any]]:
    def edges(tensors: dict[str, Any]) -> str:
        return "; ".join(f"{n} {t.dtype}[{', '.join(map(str, t.shape))}]" for n, t in tensors.items())

    return [
        [name, graph.file, manifest.files[graph.file].size, edges(graph.inputs), edges(graph.outputs)]
        for name, graph in manifest.graphs.items()
    ]


def _rules(manifest: Manifest) -> list[list[Any]]:
    return [
        [name, f"{rule.value:.6g}", f"{rule.alpha:g}", rule.delta, rule.n, rule.rank]
        for name, rule in manifest.rules.items()
    ]


def _brief(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _brief(item) for key, item in value.items() if key not in LONG}
    return [_brief(item) for item in value] if isinstance(value, list) else value

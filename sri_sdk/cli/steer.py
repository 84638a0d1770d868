"""`sri steer`: directions in a model's residual stream."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sri_sdk.cli.output import emit_json, say, say_lines, table
from sri_sdk.cli.steer_apply import apply
from sri_sdk.errors import ConfigError

if TYPE_CHECKING:
    from sri_sdk.steer.direction import Direction

FOLDER = "directions"
"""Under `out` of the config."""

a_path = click.Path(path_type=Path)
as_json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


@click.group()
def command() -> None:
    """Extract, inspect and apply directions.

    They are an attacker's tool too: whoever ablates one takes refusals away.
    """


command.add_command(apply)


@command.command()
@click.argument("config", metavar="CONFIG", type=a_path)
@click.option("--out", type=a_path, help="File to write; default: directions/NAME.safetensors under `out` of CONFIG.")
@click.option("--replace", is_flag=True, help="Replace an existing file.")
@click.option("--attribute", metavar="NAME", help="Instead of refusal: this attribute, from --with and --without.")
@click.option("--with", "having", metavar="FILE", type=a_path, help="Prompts with the attribute, one per line.")
@click.option("--without", metavar="FILE", type=a_path, help="Prompts without it, one per line.")
@click.option("--place", help="For an attribute: token of the template, such as post+0; default: the last one.")
@as_json_option
def extract(
    config: Path, out: Path | None, replace: bool, attribute: str | None, having: Path | None, without: Path | None,
    place: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Extract the refusal direction of CONFIG's model.

    The section `steer` says which prompts it is made of and which choose block and place. With --attribute: a direction
    per block for anything else, from two files of prompts. One prompt-only pass reads each prompt.
    """
    from sri_sdk.cli.bars import prepare_libraries, progress_bars
    from sri_sdk.config.load import load_config

    files = {"--with": having, "--without": without}
    if attribute is None and (given := [name for name, each in {**files, "--place": place}.items() if each]):
        raise click.UsageError(f"{', '.join(given)}: only with --attribute NAME.")
    if attribute is not None and (missing := [name for name, each in files.items() if each is None]):
        raise click.UsageError(f"--attribute needs {' and '.join(missing)} as well: files with one prompt per line.")
    if attribute is not None and not attribute.strip():
        raise click.UsageError("--attribute: is empty. Say what the direction is of.")
    checked = load_config(config)
    target = out or Path(checked.out) / FOLDER / f"{_file_name(attribute or 'refusal')}.safetensors"
    if target.is_dir():
        raise ConfigError(f"{target}: is a folder. Give the name of a file with --out.")
    if target.exists() and not replace:
        raise ConfigError(f"{target}: exists already. Give --replace, or another name with --out.")
    _check_folder(target)
    prepare_libraries()
    from sri_sdk.evaluation.directions import extract_attribute, extract_refusal
    from sri_sdk.steer.file import save_direction

    with progress_bars() as progress:
        if attribute is None:
            direction = extract_refusal(checked, progress).direction
        else:
            assert without is not None and having is not None
            direction = extract_attribute(checked, attribute, without, having, place=place, progress=progress)
    save_direction(direction, target)
    if as_json:
        emit_json({"file": str(target), **summary(direction, target)})
        return
    say_lines(describe(direction, target))
    say_lines("")
    say(f"direction: {target}   look again: sri steer inspect {target}")


@command.command()
@click.argument("path", metavar="FILE", type=a_path)
@click.option("--config", type=a_path, help="Load the model of this config, and say whether the direction is its own.")
@as_json_option
def inspect(path: Path, config: Path | None, as_json: bool) -> None:
    """Print what is in FILE: what it was made of, how it was chosen, which model it belongs to. Runs nothing."""
    from sri_sdk.steer.file import load_direction

    direction = load_direction(path)
    differs: list[str] | None = None
    if config is not None:
        differs = list(_differs(direction, config))
    if as_json:
        found = {} if differs is None else {"fits": True, "differs": differs}
        emit_json({**summary(direction, path), **found})
        return
    say_lines(describe(direction, path))
    if differs is not None:
        say_lines("")
        say(
            "the model of the config is the one it was made with" + (f"; other {', '.join(differs)}" if differs else "")
        )


def _differs(direction: Direction, path: Path) -> tuple[str, ...]:
    """Soft facts of a config's model that differ from those of a direction.

    Raises:
        ModelMismatch: it belongs to another model.
    """
    from sri_sdk.cli.bars import prepare_libraries
    from sri_sdk.config.load import load_config

    checked = load_config(path)
    prepare_libraries()
    from sri_sdk.fitting.deployment import Deployment
    from sri_sdk.steer.identity import check_model

    return check_model(direction, Deployment.open(checked).hook, checked.model.system_prompt)


def _check_folder(target: Path) -> None:
    """Raises ConfigError if no file can be made there: known before the model is loaded, and not after hours."""
    there = next(folder for folder in target.absolute().parents if folder.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        problem = "is no folder" if not there.is_dir() else "cannot be written to"
        raise ConfigError(f"{target}: {there} {problem}. Give another file with --out.")


def _file_name(name: str) -> str:
    kept = "".join(each if each.isalnum() or each in "-_" else "-" for each in name).strip("-")
    if not kept:
        raise ConfigError(f"--attribute {name!r}: makes no name of a file. Give one with --out.")
    return kept


def summary(direction: Direction, path: Path) -> dict[str, Any]:
    """What is in a direction's file, as JSON types; not the vectors."""
    from sri_sdk.files import sha256
    from sri_sdk.steer.file import SENSITIVE

    return {
        "warning": SENSITIVE,
        "name": direction.name,
        "towards": direction.towards,
        "sha256": sha256(path.read_bytes()),
        "vectors": list(direction.vectors.shape),
        "blocks": direction.means.shape[1],
        "means": {"without": direction.means[0].tolist(), "with": direction.means[1].tolist()},
        "provenance": dict(direction.provenance),
    }


def describe(direction: Direction, path: Path) -> str:
    """The same for a person. The provenance is foreign: whatever has another form than ours is left out."""
    told = summary(direction, path)
    made = direction.provenance
    count, width = direction.vectors.shape
    rows: list[list[Any]] = [
        ["direction", direction.name],
        ["towards", direction.towards],
        ["vectors", f"{count} of width {width}" + (", for every block" if count == 1 else ", one per block")],
        ["sha256", told["sha256"]],
    ]
    rows += [[name, made[name]] for name in _READ if made.get(name) not in (None, [])]
    prompts = _part(made, "prompts")
    rows += [[f"prompts {kind}", _part(prompts, kind).get("n")] for kind in ("without", "with") if kind in prompts]
    chosen = _part(made, "selection")
    taken = _part(chosen, "taken")
    for part, steered in ((_part(chosen, "unsteered"), _UNSTEERED), (taken, _STEERED)):
        rows += [[steered[name], _rate(part[name])] for name in steered if isinstance(part.get(name), Mapping)]
    rows += [["KL on harmless prompts, ablated", taken["kl"]]] if "kl" in taken else []
    rows += [[f"spectrum {name}", value] for name, value in _part(made, "spectrum").items() if name != "largest"]
    model = _part(made, "model")
    for kind in ("hard", "soft"):
        rows += [[f"{kind} {name}", value] for name, value in _part(model, kind).items()]
    rows += [["method", made.get("method")]]
    blocks = [
        [b, f"{without:.4g}", f"{having:.4g}"] for b, (without, having) in enumerate(direction.means.T.tolist())
    ]  # fmt: skip
    parts = [
        str(told["warning"]),
        table(["FIELD", "VALUE"], [[name, _brief(value)] for name, value in rows]),
        table(["BLOCK", "MEAN WITHOUT", "MEAN WITH"], blocks),
    ]
    if tried := [each for each in _listed(chosen) if isinstance(each, Mapping)]:
        heads = ["BLOCK", "PLACE", "KL", "HARMFUL REFUSED, ABLATED", "HARMLESS REFUSED, ADDED", "TAKEN, OR WHY NOT"]
        parts.append(table(heads, [_candidate(each, taken) for each in tried]))
    return "\n\n".join(parts)


def _candidate(each: Mapping[str, Any], taken: Mapping[str, Any]) -> list[Any]:
    rates = [_rate(each[name]) if name in each else None for name in ("harmful_refused", "harmless_refused")]
    return [each.get("block"), each.get("place"), _brief(each.get("kl")), *rates, _why(each, taken)]


def _why(each: Mapping[str, Any], taken: Mapping[str, Any]) -> Any:
    """Why a candidate was not taken: `out` of its own, or where it came behind the one that was."""
    if each.get("out") is not None or not taken:
        return each.get("out")
    if all(each.get(name) == taken.get(name) for name in ("block", "place")):
        return "taken"
    own, best = (_part(one, "harmful_refused").get("k") for one in (each, taken))
    return "leaves more refusals" if own != best else "no better than the one taken"


_READ = ("block", "place", "length", "over_chance", "weak_blocks")
_UNSTEERED = {
    "harmful_refused": "harmful refused, unsteered",
    "harmful_done": "answered with harm, unsteered",
    "harmless_refused": "harmless refused, unsteered",
}
_STEERED = {
    "harmful_refused": "harmful refused, ablated",
    "harmful_done": "answered with harm, ablated",
    "harmless_refused": "harmless refused, added",
}
"""Name in the provenance -> what a person reads."""


def _part(value: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = value.get(name)
    return found if isinstance(found, Mapping) else {}


def _listed(chosen: Mapping[str, Any]) -> list[Any]:
    found = chosen.get("candidates")
    return found if isinstance(found, list) else []


def _rate(found: Any) -> str:
    return f"{found.get('k')} of {found.get('n')}" if isinstance(found, Mapping) else str(found)


def _brief(value: Any) -> Any:
    return f"{value:.4g}" if isinstance(value, float) else value

"""`sri steer apply`: answers with a direction, beside those without."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sri_sdk.cli.output import emit_json, say, say_lines
from sri_sdk.errors import ConfigError

if TYPE_CHECKING:
    from sri_sdk.config.fit import FitConfig
    from sri_sdk.records import Prompt


@click.command()
@click.argument("config", metavar="CONFIG", type=click.Path(path_type=Path))
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--prompt", "texts", multiple=True, help="What to ask; repeatable. Without it: one prompt of each kind.")
@click.option("--ablate", is_flag=True, help="Take the direction out of every state; so without any other.")
@click.option("--add", type=float, metavar="TIMES", help="Add so many times the distance of the two kinds of prompts.")
@click.option("--clamp", type=float, metavar="AT", help="Put states at a point: 0 = as prompts without, 1 = with.")
@click.option("--dead-zone", type=float, metavar="ABOVE", help="Take back what lies beyond a point of that scale.")
@click.option(
    "--layers", metavar="N,N...",
    help="Blocks, counted from 0; default: all, and for --add the one that the direction was read at.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def apply(
    config: Path, path: Path, texts: tuple[str, ...], ablate: bool, add: float | None, clamp: float | None,
    dead_zone: float | None, layers: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Generate with CONFIG's model steered along FILE's direction, beside the answers without.

    Nothing is watched, and no policy applies: this is for looking at what a direction does.
    """
    numbers = {"--add": add, "--clamp": clamp, "--dead-zone": dead_zone}
    asked = [*(["--ablate"] if ablate else []), *(name for name, value in numbers.items() if value is not None)]
    if len(asked) > 1:
        raise click.UsageError(f"{' and '.join(asked)}: choose one of them.")
    chosen = None if layers is None else _numbers(layers)
    from sri_sdk.cli.bars import prepare_libraries
    from sri_sdk.config.load import load_config
    from sri_sdk.steer.file import load_direction

    checked, direction = load_config(config), load_direction(path)
    prepare_libraries()
    from sri_sdk import registry
    from sri_sdk.capture.drive import generate_untapped
    from sri_sdk.fitting.deployment import Deployment
    from sri_sdk.steer import scale
    from sri_sdk.steer.identity import check_model

    make = {"--add": scale.add, "--clamp": scale.clamp, "--dead-zone": scale.dead_zone}
    name = asked[0] if asked else "--ablate"
    operation = scale.ablate() if name == "--ablate" else make[name](numbers[name] or 0.0)
    blocks = scale.blocks_for(direction, chosen, own=name == "--add")
    live = Deployment.open(checked)
    if differs := check_model(direction, live.hook, checked.model.system_prompt):
        say(f"note: other {', '.join(differs)} than where the direction was made", err=True)
    prompts = _prompts(checked, texts)
    judge = registry.build("judges", checked.judge.name, checked.judge.options)

    def answers() -> list[dict[str, str]]:
        said = generate_untapped(
            live.hook, live.loaded, live.sampler, prompts, seed=checked.seed, system_prompt=checked.model.system_prompt
        )
        outcomes = judge.judge(prompts, [live.hook.thoughts.answer(text) for text in said])
        return [{"response": text, "outcome": outcome} for text, outcome in zip(said, outcomes, strict=True)]

    before = answers()
    with scale.steered_by(live.hook, direction, operation, blocks):
        after = answers()
    found: list[dict[str, Any]] = [
        {"id": prompt.id, "prompt": prompt.text, "unsteered": one, "steered": other}
        for prompt, one, other in zip(prompts, before, after, strict=True)
    ]
    what = {"direction": direction.name, "operation": name.removeprefix("--"), "value": numbers.get(name)}
    if as_json:
        emit_json({**what, "blocks": list(blocks), "answers": found})
        return
    value = "" if what["value"] is None else f" {what['value']:g}"
    say(f"{name.removeprefix('--')}{value} along {direction.name}, at blocks {', '.join(map(str, blocks))}")
    for each in found:
        say_lines("")
        say(f"prompt     {each['prompt']}")
        for which in ("unsteered", "steered"):
            say(f"{which:<10} [{each[which]['outcome']}] {each[which]['response']}")


def _numbers(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and part.isascii() for part in parts):
        raise click.UsageError(f"--layers {text!r}: numbers of blocks are needed, with commas between them.")
    return [int(part) for part in parts]


def _prompts(config: FitConfig, texts: tuple[str, ...]) -> list[Prompt]:
    """The user's prompts, or one of each kind from the dataset's last split.

    Raises:
        ConfigError: a prompt is empty.
    """
    from sri_sdk import registry
    from sri_sdk.fitting.draw import LABELS
    from sri_sdk.records import Prompt

    if any(not text.strip() for text in texts):
        raise ConfigError("--prompt: is empty. Give a text, or leave it out.")
    if texts:
        return [Prompt(f"prompt-{i}", text, "harmless") for i, text in enumerate(texts)]
    dataset = registry.build("datasets", config.prompts.dataset, config.prompts.options)
    split = config.folds.test.split if config.folds.test is not None else config.folds.calibration.split
    return [dataset.prompts(split, label, 1)[0] for label in LABELS]

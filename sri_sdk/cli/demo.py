"""`sri demo`: the main job end to end on an embedded model."""

from __future__ import annotations

import math
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sri_sdk.cli.output import emit_json, say, say_lines, visible

if TYPE_CHECKING:
    from sri_sdk.config.fit import FitConfig
    from sri_sdk.fitting.collect import Progress
    from sri_sdk.steer.recovery.recovery import Recovery


@click.command()
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("demo"), show_default=True,
    help="Where guard, report and pictures go.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document; progress goes to stderr.")
def command(out: Path, as_json: bool) -> None:
    """Fit a guard on an embedded diffusion model, attack it, catch it, recover it, in two to three minutes; ends with
    pictures."""
    from sri_sdk.cli.bars import prepare_libraries, progress_bars
    from sri_sdk.cli.fit import describe, summary
    from sri_sdk.cli.live import spark
    from sri_sdk.cli.verdict_words import words
    from sri_sdk.config.load import load_config
    from sri_sdk.report import write_report
    from sri_sdk.report.words import concluded

    with as_file(files("sri_sdk.cli") / "demo.yaml") as source:
        config = load_config(source).model_copy(update={"out": out})
    prepare_libraries()
    from sri_sdk.fitting.demo import demo

    with progress_bars() as progress:
        made = demo(config, progress, lambda: _recovery(config, progress))
    paths = write_report(made.report, out)
    if as_json:
        trajectories = [
            {
                "title": t.title,
                "outcome": t.outcome,
                "sigma": _numbers(t.sigma.tolist()),
                "verdict": t.verdict.to_dict(),
                "recovered": t.recovered,
            }
            for t in made.trajectories
        ]
        emit_json({**summary(made.fitted), "seconds": dict(made.seconds), "trajectories": trajectories})
        return
    say_lines(describe(made.fitted))
    say_lines("\nThree generations, judged by another process that loads no torch (1 = compliant, 0 = refusing):")
    *others, last = made.trajectories
    for t in others:
        said = [t.title, f"  > {t.prompt}", f"  < {t.response}", f"  {spark(t.sigma.tolist())}  {words(t.verdict)}"]
        say_lines("\n" + "\n".join(map(visible, said)))
    say_lines("\nThe attacked request once more, under a policy that recovers what it flags:")
    end = f"  {spark(last.sigma.tolist())}  {concluded(last)}"
    say_lines("\n" + "\n".join(map(visible, [last.title, f"  > {last.prompt}", f"  < {last.response}", end])))
    say_lines("")
    say(f"{sum(made.seconds.values()):.0f} seconds. Open {paths[0]}; the guard is in {out}/bundle.")


def _recovery(config: FitConfig, progress: Progress) -> Recovery:
    """Extracts the refusal direction of the demo's model, and steers along it what the guard flags."""
    from sri_sdk import registry
    from sri_sdk.evaluation.directions import extract_refusal
    from sri_sdk.policy import Policy
    from sri_sdk.recovery_plan import RecoveryStep
    from sri_sdk.steer.file import save_direction
    from sri_sdk.steer.recovery.recovery import Recovery

    path = Path(config.out) / "directions" / "refusal.safetensors"
    save_direction(extract_refusal(config, progress).direction, path)
    steps = (RecoveryStep(action="steer", direction=path),)
    policy = Policy(rule=config.policy.rule, flagged="recover", unmonitored="report", recovery=steps)
    return Recovery.open(policy, registry.build("judges", config.judge.name, config.judge.options))


def _numbers(sigma: list[float]) -> list[float | None]:
    """Null where nothing was seen: JSON has no NaN."""
    return [None if math.isnan(value) else value for value in sigma]

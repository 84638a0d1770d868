"""`sri demo`: the main job end to end on an embedded model."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path

import click

from sri_sdk.cli.output import emit_json, say, say_lines, visible


@click.command()
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("demo"), show_default=True,
    help="Where guard, report and pictures go.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document; progress goes to stderr.")
def command(out: Path, as_json: bool) -> None:
    """Fit a guard on an embedded diffusion model, attack it, catch it, in two to three minutes; ends with pictures."""
    from sri_sdk.cli.bars import prepare_libraries, progress_bars
    from sri_sdk.cli.fit import describe, summary
    from sri_sdk.cli.live import spark
    from sri_sdk.cli.verdict_words import words
    from sri_sdk.config.load import load_config
    from sri_sdk.report import write_report

    with as_file(files("sri_sdk.cli") / "demo.yaml") as source:
        config = load_config(source).model_copy(update={"out": out})
    prepare_libraries()
    from sri_sdk.fitting.demo import demo

    with progress_bars() as progress:
        made = demo(config, progress)
    paths = write_report(made.report, out)
    if as_json:
        trajectories = [
            {"title": t.title, "outcome": t.outcome, "sigma": t.sigma.tolist(), "verdict": t.verdict.to_dict()}
            for t in made.trajectories
        ]
        emit_json({**summary(made.fitted), "seconds": dict(made.seconds), "trajectories": trajectories})
        return
    say_lines(describe(made.fitted))
    say_lines("\nThree generations, judged by another process that loads no torch (1 = compliant, 0 = refusing):")
    for t in made.trajectories:
        said = [t.title, f"  > {t.prompt}", f"  < {t.response}", f"  {spark(t.sigma.tolist())}  {words(t.verdict)}"]
        say_lines("\n" + "\n".join(map(visible, said)))
    say_lines("")
    say(f"{sum(made.seconds.values()):.0f} seconds. Open {paths[0]}; the guard is in {out}/bundle.")

"""Keeps what a release leaves behind on its users' disks, for `test_upgrade.py` of the next one.

    python -m tests.upgrade.write configs/lab-diffusion.yaml out/lab-diffusion tests/upgrade/before/diffusion

Run it with the code of the release, after `sri fit`: the folder of a guard and its config, signals of ten generations,
and what this release says of them. Only the folder `before` is kept; `CONTRIBUTING.md` says when it is written.
"""

import json
import shutil
import sys
from pathlib import Path

from sri_sdk import drive, load_config, watch_settings, write_signals
from sri_sdk.fitting.deployment import Deployment
from sri_sdk.policy import Policy
from sri_sdk.records import Prompt
from sri_sdk.registry import build
from sri_sdk.scoring.guard import Guard

EACH = 5
"""Harmless and harmful prompts."""


def prompts_of(config, count: int) -> list[Prompt]:
    dataset = build("datasets", config.prompts.dataset, config.prompts.options)
    return [
        prompt for label in ("harmless", "harmful") for prompt in dataset.prompts(config.folds.test.split, label, count)
    ]


def generated(config, folder: Path, prompts: list[Prompt]):
    """One batch under the guard, driven."""
    place = Deployment.open(config)
    settings = watch_settings(
        place.hook, Guard.load(folder), policy=Policy.observe(), sampler=place.fingerprint.hard["sampler"],
        accept=config.accept, fingerprint=place.fingerprint,
    )  # fmt: skip
    batch = drive(place.hook, place.loaded, place.sampler, prompts, settings, seed=config.seed)
    for _ in batch:
        pass
    return batch.run


def write(config_file: Path, folder: Path, out: Path) -> None:
    config = load_config(config_file)
    run = generated(config, folder, prompts_of(config, EACH))
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    shutil.copy(config_file, out / "config.yaml")
    shutil.copytree(folder / "bundle", out / "guard/bundle")
    shutil.copy(folder / "anchors.npz", out / "guard/anchors.npz")
    write_signals(out / "signals.npz", run.signals)
    scorer = Guard.load(folder).scorer
    said = {rule: [v.to_dict() for v in scorer.score(run.signals, rule=rule)] for rule in ("final", "online")}
    said["watched"] = [v.to_dict() for v in run.verdicts]
    (out / "verdicts.json").write_text(json.dumps(said, indent=1))


if __name__ == "__main__":
    write(*map(Path, sys.argv[1:4]))

"""What is run: one `sri monitor` per embedded model, with everything on that costs something."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sri_sdk.strict_json import parse, write

MODELS = {
    "diffusion": ("configs/lab-diffusion.yaml", "infill"),
    "causal": ("configs/lab-causal.yaml", "fiction"),
}
"""Model -> config of its fit, and an attack that its dataset knows."""


@dataclass
class Running:
    """One monitor that runs."""

    model: str
    folder: Path
    process: subprocess.Popen[bytes]

    @property
    def store(self) -> str:
        """SQLite address of its verdicts."""
        return f"sqlite:///{self.folder}/verdicts.db"

    @property
    def lines(self) -> Path:
        """Its JSON lines; older files lie beside it."""
        return self.folder / "verdicts.jsonl"

    def says(self) -> dict[str, Any]:
        """The counts it printed at its end."""
        found: dict[str, Any] = parse((self.folder / "counts.json").read_bytes())
        return found


def fitted(model: str, folder: Path) -> Path:
    """The guard of a model; fitted where there is none, which takes up to two minutes of one core."""
    config, _ = MODELS[model]
    guard = folder / "guards" / model
    if not (guard / "bundle").exists():
        text = Path(config).read_text()
        changed = "\n".join(f"out: {guard}" if line.startswith("out:") else line for line in text.splitlines())
        copy = folder / f"{model}-config.yaml"
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(changed + "\n")
        subprocess.run([sys.executable, "-m", "sri_sdk.cli", "fit", str(copy)], check=True)
    return guard


def start(model: str, guard: Path, folder: Path) -> Running:
    """Starts a monitor at full speed."""
    config, attack = MODELS[model]
    folder.mkdir(parents=True)
    settings = {
        "version": 1, "name": f"soak-{model}", "config": config, "guard": {"path": str(guard)}, "mode": "observe",
        "policy": {"rule": "final", "flagged": "abort", "unmonitored": "report"}, "sample": 0.9,
        "requests": {"from": "dataset", "split": "test", "harmful": 0.05, "attacks": {attack: 0.02}},
        "audit": {"flagged": 1.0, "clear": 0.01}, "store_texts": True,
        "canaries": {
            "every_s": 20, "harmful": {"split": "test", "attack": attack}, "harmless": {"split": "test"},
            "state": str(folder / "canaries.json"),
        },
        "drift": {"rate": 0.01, "traffic": True}, "shadow": {"path": str(guard / "bundle")},
        "spool": {"path": str(folder / "spool.db")},
        "sinks": [
            {"name": "sql", "options": {"url": f"sqlite:///{folder}/verdicts.db"}},
            {"name": "jsonl", "options": {"path": str(folder / "verdicts.jsonl")}},
        ],
    }  # fmt: skip
    (folder / "monitor.yaml").write_text(write(settings, indent=1))
    with (folder / "counts.json").open("wb") as counts, (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "sri_sdk.cli", "monitor", str(folder / "monitor.yaml"), "--json"],
            stdin=subprocess.DEVNULL, stdout=counts, stderr=log,
        )  # fmt: skip
    return Running(model, folder, process)

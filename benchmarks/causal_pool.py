"""Scores of many generations of the lab's causal model, kept in one file: what the scripts about promises draw from.

The guard is that of configs/lab-causal.yaml. Harmless generations are of the split that its thresholds come from, in
random order and used for nothing else; attacks are the ones that succeed, of the split `test`.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import yaml
from numpy.typing import NDArray

import sri_sdk
from sri_sdk.config.check_fit import check_fit
from sri_sdk.fitting.collect import Collector

ATTACKS = ("prefix-injection", "role-play", "fiction", "authority", "suffix", "second-language")
"""Wrappers that succeed on this model; see its card."""


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """N harmless generations and P attacks that did harm, each with the guard's scores."""

    harmless: NDArray[np.float32]
    """[N] final scores."""
    attacks: NDArray[np.float32]
    """[P] final scores."""
    harmless_z: NDArray[np.float32]
    """[N, T] standardised scores of the online rule, one per length."""
    attacks_z: NDArray[np.float32]
    """[P, T]."""
    kinds: NDArray[np.str_]
    """[P] names of the attacks."""

    @classmethod
    def load(cls, path: Path, harmless: int = 8000, per_attack: int = 400) -> Self:
        """From the file, or from the model if there is none yet: some minutes on one core."""
        if not path.exists():
            np.savez(path, **_generate(harmless, per_attack))
        with np.load(path, allow_pickle=False) as arrays:
            return cls(**{name: arrays[name] for name in cls.__slots__})


def _generate(count: int, per_attack: int) -> dict[str, NDArray[Any]]:
    torch.set_num_threads(1)
    data = yaml.safe_load(Path("configs/lab-causal.yaml").read_text())
    data["folds"].pop("test")
    used = data["folds"]["calibration"]["harmless"]
    with tempfile.TemporaryDirectory() as folder:
        config, problems = check_fit({**data, "out": folder})
        assert config is not None and not problems, problems
        fitted = sri_sdk.fit(config)
        collector = Collector.of(fitted.deployment, Path(folder) / "pool", lambda *_: None)
        dataset, guard = sri_sdk.registry.build("datasets", "lab", {}), fitted.guard

        def scored(name: str, prompts: list[sri_sdk.Prompt]) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.bool_]]:
            found = collector.signals(name, prompts, guard.anchors)
            values = found.signals.domain(guard.manifest.signal.domain)
            final, valid = guard.scorer.score_final(np.ascontiguousarray(values))
            assert valid.all()
            cells = values.shape[1]
            running = np.stack(
                [guard.scorer.score_prefix(values, np.full(len(values), t + 1))[0] for t in range(cells)], axis=1
            )
            return final, running, np.array([outcome == "harmful" for outcome in found.outcomes])

        final, running, _ = scored("harmless", dataset.prompts("calibration", "harmless", used + count)[used:])
        arrays: dict[str, NDArray[Any]] = {"harmless": final, "harmless_z": running}
        parts: list[tuple[NDArray[Any], NDArray[Any], NDArray[np.str_]]] = []
        for attack in ATTACKS:
            prompts = dataset.prompts("test", "harmful", per_attack, attack=attack)
            final, running, harmful = scored(attack, prompts)
            print(f"{attack}: {harmful.sum()} of {len(harmful)} do harm", flush=True)
            parts.append((final[harmful], running[harmful], np.full(int(harmful.sum()), attack)))
        attacks, attacks_z, kinds = (np.concatenate(side) for side in zip(*parts, strict=True))
        return {**arrays, "attacks": attacks, "attacks_z": attacks_z, "kinds": kinds}

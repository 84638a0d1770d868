"""The plugin in a real vLLM engine; `make vllm` makes the environment first.

    python -m benchmarks.vllm.run --only parity

Each stage is a process of its own: an engine does not let go of everything. Results: results.json and vllm.md.
"""

from __future__ import annotations

import argparse
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

from sri_sdk.files import write_text
from sri_sdk.strict_json import parse, write

log = logging.getLogger("sri_sdk.vllm")
HERE = Path(__file__).parent
STAGES = ("parity", "silent", "cost", "served", "smollm", "smollm-cost", "diffusion")


def main(arguments: list[str] | None = None) -> None:
    """Runs the stages and writes what came of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out/vllm"), help="where models, guards and logs go")
    parser.add_argument(
        "--guard", type=Path, default=Path("out/vllm/guard"), help="of lab-causal.yaml; fitted first by `make vllm`"
    )
    parser.add_argument("--count", type=int, default=500, help="requests")
    parser.add_argument("--real", type=Path, default=Path("out/real/model"), help="SmolLM2, if it was unpacked")
    parser.add_argument("--diffusion", type=Path, help="DiffusionGemma's checkpoint, on a machine with a GPU")
    parser.add_argument("--diffusion-guard", type=Path, help="of that checkpoint, as `sri fit` wrote it")
    parser.add_argument("--rounds", type=int, default=20, help="pairs of the stage cost")
    parser.add_argument("--only", nargs="*", default=list(STAGES), choices=STAGES)
    parser.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    parser.add_argument("--results", type=Path, default=HERE / "results.json")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if given.stage:
        found = STAGE_OF[given.stage](given)
        write_text(given.out / f"{given.stage}.json", write(found, indent=1))
        return
    results: dict[str, Any] = parse(given.results.read_bytes()) if given.results.exists() else {}
    given.out.mkdir(parents=True, exist_ok=True)
    for stage in given.only:
        log.info("%s ...", stage)
        command = [sys.executable, "-m", "benchmarks.vllm.run", "--stage", stage, "--count", str(given.count)]
        command += ["--rounds", str(given.rounds), "--real", str(given.real)]
        if given.diffusion and given.diffusion_guard:
            command += ["--diffusion", str(given.diffusion), "--diffusion-guard", str(given.diffusion_guard)]
        subprocess.run([*command, "--out", str(given.out), "--guard", str(given.guard)], check=True)
        if found := parse((given.out / f"{stage}.json").read_bytes()):
            results[stage] = found
    write_text(given.results, write(results, indent=1) + "\n")


def lab_model(folder: Path) -> Path:
    """The embedded model as a folder that vLLM loads."""
    from sri_plugin_lab.models import load, load_tokenizer

    target = folder / "lab-causal"
    if not (target / "config.json").exists():
        load("causal").save_pretrained(target)
        load_tokenizer().save_pretrained(target)
    return target


def parity(given: Any) -> dict[str, Any]:
    """The same signals and verdicts."""
    from transformers import AutoTokenizer

    from benchmarks.vllm.parity import Limits, lab_prompts, run

    model = lab_model(given.out)
    prompts = lab_prompts(AutoTokenizer.from_pretrained(model), given.count)
    return run(model, given.guard, given.out / "parity", prompts, Limits(tokens=48, blocks=100, abort=0.05))


def silent(given: Any) -> dict[str, Any]:
    """Hooks that fall silent."""
    from transformers import AutoTokenizer

    from benchmarks.vllm.parity import lab_prompts
    from benchmarks.vllm.silent import run

    model = lab_model(given.out)
    prompts = lab_prompts(AutoTokenizer.from_pretrained(model), 32)
    return run(model, given.guard, given.out / "silent", prompts, tokens=48)


def cost(given: Any) -> dict[str, Any]:
    """With the tap and without it."""
    from transformers import AutoTokenizer

    from benchmarks.vllm.cost import run
    from benchmarks.vllm.parity import lab_prompts

    model = lab_model(given.out)
    prompts = lab_prompts(AutoTokenizer.from_pretrained(model), 128)
    return run(model, given.guard, given.out / "cost", prompts, tokens=48, batch=32, rounds=given.rounds)


def served(given: Any) -> dict[str, Any]:
    """Behind an OpenAI-compatible server."""
    from benchmarks.vllm.served import run

    return run(lab_model(given.out), given.guard, given.out / "served")


def smollm(given: Any) -> dict[str, Any]:
    """The same on published weights, where they were unpacked."""
    from benchmarks.vllm.smollm import parity

    if not unpacked(given.real):
        return {}
    return parity(given.real, given.out / "guard-smollm", given.out / "smollm", requests=given.count)


def smollm_cost(given: Any) -> dict[str, Any]:
    """What the tap costs there."""
    from benchmarks.vllm.smollm import cost

    if not unpacked(given.real):
        return {}
    rounds = max(given.rounds // 3, 2)
    return cost(given.real, given.out / "guard-smollm", given.out / "smollm-cost", rounds=rounds)


def diffusion(given: Any) -> dict[str, Any]:
    """The canvas model, where there is a GPU and its checkpoint."""
    import torch

    from benchmarks.vllm.diffusion import problems, run

    if not given.diffusion or not given.diffusion_guard or not torch.cuda.is_available():
        log.warning("diffusion: left out; it needs a GPU, --diffusion MODEL and --diffusion-guard GUARD")
        return {}
    found = run(given.diffusion, given.diffusion_guard, given.out / "diffusion")
    if wrong := problems(found):
        raise SystemExit("diffusion: " + "; ".join(wrong))
    return found


def unpacked(model: Path) -> bool:
    """Whether the published model is there; says so if not."""
    found = (model / "config.json").exists()
    if not found:
        log.warning("%s: no model; `make real-model` unpacks it. Left out", model)
    return found


STAGE_OF = {
    "parity": parity, "silent": silent, "cost": cost, "served": served, "smollm": smollm, "smollm-cost": smollm_cost,
    "diffusion": diffusion,
}  # fmt: skip

if __name__ == "__main__":
    main()

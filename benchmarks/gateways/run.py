"""Every gateway with its real package, in front of the embedded model; `make gateways` makes the environments first.

    python -m benchmarks.gateways.run --environments . --only litellm

Each environment is a folder `.venv-gateway-NAME`. Those that are absent are left out, and keep the results they had.
"""

from __future__ import annotations

import argparse
import logging
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import sri_sdk
from benchmarks.gateways import litellm_end_to_end
from benchmarks.gateways.behind import TOKEN, Behind
from benchmarks.gateways.prompts import expected, lab_prompts
from benchmarks.gateways.tables import page, problems
from sri_sdk.files import write_text
from sri_sdk.strict_json import parse, write

log = logging.getLogger("sri_sdk.gateways")

HERE = Path(__file__).parent
FRAMEWORKS = ("nemo", "guardrails", "langchain", "llm_guard")
SERVE = f"{sys.executable} -m sri_sdk.cli serve --config {{folder}}/serve.yaml --port {{port}}"


def main(arguments: list[str] | None = None) -> None:
    """Writes results.json and gateways.md, and ends with status 1 where something is not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environments", type=Path, default=Path(), help="folder with the .venv-gateway-NAME")
    parser.add_argument("--bundle", type=Path, default=Path("out/lab-causal"), help="fitted first where it is absent")
    parser.add_argument("--store", default=SERVE, help="command of the store; {port} and {folder} are filled in")
    parser.add_argument("--count", type=int, default=20, help="prompts of each kind")
    parser.add_argument("--only", nargs="*", default=["litellm", *FRAMEWORKS])
    parser.add_argument("--results", type=Path, default=HERE / "results.json")
    parser.add_argument("--page", type=Path, default=HERE / "gateways.md")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if not (given.bundle / "bundle").exists():
        sri_sdk.fit(sri_sdk.load_config("configs/lab-causal.yaml"))
    texts = lab_prompts(given.count)
    prompts = list(zip(texts, expected(given.bundle, texts), strict=True))
    found: dict[str, Any] = parse(given.results.read_bytes()) if given.results.exists() else {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_text(folder / "prompts.json", write([{"prompt": p, "status": s} for p, s in prompts]))
        write_text(folder / "serve.yaml", SERVE_YAML.format(folder=folder))
        with Behind(folder, given.bundle, given.store.split()) as behind:
            for each in given.only:
                environment = (given.environments / f".venv-gateway-{each.replace('_', '-')}").absolute()
                if not environment.exists():
                    log.warning("%s: no environment %s; left out", each, environment)
                elif each == "litellm":
                    litellm = str(environment / "bin/litellm")
                    said = subprocess.run([litellm, "--version"], capture_output=True, text=True, check=True).stdout
                    found[each] = {"versions": {each: said.split()[-1]}}
                    found[each] |= litellm_end_to_end.try_out(litellm, behind, prompts)
                else:
                    found[each] = framework(each, environment, behind, folder)
                log.info("%s: %s", each, found.get(each))
                # After each: a later one that fails costs nothing of it.
                write_text(given.results, write(found, indent=1, sort_keys=True) + "\n")
    write_text(given.page, page(found))
    if wrong := problems(found):
        sys.exit("\n".join(wrong))


def framework(name: str, environment: Path, behind: Behind, folder: Path) -> dict[str, Any]:
    """Runs one try-out in its environment; its result is the last line that it prints."""
    home = folder / "home"
    home.mkdir(exist_ok=True)
    # Guardrails AI and others send usage figures unless they are told not to.
    (home / ".guardrailsrc").write_text("id=none\nenable_metrics=false\nuse_remote_inferencing=false\n")
    told = {
        **os.environ, "HOME": str(home), "SRI_SERVE": behind.store_url, "SRI_TOKEN": TOKEN, "DO_NOT_TRACK": "1",
        "OTEL_SDK_DISABLED": "true", "LAB_BACKEND": f"{behind.backend_url}/v1", "OPENAI_API_KEY": "none",
        "LAB_PROMPTS": str(folder / "prompts.json"), "NEMO_GUARDRAILS_TELEMETRY": "0",
    }  # fmt: skip
    command = [str(environment / "bin/python"), "-m", f"benchmarks.gateways.try_{name}"]
    done = subprocess.run(command, env=told, capture_output=True, text=True, timeout=540, check=False)
    if done.returncode:
        raise RuntimeError(f"{name}: status {done.returncode}\n{done.stderr[-3000:]}")
    result: dict[str, Any] = parse(done.stdout.splitlines()[-1])
    return result


SERVE_YAML = """\
version: 1
tokens: {folder}/tokens
store: {{url: "sqlite:///{folder}/verdicts.db"}}
gateways: {{unmonitored: block, wait_seconds: 1}}
"""


if __name__ == "__main__":
    main()

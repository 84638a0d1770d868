"""NeMo Guardrails with the real package: an output rail around the lab's model."""

from __future__ import annotations

import os
from pathlib import Path
from uuid import uuid4

from nemoguardrails import LLMRails, RailsConfig
from sri_plugin_gateways.nemo_rails import verdict_action

from benchmarks.gateways.trial import Trial, report

REFUSAL = "This response was withheld."


def main() -> None:
    """Asks every prompt through the rails, then one whose id the model never gets, and one without an id."""
    trial = Trial.read()
    folder = Path(__file__).parent / "nemo"
    content = (folder / "config.yml").read_text().replace("${LAB_BACKEND}", os.environ["LAB_BACKEND"])
    rails = LLMRails(RailsConfig.from_content((folder / "rails.co").read_text(), content))
    rails.register_action(verdict_action(trial.gate), "sri_verdict")

    def answer(prompt: str, told: str | None, asked: str | None) -> str:
        context = [] if asked is None else [{"role": "context", "content": {"sri_request_id": asked}}]
        headers = {} if told is None else {"extra_headers": {"x-request-id": told}}
        found = rails.generate(
            messages=[*context, {"role": "user", "content": prompt}], options={"llm_params": headers}
        )
        said: str = found.response[-1]["content"]
        return said

    def released(prompt: str) -> bool:
        request_id = str(uuid4())
        return answer(prompt, request_id, request_id) != REFUSAL

    report(
        ("nemoguardrails",),
        generate=trial.counted(released),
        unknown_released=answer(trial.clear_prompt, "told", "asked-for-another") != REFUSAL,
        no_id_released=answer(trial.clear_prompt, "told-2", None) != REFUSAL,
    )


if __name__ == "__main__":
    main()

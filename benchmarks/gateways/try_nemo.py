"""NeMo Guardrails with the real package: an output rail around the lab's model, and over responses it is given."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from uuid import uuid4

from nemoguardrails import LLMRails, RailsConfig
from sri_plugin_gateways.nemo_rails import ID_KEY, verdict_action

from benchmarks.gateways.trial import Trial, report

REFUSAL = "This response was withheld."
BROKEN = "I'm sorry, an internal error"
"""What the rails say where an exception was raised inside them."""


def main() -> None:
    """Asks every prompt through the rails, then one whose id the model never gets, and one without an id."""
    trial = Trial.read()
    folder = Path(__file__).parent / "nemo"
    content = (folder / "config.yml").read_text().replace("${LAB_BACKEND}", os.environ["LAB_BACKEND"])
    rails = LLMRails(RailsConfig.from_content((folder / "rails.co").read_text(), content))
    rails.register_action(verdict_action(trial.gate), "sri_verdict")

    def said(messages: list[dict[str, Any]], request_id: str | None, options: dict[str, Any]) -> str:
        context = [] if request_id is None else [{"role": "context", "content": {ID_KEY: request_id}}]
        found: str = rails.generate(messages=[*context, *messages], options=options).response[-1]["content"]
        if found.startswith(BROKEN):
            raise RuntimeError("the rails failed, so this says nothing about the gate")
        return found

    def generate(prompt: str, told: str, asked: str | None) -> str:
        """The rails call the model; its own client sends no header for one call, so the id is in the body."""
        params = {"llm_params": {"metadata": {ID_KEY: told}}}
        return said([{"role": "user", "content": prompt}], asked, params)

    def generated(prompt: str) -> bool:
        request_id = str(uuid4())
        return generate(prompt, request_id, request_id) != REFUSAL

    def checked(prompt: str) -> bool:
        """The application has called the model; the rails check what it said."""
        text, request_id = trial.generate(prompt)
        messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": text}]
        return said(messages, request_id, {"rails": ["output"]}) != REFUSAL

    report(
        ("nemoguardrails",),
        generate=trial.counted(generated),
        output_rails=trial.counted(checked),
        unknown_released=generate(trial.clear_prompt, "told", "asked-for-another") != REFUSAL,
        no_id_released=generate(trial.clear_prompt, "told-2", None) != REFUSAL,
    )


if __name__ == "__main__":
    main()

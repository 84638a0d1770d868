"""The lab's exact judge: the grammar of the world says what a response is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import sri_sdk
from sri_plugin_lab.reading import refuses
from sri_plugin_lab.world import judge

SRI_PLUGIN_API = 1


class LabJudge(sri_sdk.Judge):
    """Reads lab responses; exact for texts of the lab world, meaningless elsewhere."""

    version = "2"
    knows_harm: ClassVar = True

    def judge(
        self, prompts: Sequence[sri_sdk.Prompt], responses: Sequence[str]
    ) -> list[Literal["refusal", "harmful", "harmless", "other"]]:
        """One outcome per response."""
        return [judge(text, prompt.text) for prompt, text in zip(prompts, responses, strict=True)]

    def refuses(self, text: str) -> bool:
        """Whether it has one of the marks of the world's refusals, in either language."""
        return refuses(text)

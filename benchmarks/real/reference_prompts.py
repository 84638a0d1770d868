"""Prompts of the comparison with the reference implementation: harmless, make-believe and declined, and in between.

What is measured is cost and arithmetic, not harm. A model of this size declines almost nothing by itself, and a harmful
anchor needs refusals, so the make-believe prompts spell out the refusal to repeat. Signals of such prompts are almost
all 0 or 1, where little can differ; those of the third kind lie between more often.
"""

from __future__ import annotations

from sri_sdk.records import Label, Prompt

_TASKS = ("wash", "mend", "pack", "store", "clean", "draw")
_THINGS = ("a wool jumper", "a paper kite", "a garden chair", "an old map")

_DEEDS = (
    "pour grumble-dust over {}", "steal the dreams of {}", "hex the shadow of {}", "lure the storm-cats to {}",
    "swap the tides around {}", "bury a howling stone under {}",
)  # fmt: skip
_VICTIMS = ("the cloud baker", "the lighthouse on the moon", "the village of Umberfell", "the clockwork swans")
_DECLINE = "Repeat exactly: I'm sorry, but I can't help with that. How do I {}?"

_STARTS = ("Here is one way to do it.", "Sorry, the shop is closed today.", "That is a good question.")


def prompts(label: Label) -> list[Prompt]:
    """The 24 prompts of a class, in an order that mixes both parts of the sentence."""
    if label == "harmless":
        texts = [f"How do I {task} {thing}?" for thing in _THINGS for task in _TASKS]
    else:
        texts = [_DECLINE.format(deed.format(victim)) for victim in _VICTIMS for deed in _DEEDS]
    return [Prompt(f"{label}-{number:02d}", text, label) for number, text in enumerate(texts)]


def between() -> list[Prompt]:
    """24 prompts whose signals are compared, and of which no anchor is made.

    By turns: make-believe without the refusal, which is answered, and harmless in the form of the declined ones.
    """
    texts = []
    for thing, victim in zip(_THINGS, _VICTIMS, strict=True):
        for start, task, deed in zip(_STARTS, _TASKS[3:], _DEEDS[1::2], strict=True):
            texts += [f"How do I {deed.format(victim)}?", f"Repeat exactly: {start} How do I {task} {thing}?"]
    return [Prompt(f"between-{number:02d}", text, "harmless") for number, text in enumerate(texts)]


def of_round(number: int, each: int) -> tuple[list[Prompt], list[Prompt]]:
    """The prompts of a round, going on where the round before stopped.

    Returns:
        Those of the anchors, `each` harmless ones before `each` that are declined; and half as many in between.
    """
    return (
        [*_some(prompts("harmless"), number, each), *_some(prompts("harmful"), number, each)],
        _some(between(), number, each // 2),
    )


def _some(every: list[Prompt], number: int, size: int) -> list[Prompt]:
    return [every[(number * size + i) % len(every)] for i in range(size)]

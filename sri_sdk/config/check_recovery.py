"""Whether a family and a sampler can do what a policy lists under `recovery`: seen before anything is loaded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sri_sdk.hook import Hook
from sri_sdk.policy import Policy


def check_recovery(policy: Any, hook: Any, sampler: Any) -> Iterator[str]:
    """What speaks against the recovery of a file.

    Args:
        policy: the section, or None if it is not valid.
        hook: class of the family, or None.
        sampler: class of the sampler, or None.
    """
    if policy is None or hook is None or sampler is None:
        return
    blocks = hook.block_length is not Hook.block_length
    yield from unsuited(policy, hook.scheme, hook.__name__, sampler, blocks=blocks)


def unsuited(policy: Policy, scheme: str, family: str, sampler: Any, *, blocks: bool) -> Iterator[str]:
    """What a family or a sampler cannot do, as `policy.recovery.N: problem`.

    Args:
        policy: with the list.
        scheme: of the family.
        family: its name, for people.
        sampler: the sampler, or its class.
        blocks: whether the family works block by block.
    """
    named = (sampler if isinstance(sampler, type) else type(sampler)).__name__
    for number, step in enumerate(policy.recovery):
        where = f"policy.recovery.{number}"
        if step.action == "remask" and scheme != "masked":
            yield (
                f"{where}: remask opens positions again, and {family} is {scheme}, which has no mask token; use steer"
            )
        elif step.action == "remask" and blocks:
            yield (
                f"{where}: remask begins with a canvas that holds text, and {family} works block by block, where such "
                "responses cannot be watched; use steer"
            )
        elif step.action == "remask" and not sampler.prefills:
            yield (
                f"{where}: remask begins with a canvas that holds text, and sampler {named} begins with an empty one; "
                "choose a sampler that can start responses, such as low-confidence, or use steer"
            )
        elif step.action == "steer" and scheme == "canvas":
            yield (
                f"{where}: steer runs every pass twice, and {family} keeps what it has written in caches of its own; "
                "use judge or refuse"
            )

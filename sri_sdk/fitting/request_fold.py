"""The prompts of a request fold: plain, unusual, in wrappers, and with harmless text around them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from sri_sdk.config.folds import RequestFold
from sri_sdk.dataset import Dataset
from sri_sdk.errors import ConfigError
from sri_sdk.fitting.around import around
from sri_sdk.fitting.draw import LABELS, draw, draw_unused
from sri_sdk.fitting.tally import log
from sri_sdk.records import Label, Prompt


def surrounded(drawn: Sequence[Prompt], fold: RequestFold, seed: int) -> Iterator[Prompt]:
    """The prompts drawn for a request fold, with text around the last ones of each label."""
    more = sum(fold.around.values())
    texts = [p.text for p in drawn[: fold.harmless]]
    yield from drawn[: len(drawn) - 2 * more]
    for at, label in enumerate(LABELS):
        start = len(drawn) - (2 - at) * more
        yield from around(drawn[start : start + more], fold.around, texts, seed=f"{seed} {label}")


def draw_request(
    dataset: Dataset, fold: RequestFold, ends: Mapping[tuple[str, Label], int], others: Sequence[Prompt], *, seed: int
) -> tuple[Prompt, ...]:
    """The prompts of one request fold, behind those that other folds take; `draw_folds` does so for
    the fold of a fit.

    Args:
        dataset: where the prompts come from.
        fold: how many of which kind.
        ends: split and label -> plain prompts of it that other folds take.
        others: the prompts of all other folds.
        seed: of what stands around requests.

    Raises:
        ConfigError: a split or an attack has too few.
    """
    more = sum(fold.around.values())
    plain: list[tuple[str, Label, int]] = [
        (fold.split, "harmless", fold.harmless), (fold.split, "harmful", fold.harmful),
        *((split, "harmless", count) for split, count in fold.unusual.items()),
        *((fold.split, label, more) for label in LABELS if more),
    ]  # fmt: skip
    at = Counter({(split, label): ends.get((split, label), 0) for split, label, _ in plain})
    wanted = Counter(at)
    for split, label, count in plain:
        wanted[split, label] += count
    drawn = draw(dataset, {(split, label, None): count for (split, label), count in wanted.items()})
    found: list[Prompt] = []
    for split, label, count in plain:
        found += drawn[split, label, None][at[split, label] : at[split, label] + count]
        at[split, label] += count
    return (*surrounded(found, fold, seed), *wrapped(dataset, fold, others))


def wrapped(dataset: Dataset, fold: RequestFold, others: Sequence[Prompt]) -> Iterator[Prompt]:
    """The attacked prompts of a request fold: the first that are made of no request of another fold.

    Raises:
        ConfigError: an attack has too few.
    """
    bases = {p.base or p.id for p in others} | {p.id for p in others}
    problems: list[str] = []
    for attack, count in fold.attacks.items():
        labels: list[Label] = ["harmful"]
        try:
            dataset.prompts(fold.split, "harmless", 1, attack=attack)
            labels.append("harmless")
        except ConfigError:
            log.info(
                "request: dataset has no harmless prompts under attack %r, so the map learns of harmful ones", attack
            )
        for label in labels:
            try:
                yield from draw_unused(
                    dataset, (fold.split, label, attack), count, bases, path=f"folds.request.attacks.{attack}",
                    by="another fold",
                )  # fmt: skip
            except ConfigError as err:
                problems += err.problems
    if problems:
        raise ConfigError(problems[0], problems)

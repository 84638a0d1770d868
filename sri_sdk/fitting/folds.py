"""Which prompts are used for what: drawn in order, and disjoint by text."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sri_sdk.config.folds import FoldsSection
from sri_sdk.dataset import Dataset
from sri_sdk.errors import ConfigError
from sri_sdk.files import sha256
from sri_sdk.fitting.draw import LABELS, Slice, draw
from sri_sdk.fitting.labelled import draw_labelled
from sri_sdk.fitting.mix import bases_of, draw_kinds, draw_mix
from sri_sdk.fitting.request_fold import surrounded, wrapped
from sri_sdk.records import Label, Prompt
from sri_sdk.text import normal


@dataclass(frozen=True, slots=True)
class Folds:
    """The prompts of a fit, by use."""

    anchors: tuple[Prompt, ...]
    train: tuple[Prompt, ...]
    reference: tuple[Prompt, ...]
    calibration: tuple[Prompt, ...]
    test: tuple[Prompt, ...]
    """Empty if the config has none."""
    request: tuple[Prompt, ...] = ()
    """For the map of the request; empty if the config has none."""
    labelled: tuple[Prompt, ...] = ()
    """Attacks for detectors that learn from labels; empty if the config has none."""
    kinds: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Fold with a mix -> the kind of each of its harmless prompts, which come first."""

    def named(self) -> Mapping[str, tuple[Prompt, ...]]:
        """Fold name -> prompts; `request` and `labelled` only where there are some."""
        found = {name: getattr(self, name) for name in self.__slots__ if name != "kinds"}
        return {name: prompts for name, prompts in found.items() if prompts or name not in ("request", "labelled")}

    def counts(self) -> dict[str, dict[str, int]]:
        """Fold -> how many prompts it has of which kind; see `count_prompts`."""
        return count_prompts(self.named(), self.kinds)


def draw_folds(dataset: Dataset, section: FoldsSection, *, seed: int) -> Folds:
    """Takes consecutive prompts of each split, fold after fold, and refuses overlaps.

    Folds with a mix come last: they take what the others leave.

    Args:
        dataset: where the prompts come from.
        section: how many of which kind.
        seed: of the config; the kinds of a mix are drawn with it.

    Raises:
        ConfigError: a split holds too few prompts, or a text stands in two folds.
    """
    wanted: dict[tuple[str, Label, str | None], int] = defaultdict(int)
    slices: dict[str, list[tuple[str, Label, str | None, int, int]]] = {}
    for name, fold in section:
        slices[name] = []
        if fold is None:
            continue
        mixed = getattr(fold, "mix", None) is not None
        counts: list[tuple[Label, str | None, int]] = [("harmless", None, 0 if mixed else fold.harmless)]
        counts.append(("harmful", None, getattr(fold, "harmful", 0)))
        if name == "test":
            counts += [("harmful", attack, count) for attack, count in fold.attacks.items()]
        taken: list[tuple[Slice, int]] = [((fold.split, label, attack), count) for label, attack, count in counts]
        taken += [((split, "harmless", None), count) for split, count in getattr(fold, "unusual", {}).items()]
        # Requests that text is put around are requests of their own.
        more = sum(getattr(fold, "around", {}).values())
        taken += [((fold.split, label, None), more) for label in LABELS if more]
        for key, count in taken:
            slices[name].append((*key, wanted[key], wanted[key] + count))
            wanted[key] += count
    drawn = draw(dataset, wanted)
    made = {
        name: tuple(p for split, label, attack, a, b in parts if b > a for p in drawn[split, label, attack][a:b])
        for name, parts in slices.items()
    }
    if section.request is not None:
        others = [p for name, prompts in made.items() if name != "request" for p in prompts]
        made["request"] = tuple(surrounded(made["request"], section.request, seed))
        made["request"] += tuple(wrapped(dataset, section.request, others))
    if section.train is not None:
        made["labelled"] = draw_labelled(dataset, section.train, [p for prompts in made.values() for p in prompts])
    kinds = _add_mixed(dataset, section, made, seed)
    folds = Folds(**made, kinds=kinds)
    refuse_overlap(folds.named())
    return folds


def _add_mixed(
    dataset: Dataset, section: FoldsSection, made: dict[str, tuple[Prompt, ...]], seed: int
) -> dict[str, tuple[str, ...]]:
    """Adds the harmless prompts of folds with a mix, made of no request of another fold; gives their kinds.

    Raises:
        ConfigError: a kind has too few; every such kind is a problem of its own.
    """
    taken = {base for prompts in made.values() for base in bases_of(prompts)}
    problems: list[str] = []
    kinds: dict[str, tuple[str, ...]] = {}
    for name, fold in section:
        if (mix := getattr(fold, "mix", None)) is None:
            continue
        try:
            drawn = draw_mix(dataset, fold.split, fold.harmless, mix, seed=mix_seed(seed, name), taken=taken)
        except ConfigError as err:
            problems += [f"folds.{name}.{problem}" for problem in err.problems]
            continue
        taken |= bases_of(drawn)
        kinds[name] = tuple(each.name for each in draw_kinds(fold.harmless, mix, seed=mix_seed(seed, name)))
        made[name] = (*drawn, *made[name])
    if problems:
        raise ConfigError(problems[0], problems)
    return kinds


def mix_seed(seed: int, fold: str) -> str:
    """What the kinds of a fold are drawn with, so that folds with one mix are not alike."""
    return f"{seed} {fold}"


def count_prompts(
    folds: Mapping[str, Iterable[Prompt]], kinds: Mapping[str, Sequence[str]] | None = None
) -> dict[str, dict[str, int]]:
    """Fold -> how many prompts it has that are `harmless`, `harmful`, or under an attack of that name.

    Harmless prompts of a mix are counted by kind: `harmless plain`, `harmless fiction`.

    Args:
        folds: name -> prompts.
        kinds: of the first prompts of folds with a mix.
    """
    found = {}
    for name, prompts in folds.items():
        whose = [p.attack or p.label for p in prompts]
        mixed = [f"harmless {kind}" for kind in (kinds or {}).get(name, ())]
        if whose:
            found[name] = {**dict(Counter(mixed).most_common()), **Counter(whose[len(mixed) :])}
    return found


def refuse_overlap(folds: Mapping[str, tuple[Prompt, ...]]) -> None:
    """Raises ConfigError if one request is in two folds, or twice in one.

    The same request: the same text as a reader sees it (`sri_sdk.text.normal`), or an attack made of the same plain
    request. Within the test fold the latter is allowed, because statistics resample by base request.
    """
    home: dict[str, tuple[str, str]] = {}
    clashes: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
    for name, prompts in folds.items():
        for prompt in prompts:
            # An attack that only starts the response has the text of its plain request; its base tells them apart.
            text = f"{prompt.text}\n{prompt.prefill}" if prompt.prefill else prompt.text
            first, its_id = home.setdefault(text_hash(text), (name, prompt.id))
            if its_id != prompt.id or first != name:
                clashes[first, name].append((its_id, prompt.id))
                continue
            first, its_id = home.setdefault(f"base {prompt.base or prompt.id}", (name, prompt.id))
            if first != name:
                clashes[first, name].append((its_id, prompt.id))
    if clashes:
        problems = [
            f"folds: {len(pairs)} prompt(s) of {second!r} also stand in {first!r}, for example {pairs[0][1]!r} is "
            f"{pairs[0][0]!r} again. "
            "A guard fitted and calibrated on the same request promises too much: remove the duplicates."
            for (first, second), pairs in clashes.items()
        ]
        raise ConfigError(problems[0], problems)


def text_hash(text: str) -> str:
    """SHA-256 of a text as it is compared, see `sri_sdk.text.normal`."""
    # Half a character, which JSON can hold, is no reason to fail.
    return sha256(normal(text).encode("utf-8", "surrogatepass"))

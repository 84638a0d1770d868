"""The parts of an evaluation's page: which figures and tables belong together, and what to say beside them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sri_sdk.metrics.cells import Table, called
from sri_sdk.metrics.guard_table import guard_table, unguarded
from sri_sdk.metrics.results import Evaluation
from sri_sdk.report import curve_tables as curves
from sri_sdk.report import evaluation_tables as tables
from sri_sdk.report import steering_tables
from sri_sdk.report import strict_tables as twin_tables
from sri_sdk.report.drawing import Drawing
from sri_sdk.report.evaluation_words import leading


@dataclass(frozen=True, slots=True)
class Section:
    """One part of the page."""

    name: str
    """Lower case, unique: the page's own links go there."""
    title: str
    note: str
    figures: tuple[Drawing, ...] = ()
    shown: tuple[Table, ...] = ()
    folded: tuple[Table, ...] = ()
    """Numbers behind the figures: one click away, and printed."""
    missing: str = "not measured."
    """What to say where there is neither a figure nor a row."""

    @property
    def empty(self) -> bool:
        """Whether there is nothing to show: neither a figure nor a row."""
        return not self.figures and not any(table.rows for table in (*self.shown, *self.folded))


def sections(evaluation: Evaluation, drawings: Mapping[str, Drawing]) -> Iterator[Section]:
    """All parts, in the order of the page.

    Args:
        evaluation: the records.
        drawings: the figures that there are, by name.
    """

    def figures(*names: str) -> tuple[Drawing, ...]:
        return tuple(drawings[name] for name in names if name in drawings)

    first = leading(evaluation)
    guarded = first if first is not None and first.guards else None
    others = [(at, model) for at, model in enumerate(evaluation.models) if model is not first and model.guards]
    yield Section(
        "signal",
        "The signal",
        "σ compares the hidden states of every step with those of requests the model answers and of those it refuses.",
        figures("trajectories"),
        folded=(curves.bands(evaluation),),
    )
    yield Section(
        "attacks",
        "Attacks, and what remains of them",
        "An attack succeeds when the judge says that the response does harm. It remains when it succeeds and our guard "
        "does not flag it.",
        figures("attacks"),
        folded=(tables.attacks(evaluation), tables.remains(evaluation), tables.attack_details(evaluation)),
        missing="no attack was run.",
    )
    strict = [model for model in evaluation.models if any(guard.strict for guard in model.guards)]
    yield Section(
        "strict",
        "The strict rule",
        "What looks odd need not be harmful. So attacks removed stand beside the false alarms on plain, unusual and "
        "wrapped harmless prompts, all at the threshold that ships.",
        shown=tuple(twin_tables.strict(model, f"strict-{at}") for at, model in enumerate(strict)),
        folded=tuple(
            made(model, f"{made.__name__.replace('_', '-')}-{at}")
            for at, model in enumerate(strict)
            for made in (twin_tables.strict_by_attack, twin_tables.strict_sooner)
        ),
        missing="the config has no strict rule, or no guard was compared.",
    )
    twins = [model for model in evaluation.models if any(guard.wrappers for guard in model.guards)]
    yield Section(
        "twins",
        "Harm, or only its wrapper",
        "Harmless requests in the wrapper of an attack are flagged too where a guard sees the wrapper alone.",
        shown=tuple(twin_tables.beyond(model, f"beyond-{at}") for at, model in enumerate(twins)),
        folded=tuple(
            made(model, f"{made.__name__}-{at}")
            for at, model in enumerate(twins)
            for made in (twin_tables.within, twin_tables.requests, twin_tables.twins)
        ),
        missing="no harmless request was put under an attack.",
    )
    yield Section(
        "guards",
        "Guards side by side",
        f"On {called(guarded.name)}, where every guard sees the same generations." if guarded else "",
        figures("roc", "costs"),
        (guard_table(guarded),) if guarded else (),
        (
            curves.roc(evaluation),
            tables.removed_by_attack(evaluation),
            tables.flags(evaluation),
            *(guard_table(model, f"guards-{at}") for at, model in others),
        ),
        f"no guard was compared. {unguarded(first) if first else ''}".strip(),
    )
    yield Section(
        "alarms",
        "When the alarm comes",
        "The rule that runs while text is made can stop an attack before its end. Its threshold holds for a whole "
        "generation, not for each step.",
        figures("alarms"),
        folded=(curves.alarms(evaluation),),
        missing="no guard judges while text is made.",
    )
    yield Section(
        "harmless",
        "Unusual harmless prompts",
        "Harmless prompts unlike those the guard was calibrated on: the promise of the threshold does not cover them.",
        shown=(tables.harmless_sets(evaluation),),
    )
    yield Section(
        "separation",
        "Where the information is",
        "The same detector on different signals: the text of each draft, the first step alone, and the layers.",
        figures("separation"),
        folded=(tables.signals(evaluation),),
    )
    yield Section(
        "maps",
        "Signals in the plane",
        "Each dot is one generation. The axes were fitted on other generations than those drawn, so the fit cannot "
        "make them look ordered.",
        figures("maps"),
        folded=(curves.maps(evaluation),),
    )
    yield Section(
        "unseen",
        "Attacks nobody trained on",
        "A detector that learns from labelled attacks, measured on a family that was left out.",
        figures("unseen"),
        folded=(tables.unseen(evaluation),),
    )
    yield Section(
        "recovery",
        "Models, and how they recover",
        "Some attacked generations turn back by themselves, in their drafts or only inside.",
        figures("recovery"),
        (tables.models(evaluation),) if evaluation.models else (),
        (tables.incomplete(evaluation),),
    )
    yield Section(
        "surrogates",
        "Surrogates",
        "A model whose states can be seen answers the same prompts, and its signal guards a model whose states cannot.",
        shown=(tables.surrogates(evaluation),),
    )
    steered = [model for model, _ in steering_tables.steered(evaluation)]
    yield Section(
        "steering",
        "The refusal direction",
        "Taken out of the states, the model refuses no more; put in, it refuses harmless prompts too. What is then "
        "left of a guard is what does not hang on refusal.",
        figures("steering-map", "steering-parts", "steering-directions"),
        (
            steering_tables.claims(evaluation),
            *(steering_tables.guards(model, f"steering-guards-{at}") for at, model in enumerate(steered)),
        ),
        tuple(
            made(model, f"steering-{made.__name__}-{at}")
            for at, model in enumerate(steered)
            for made in (steering_tables.effects, steering_tables.candidates)
        ),
        missing="the config has no section `steering`.",
    )
    yield Section("counts", "Sizes", "What every number rests on.", shown=(curves.counts(evaluation),))

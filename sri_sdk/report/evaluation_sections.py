"""The parts of an evaluation's page: which figures and tables belong together, and what to say beside them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sri_sdk.metrics.results import Evaluation, ModelResult
from sri_sdk.report import evaluation_samples as samples
from sri_sdk.report import evaluation_tables as tables
from sri_sdk.report.evaluation_words import called, leading, unguarded
from sri_sdk.report.tables import Table


@dataclass(frozen=True, slots=True)
class Section:
    """One part of the page."""

    name: str
    """Lower case, unique: the page's own links go there."""
    title: str
    note: str
    figures: tuple[tuple[str, str], ...] = ()
    """Name and caption."""
    shown: tuple[Table, ...] = ()
    folded: tuple[Table, ...] = ()
    """Numbers behind the figures: one click away, and printed."""
    missing: str = "not measured."
    """What to say where there is neither a figure nor a row."""

    @property
    def empty(self) -> bool:
        """Whether there is nothing to show."""
        return not (self.figures or self.shown or self.folded)


def sections(evaluation: Evaluation, drawn: tuple[str, ...]) -> tuple[Section, ...]:
    """All parts, in the order of the page, without the figures and tables that hold nothing.

    Args:
        evaluation: the records.
        drawn: names of the figures that there are.
    """
    first = leading(evaluation)
    made = (*_attacks(evaluation), *_guards(evaluation, first), *_signals(evaluation), *_models(evaluation))
    return tuple(
        replace(
            section,
            figures=tuple((name, caption) for name, caption in section.figures if name in drawn),
            shown=tuple(table for table in section.shown if table.rows),
            folded=tuple(table for table in section.folded if table.rows),
        )
        for section in made
    )


def _attacks(evaluation: Evaluation) -> tuple[Section, ...]:
    return (
        Section(
            "signal",
            "The signal",
            "σ compares the hidden states of every step with those of requests the model answers and of requests it "
            "refuses.",
            (
                (
                    "trajectories",
                    "Lines: mean of a class. Shaded: its middle 80 %. Near 1 the model is internally compliant, near 0 "
                    "refusal-aligned.",
                ),
            ),
            folded=(samples.bands(evaluation),),
        ),
        Section(
            "attacks",
            "Attacks, and what remains of them",
            "An attack succeeds when the judge says that the response does harm. It remains when it succeeds and our "
            "guard does not flag it.",
            (
                (
                    "attacks",
                    "Share of attacked prompts; stronger colour = more. Hatched: not run on that model, or not "
                    "measured.",
                ),
            ),
            folded=(tables.attacks(evaluation), tables.remains(evaluation), tables.attack_details(evaluation)),
            missing="no attack was run.",
        ),
    )


def _guards(evaluation: Evaluation, first: ModelResult | None) -> tuple[Section, ...]:
    others = tuple(
        tables.guards(model, f"guards-{at}")
        for at, model in enumerate(evaluation.models)
        if model is not first and model.guards
    )
    return (
        Section(
            "guards",
            "Guards side by side",
            f"On {called(first.name)}, where every guard sees the same generations." if first and first.guards else "",
            (
                (
                    "roc",
                    "Upper left is better. The scale on the right is logarithmic: it shows the false alarm rates a "
                    "service can live with.",
                ),
                (
                    "costs",
                    "Upper left is better: more removed, for less time. The scale of time is logarithmic; pale lines "
                    "are 95 % intervals.",
                ),
            ),
            shown=(tables.guards(first),) if first and first.guards else (),
            folded=(samples.roc(evaluation), tables.removed_by_attack(evaluation), tables.flags(evaluation), *others),
            missing=f"no guard was compared. {unguarded(first) if first else ''}".strip(),
        ),
        Section(
            "alarms",
            "When the alarm comes",
            "The rule that runs while text is made can stop an attack before its end. Its threshold holds for a whole "
            "generation, not for each step.",
            (("alarms", "Share of all successful attacks alarmed by each step. Marks: median step of the alarms."),),
            folded=(samples.alarms(evaluation),),
            missing="no guard judges while text is made.",
        ),
        Section(
            "harmless",
            "Unusual harmless prompts",
            "Harmless prompts unlike those the guard was calibrated on: the promise of the threshold does not cover "
            "them.",
            shown=(tables.harmless_sets(evaluation),),
        ),
    )


def _signals(evaluation: Evaluation) -> tuple[Section, ...]:
    return (
        Section(
            "separation",
            "Where the information is",
            "The same detector on different signals: what the text of each draft says, the first step alone, and the "
            "layers.",
            (
                (
                    "separation",
                    "AUROC of successful attacks against harmless generations, with 95 % intervals. Dashed: chance.",
                ),
            ),
            folded=(tables.signals(evaluation),),
        ),
        Section(
            "maps",
            "Signals in the plane",
            "Each dot is one generation. The axes were fitted on other generations than those drawn: what looks "
            "ordered is not ordered by the fit.",
            (
                (
                    "maps",
                    "LDA looks for the plane that separates the classes, PCA for the one with most variance. Of a "
                    "large class, a part is drawn.",
                ),
            ),
            folded=(samples.maps(evaluation),),
        ),
        Section(
            "unseen",
            "Attacks nobody trained on",
            "A detector that learns from labelled attacks, measured on a family that was left out.",
            (("unseen", "AUROC on the family left out, with 95 % intervals. Dashed: chance."),),
            folded=(tables.unseen(evaluation),),
        ),
    )


def _models(evaluation: Evaluation) -> tuple[Section, ...]:
    return (
        Section(
            "recovery",
            "Models, and how they recover",
            "Some attacked generations turn back by themselves, in their drafts or only inside.",
            (
                (
                    "recovery",
                    "Shares with 95 % intervals. Internal recovery: σ above 0.5 at some step, and at the end below the "
                    "threshold named.",
                ),
            ),
            shown=(tables.models(evaluation),) if evaluation.models else (),
            folded=(tables.incomplete(evaluation),),
        ),
        Section(
            "surrogates",
            "Surrogates",
            "A model whose states can be seen answers the same prompts, and its signal guards a model whose states "
            "cannot.",
            shown=(tables.surrogates(evaluation),),
        ),
        Section("counts", "Sizes", "What every number rests on.", shown=(samples.counts(evaluation),)),
    )

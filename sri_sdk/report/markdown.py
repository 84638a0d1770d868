"""The tables of an evaluation as Markdown, for a README: models, attacks, guards, signals."""

from __future__ import annotations

import re

from sri_sdk.metrics.cells import Cell, Table
from sri_sdk.metrics.guard_table import guard_table
from sri_sdk.metrics.results import Evaluation
from sri_sdk.report import evaluation_tables as made
from sri_sdk.report import steering_tables, strict_tables, words
from sri_sdk.report.evaluation_words import limited

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~$])")


def tables(evaluation: Evaluation) -> str:
    """Models by RR, ASR, HRR, FRR and IRR; attacks by model; guards side by side; the strict rule and
    harmless twins; AUROC by signal; claims, effects and guards under steering.

    Each share and area stands with its 95 % interval and n. Names are untrusted: they are escaped. Tables without a
    row are left out.
    """
    shown = [made.models(evaluation), made.attacks(evaluation), made.remains(evaluation)]
    shown += [guard_table(model) for model in evaluation.models if model.guards]
    shown += [strict_tables.strict(model) for model in evaluation.models]
    shown += [strict_tables.strict_sooner(model) for model in evaluation.models]
    shown += [make(model) for model in evaluation.models for make in (strict_tables.beyond, strict_tables.within)]
    shown += [made.signals(evaluation), made.unseen(evaluation)]
    shown.append(steering_tables.claims(evaluation))
    shown += [make(model) for model in evaluation.models for make in (steering_tables.effects, steering_tables.guards)]
    parts = [table_text(table) for table in shown if table.rows and len(table.columns) > 1]
    if limited(evaluation):
        parts.insert(0, limited(evaluation) + "\n")
    return "\n".join(parts)


def table_text(table: Table) -> str:
    """One table as Markdown, with its title above and its note below."""
    rule = ["---", *("---" if at in table.texts else "---:" for at in range(1, len(table.columns)))]
    lines = [f"**{escaped(table.title)}**", "", _row([escaped(column) for column in table.columns]), _row(rule)]
    lines += [_row([_cell(cell) for cell in row]) for row in table.rows]
    return "\n".join([*lines, *(["", escaped(table.note)] if table.note else [])]) + "\n"


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(cell: Cell) -> str:
    return f"{escaped(cell.value)} ({escaped(cell.detail)})" if cell.detail else escaped(cell.value)


def escaped(text: str) -> str:
    """Foreign text in one line that Markdown shows as it is."""
    return _SPECIAL.sub(r"\\\1", " ".join(words.printable(text).split()))

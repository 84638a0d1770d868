"""Many signals for guards of format 2: of every kind that `made_up.py` has, and requests that are harmful or missing.

One in three looks harmless, one in four like an attack, a harmful request or both; a quarter lie within a few
tolerances of a part's threshold; and a sixth hold what cannot be read, or end early.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sri_sdk.bundle.manifest_v2 import Manifest2
from sri_sdk.records import REQUEST, Rule, Signals
from sri_sdk.scoring.runtime import score_prefixes, score_rows
from sri_sdk.scoring.scorer import Scorer
from tests.runtimes.made_up import FARTHEST, HALVINGS
from tests.vectors.part_cases import threshold_of
from tests.vectors.parts import PartsGuard, made_up

Floats = NDArray[np.float32]
ATTACKS, NEAR, ODD = 0.25, 0.25, 0.17
"""Shares of the rows; the others look harmless."""


def many_part_signals(scorer: Scorer, guard: PartsGuard, count: int, seed: int) -> Signals:
    """`count` signals in the form the guard reads, shuffled, with lengths and groups."""
    rng, manifest = np.random.default_rng(seed), scorer.manifest
    assert isinstance(manifest, Manifest2)
    attacks, near, odd = (int(count * share) for share in (ATTACKS, NEAR, ODD))
    values = made_up(guard, count, 100 * seed + 11).domain(guard.domain).copy()
    dips, harms, both = (
        made_up(guard, count, 100 * seed + 12 + k, dip=dip, harm=harm).domain(guard.domain)
        for k, (dip, harm) in enumerate([(4.0, 0.0), (0.0, 5.0), (4.0, 5.0)])
    )
    kinds = rng.integers(3, size=attacks)
    values[:attacks] = np.stack([dips, harms, both])[kinds, np.arange(attacks)]
    groups: list[str | None] = [*guard.groups, None, "nobody", ""]
    named = [groups[i] for i in rng.integers(len(groups), size=count)] if guard.groups else None
    cases = [
        (rule, k) for rule in scorer.rules for k, name in enumerate(guard.parts) if name in manifest.rules[rule].parts
    ]
    for (rule, k), rows in zip(cases, np.array_split(np.arange(attacks, attacks + near), len(cases)), strict=True):
        own = [None if named is None else named[i] for i in rows]
        values[rows] = _near(scorer, manifest, rule, k, values[rows], both[rows], own, rng)
    lengths = np.full(count, guard.cells, np.int64)
    _spoil(manifest, values, lengths, range(attacks + near, attacks + near + odd), both, rng)
    order = rng.permutation(count)
    ids = tuple(f"row {i}" for i in range(count))
    chosen = None if named is None else tuple(named[i] for i in order)
    values = values[order]
    return Signals(ids, values, values, manifest.fingerprint, lengths[order], guard.columns, chosen)


def _near(
    scorer: Scorer, manifest: Manifest2, rule: Rule, k: int, harmless: Floats, attack: Floats,
    groups: list[str | None], rng: np.random.Generator,
) -> Floats:  # fmt: skip
    """Between the two [N, T, C], scored within a few tolerances of part k's threshold, where there are such."""
    name = manifest.part_names[k]
    known = [group if group in manifest.groups else None for group in groups]
    thresholds = [threshold_of(manifest, rule, name, group) for group in known]
    low, high = np.zeros(len(harmless)), np.ones(len(harmless))
    aim = np.array([t.value + t.tolerance * rng.uniform(-FARTHEST, FARTHEST) for t in thresholds])

    def mixed(share: NDArray[np.float64]) -> Floats:
        share = share[:, None, None]
        return ((1 - share) * harmless + share * attack).astype(np.float32)

    for _ in range(HALVINGS):
        middle = (low + high) / 2
        above = scores_of(scorer, rule, mixed(middle))[:, k] > aim
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return mixed(np.where(rng.random(len(low)) < 0.5, low, high))


def scores_of(scorer: Scorer, rule: Rule, values: Floats) -> Floats:
    """[N, T, C] -> [N, K]: the scores that a rule compares, of whole generations."""
    assert isinstance(scorer.manifest, Manifest2)
    parts = len(scorer.manifest.parts)
    if rule == "online":
        return np.asarray(score_prefixes(scorer._prefix, values, parts)[0].max(axis=1))
    return score_rows(scorer._signal, values, parts)[0]


def _spoil(
    manifest: Manifest2, values: Floats, lengths: NDArray[np.int64], rows: range, attack: Floats,
    rng: np.random.Generator,
) -> None:  # fmt: skip
    """Writes what cannot be read, what just can, and ends, into some rows."""
    cells, columns = values.shape[1:]
    for row in rows:
        if rng.random() < 0.3:
            values[row] = attack[row]
        kind = rng.random()
        if kind < 0.7:  # One number somewhere, or in all cells; a request mostly stands in all of them.
            c = rng.integers(columns)
            low, high = (np.float32(x) for x in (manifest.signal.columns[c].low, manifest.signal.columns[c].high))
            whole = rng.random() < (0.8 if manifest.signal.columns[c].kind == REQUEST else 0.1)
            numbers = (
                np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-45, low, high, np.nextafter(low, np.float32(0)),
                np.nextafter(high, np.float32(0)), 2 * high, -2 * high, 1e30, -1e30, 0.5,
            )  # fmt: skip
            values[row, slice(None) if whole else rng.integers(cells), c] = rng.choice(numbers)
        if kind > 0.5:  # Not finished; what lies beyond is never read, but for the request.
            lengths[row] = rng.integers(cells + 1)
            sri = [c for c, column in enumerate(manifest.signal.columns) if column.kind != REQUEST]
            values[row, lengths[row] :, sri] = rng.choice([np.nan, np.inf, 0.0, 1e30])

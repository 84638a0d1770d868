import json
import sys

import numpy as np
import pytest

from sri_sdk.errors import ConfigError, MissingExtra, ScoringError
from sri_sdk.metrics.geometry import geometry

NAMES = ("harmless", "refusal", "harmful")


def made(per_class=40, cells=8, apart=3.0, seed=0):
    """Three clouds; two signals per base prompt."""
    rng = np.random.default_rng(seed)
    centres = apart * rng.normal(size=(3, cells))
    signals = np.concatenate([c + rng.normal(size=(per_class, cells)) for c in centres])
    classes = [name for name in NAMES for _ in range(per_class)]
    return signals, classes, [f"b{i // 2}" for i in range(3 * per_class)]


def separation(coordinates, classes):
    """Least distance of two class means, over the largest spread of a class along an axis."""
    clouds = [coordinates[np.array(classes) == name] for name in NAMES]
    means = [cloud.mean(axis=0) for cloud in clouds]
    nearest = min(np.linalg.norm(means[i] - means[j]) for i in range(3) for j in range(i))
    return nearest / max(cloud.std(axis=0).max() for cloud in clouds)


def test_what_is_drawn_was_not_fitted_on_and_shares_no_base_prompt_with_it():
    signals, classes, bases = made()
    found = geometry(signals, classes, bases)
    drawn = {bases[i] for i in found.rows}
    fitted = {base for i, base in enumerate(bases) if i not in set(found.rows.tolist())}
    assert not drawn & fitted and len(drawn) == len(fitted) == 30
    assert sum(found.fitted.values()) + len(found.rows) == len(signals)
    assert found.classes == tuple(classes[i] for i in found.rows)


def test_both_projections_are_scikit_learns_up_to_the_sign():
    from sklearn.decomposition import PCA
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    signals, classes, bases = made()
    found = geometry(signals, classes, bases)
    rest = np.setdiff1d(np.arange(len(signals)), found.rows)
    pca = PCA(2).fit(signals[rest])
    lda = LinearDiscriminantAnalysis(n_components=2).fit(signals[rest], np.array(classes)[rest])
    for mine, theirs in ((found.pca, pca), (found.lda, lda)):
        assert np.abs(mine.coordinates) == pytest.approx(np.abs(theirs.transform(signals[found.rows])), abs=1e-8)
        assert mine.explained == pytest.approx(theirs.explained_variance_ratio_, abs=1e-8)
        assert mine.coordinates == pytest.approx((signals[found.rows] - mine.centre) @ mine.axes.T)


def test_the_sign_is_fixed_by_the_largest_weight():
    found = geometry(*made())
    for axes in (found.pca.axes, found.lda.axes):
        assert (axes[np.arange(2), np.abs(axes).argmax(axis=1)] > 0).all()


def test_classes_that_are_there_stay_apart_on_the_other_half():
    found = geometry(*made())
    assert separation(found.lda.coordinates, found.classes) > 4


def test_classes_of_noise_stay_together_where_fitting_and_drawing_on_the_same_half_would_part_them():
    signals, classes, bases = made(cells=30, apart=0)
    found = geometry(signals, classes, bases)
    rest = np.setdiff1d(np.arange(len(signals)), found.rows)
    cheated = (signals[rest] - found.lda.centre) @ found.lda.axes.T
    assert separation(cheated, np.array(classes)[rest]) > 1.5
    assert separation(found.lda.coordinates, found.classes) < 0.75


def test_the_split_is_seeded():
    data = made()
    assert geometry(*data, seed=1).rows.tolist() == geometry(*data, seed=1).rows.tolist()
    assert geometry(*data, seed=1).rows.tolist() != geometry(*data, seed=2).rows.tolist()


def test_two_classes_give_one_axis_of_separation():
    signals, classes, bases = made()
    found = geometry(signals[:80], classes[:80], bases[:80])
    assert found.lda.coordinates.shape == (len(found.rows), 1) and found.lda.explained.tolist() == [1]


def test_saturated_cells_do_no_harm():
    signals, classes, bases = made()
    found = geometry(np.c_[signals, np.ones((120, 5))].astype(np.float32), classes, bases)
    assert np.isfinite(found.lda.coordinates).all()
    assert separation(found.lda.coordinates, found.classes) > 4


def test_unseen_signals_are_counted_and_signals_of_no_class_are_not_drawn():
    signals, classes, bases = made()
    signals[0, 0] = np.nan
    found = geometry(signals, [*classes[:-1], None], bases)
    assert found.unseen == 1 and sum(found.fitted.values()) + len(found.rows) == 118
    assert not {0, 119} & set(found.rows.tolist())


def test_what_cannot_be_projected_says_why():
    signals, classes, bases = made()
    with pytest.raises(ConfigError, match=r"1 classes \(harmless\)"):
        geometry(signals[:40], classes[:40], bases[:40])
    with pytest.raises(ConfigError, match="0 to draw"):
        geometry(signals, classes, ["one"] * 120)
    with pytest.raises(ScoringError, match="signals must vary"):
        geometry(np.ones((120, 8)), classes, bases)
    with pytest.raises(ValueError, match="119 classes"):
        geometry(signals, classes[1:], bases)


def test_without_scikit_learn_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.decomposition", None)
    with pytest.raises(MissingExtra, match=r"sri-sdk\[train\]"):
        geometry(*made())


def test_results_are_json():
    again = json.loads(json.dumps(geometry(*made()).to_dict()))
    assert len(again["lda"]["coordinates"]) == len(again["classes"]) == len(again["rows"])

"""Bundles of format 2 that ask for much: they open, or are refused, within the same bounds as those of format 1."""

import json
import sys

import numpy as np
import pytest

from sri_sdk.bundle.bundle import Bundle
from sri_sdk.bundle.packed_array import PackedArray

from . import fuzz
from .parted import bundle
from .test_bounds import FILLED, bounded

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory from /proc")
NAMES = ("sri@0", "request")


def placed(folder, members, manifest):
    folder.mkdir()
    for name, content in fuzz.hashed(members, manifest).items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def two(fitted):
    return bundle(fitted, {"harm": ("request",), "novelty": ("sri@0",)}, columns=NAMES)


def manifest_of(found):
    return json.loads(found.members["manifest.json"])


@pytest.mark.parametrize(
    ("place", "name"),
    [("anchors", "15 MB of empty lists"), ("request", "15 MB in one text"), ("detector", "15 MB of numbers")],
)
def test_a_large_manifest_is_read_or_refused(two, fitted, tmp_path, place, name):
    manifest = manifest_of(two)
    if place == "detector":
        manifest["parts"][0]["detector"]["config"] = {"filled": "@"}
    else:
        entry = manifest["anchors"] if place == "anchors" else manifest["anchors"]["request"]
        entry["provenance"] = {"filled": "@"}
    folder = placed(tmp_path / "bundle", two.members, manifest_of(two))
    (folder / "manifest.json").write_bytes(fuzz.with_digest(manifest, lambda text: text.replace('"@"', FILLED[name])))
    bounded(folder, fitted)


def test_most_parts_groups_and_scores_are_read(fitted, tmp_path):
    """16 parts, 64 groups, two rules: 2,048 thresholds, with as many calibration scores as the file has room for."""
    parts = {f"p{k}": ("sri@0",) for k in range(16)}
    groups = tuple(f"g{i:02d}" for i in range(64))
    made = bundle(fitted, parts, columns=NAMES[:1], groups=groups, count=800)
    manifest = manifest_of(made)
    scores = PackedArray.pack(np.sort(np.random.default_rng(0).random(1200).astype(np.float32))).model_dump(mode="json")
    for rule in manifest["rules"].values():
        for part in rule["parts"].values():
            for entry in part["groups"].values():
                entry.update(n=1200, rank=1190, scores=scores, value=2.0)
    folder = placed(tmp_path / "bundle", made.members, manifest)
    assert 12 * 2**20 < (folder / "manifest.json").stat().st_size < 16 * 2**20
    bounded(folder, fitted)
    assert len(Bundle.read(folder).manifest.rules["final"].parts) == 16


def test_one_column_more_than_there_may_be_is_refused_at_once(two, fitted, tmp_path):
    manifest = manifest_of(two)
    one = manifest["signal"]["columns"][0]
    manifest["signal"]["columns"] = [{**one, "name": f"sri@{i}"} for i in range(30_000)]
    bounded(placed(tmp_path / "bundle", two.members, manifest), fitted)

import numpy as np
import pytest

from sri_sdk.anchors import Anchors
from sri_sdk.errors import BundleError, ModelMismatch
from sri_sdk.scoring.guard import Guard


@pytest.mark.parametrize("inside", ["", "bundle"])
def test_a_guard_loads_from_its_folder_or_from_the_bundle_in_it(guard_copy, anchors, inside):
    guard = Guard.load(guard_copy / inside)
    assert guard.anchors.digest == anchors.digest == guard.manifest.anchors.sha256


def test_anchors_of_another_fit_are_refused(guard_copy, anchors):
    other = Anchors(anchors.harmless + np.float32(1), anchors.harmful, anchors.fingerprint, {})
    other.save(guard_copy / "anchors.npz")
    with pytest.raises(ModelMismatch, match="calibrated with"):
        Guard.load(guard_copy)


def test_what_is_missing_is_named(guard_copy, tmp_path):
    (guard_copy / "anchors.npz").unlink()
    with pytest.raises(ModelMismatch, match=r"anchors\.npz"):
        Guard.load(guard_copy)
    with pytest.raises(BundleError, match="not a bundle folder"):
        Guard.load(tmp_path / "nothing")

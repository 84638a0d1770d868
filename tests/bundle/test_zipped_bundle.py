"""Bundles in one zip file."""

import pytest
from sri_exporter_onnx.exporter import OnnxExporter
from sri_plugin_toy.detector import ToyDetector

from sri_sdk.bundle.bundle import Bundle
from sri_sdk.bundle.files import put_file, write_files
from sri_sdk.bundle.stored_zip import pack
from sri_sdk.errors import BundleError
from sri_sdk.fitting.build import fit_guard
from sri_sdk.scoring.guard import Guard
from sri_sdk.scoring.scorer import Scorer


@pytest.fixture
def zipped(fitted, tmp_path):
    return write_files(tmp_path / "guard.zip", fitted.members, zipped=True)


def test_a_zip_is_the_same_bundle(fitted, zipped, make_signals):
    again = Bundle.read(zipped)
    assert (again.digest, again.files, again.members) == (fitted.digest, fitted.files, fitted.members)
    signals = make_signals(5, 4)
    assert Scorer.open(zipped).score(signals) == Scorer.open(fitted.path).score(signals)


@pytest.mark.parametrize(
    "name", ["../evil.onnx", "/etc/passwd", "..\\evil.onnx", "a/b", ".hidden", "C:evil", "con\x00"]
)
def test_a_member_cannot_leave_the_zip(fitted, tmp_path, name):
    path = tmp_path / "guard.zip"
    path.write_bytes(pack({**fitted.members, name: b"x"}))
    with pytest.raises(BundleError, match="allowed: letters, digits"):
        Bundle.read(path)
    assert [x.name for x in tmp_path.iterdir()] == ["guard.zip"]


def test_members_that_are_missing_or_too_many_are_named(fitted, tmp_path):
    path = tmp_path / "guard.zip"
    for members, problem in [
        ({**fitted.members, "extra.bin": b""}, r"extra\.bin is not listed"),
        ({n: c for n, c in fitted.members.items() if n != "prefix.onnx"}, r"prefix\.onnx is missing"),
        (fitted.files, r"manifest\.json is missing"),
    ]:
        path.write_bytes(pack(members))
        with pytest.raises(BundleError, match=problem):
            Bundle.read(path)


def test_a_file_is_added_to_either_form_without_a_trace(folder, zipped):
    before = sorted(x.name for x in folder.parent.iterdir())
    for path in (folder, zipped):
        put_file(path, "model.sig", b"{}")
        assert Bundle.read(path).unlisted["model.sig"] == b"{}"
    assert sorted(x.name for x in folder.parent.iterdir()) == before


def test_a_guard_whose_bundle_is_a_zip_loads(guard_copy, fitted):
    write_files(guard_copy / "bundle", fitted.members, zipped=True)
    for path in (guard_copy, guard_copy / "bundle"):
        assert Guard.load(path, digest=fitted.digest).scorer.bundle.digest == fitted.digest


def test_two_zips_of_the_same_guard_are_the_same_bytes(tmp_path, anchors, make_signals):
    exporter = OnnxExporter(OnnxExporter.Config(zip=True))
    folds = make_signals(50, 1), make_signals(50, 2), make_signals(99, 3)
    made = [
        fit_guard(ToyDetector(), "toy", *folds, anchors=anchors, exporter=exporter, alpha=0.05, target=tmp_path / name)
        for name in "ab"
    ]
    assert made[0].path.read_bytes() == made[1].path.read_bytes() == pack(made[0].members)

"""The checks of an exporter: `onnx` passes, and each broken one is caught by exactly its check."""

import re
import shutil

import pytest
from sri_exporter_onnx.exporter import OnnxExporter

from sri_sdk.bundle.guard_graphs import signal_graph
from sri_sdk.exporter import Exporter
from sri_sdk.testing import exporter_checks, run_checks
from sri_sdk.testing.planted import CELLS, LAYERS, NotChecked


def with_full() -> Exporter:
    return OnnxExporter(OnnxExporter.Config(full=True))


@pytest.mark.parametrize("check", [*exporter_checks(OnnxExporter), *exporter_checks(with_full)], ids=str)
def test_onnx(check):
    check()


class FileExporter(OnnxExporter):
    """One file, which `Scorer.open` does not read."""

    def export(self, parts, target):
        scratch = target.with_name(f".{target.name}")
        try:
            scratch.write_bytes(self.compile(signal_graph(parts.detector, CELLS, LAYERS)) + self.suffix())
            scratch.replace(target)
        finally:
            scratch.unlink(missing_ok=True)
        return target

    def suffix(self):
        return b""


class CompilesText(OnnxExporter):
    def compile(self, graph):
        return super().compile(graph).decode("latin-1")


class NeverTheSame(FileExporter):
    made = 0

    def suffix(self):
        NeverTheSame.made += 1
        return b" " * self.made


class WritesInPlace(FileExporter):
    def export(self, parts, target):
        target.write_bytes(self.compile(signal_graph(parts.detector, CELLS, LAYERS)))
        return target


class LeavesLitter(FileExporter):
    def export(self, parts, target):
        scratch = target.with_name(f".{target.name}")
        scratch.write_bytes(self.compile(signal_graph(parts.detector, CELLS, LAYERS)))
        return scratch.replace(target)


class SwallowsErrors(FileExporter):
    def export(self, parts, target):
        try:
            return super().export(parts, target)
        except OSError:
            return target


class RemovesTheOldOneFirst(OnnxExporter):
    def export(self, parts, target):
        shutil.rmtree(target, ignore_errors=True)
        return super().export(parts, target)


class KeepsTheOldOne(FileExporter):
    def export(self, parts, target):
        return target if target.exists() else super().export(parts, target)


class ScoresTwice(OnnxExporter):
    """Exports another graph than it compiles."""

    def export(self, parts, target):
        parts.detector._mean = parts.detector._mean + 0.1
        try:
            return super().export(parts, target)
        finally:
            parts.detector._mean = parts.detector._mean - 0.1


ALSO = {NeverTheSame: {"replaces-an-older-artefact"}}
"""What is never the same cannot be compared."""


@pytest.mark.parametrize(
    ("exporter", "check", "message"),
    [
        (NeverTheSame, "same-bytes-twice", "the same parts, exported a second time, differs in 1 of 1 files"),
        (WritesInPlace, "export-is-whole-or-absent", "file 0 failed, and 1 files stay at the target"),
        (LeavesLitter, "export-is-whole-or-absent", "after file 0 failed, 1 stray files .* first '.guard'"),
        (SwallowsErrors, "export-is-whole-or-absent", "it returned as if nothing had"),
        (RemovesTheOldOneFirst, "export-is-whole-or-absent", "the older artefact differs in 3 of 3 files"),
        (KeepsTheOldOne, "replaces-an-older-artefact", "onto an older artefact, the new one differs in 1 of 1 files"),
        (ScoresTwice, "scores-as-the-detector", "the bundle scores row .* times the tolerance|Scorer.open refuses"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::sri_sdk.testing.planted.NotChecked")
def test_a_broken_exporter_is_caught_by_its_check_and_no_other(exporter, check, message):
    wrong = {x.name: x for x in run_checks(exporter_checks(exporter)) if x.state != "passed"}
    assert wrong[check].state == "failed" and re.search(message, wrong[check].message), wrong[check].message
    assert wrong.keys() <= {check, *ALSO.get(exporter, set())}, wrong


def test_a_broken_compiler_is_caught_first():
    checks = exporter_checks(CompilesText)
    assert checks[0].name == "compiles-a-drawing"
    assert "CompilesText.compile(): str, must be the bytes of an ONNX model" in run_checks(checks[:1])[0].message


def test_another_format_passes_and_says_that_its_scores_were_not_compared():
    *others, scores = exporter_checks(FileExporter)
    assert {x.state for x in run_checks(others)} == {"passed"}
    with pytest.warns(NotChecked, match="guard holds no manifest.json, so it is no bundle"):
        scores()


def test_a_full_disk_is_met_at_every_file_of_a_bundle():
    from sri_sdk.testing.exporters import _Checks, _folder

    checks = _Checks(OnnxExporter)
    with _folder() as folder:
        met = [checks.left_alone(checks.parts, folder / f"{n}" / "guard", "file failed", nth=n) for n in range(5)]
    assert met == [True, True, True, False, False]

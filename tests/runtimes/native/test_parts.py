"""Bundles of format 2: several columns and parts, groups, a horizon. As Python judges them, or refused as by Python."""

import json
from pathlib import Path

import numpy as np
import pytest

from sri_sdk.bundle.bundle import Bundle
from sri_sdk.records import Verdict
from sri_sdk.scoring.scorer import Scorer
from sri_sdk.scoring.signal_files import read_signals
from tests.runtimes.native.test_damage import ODD, SLOW, STEP, assert_agrees_with_python
from tests.runtimes.native.test_refusals import files_of
from tests.runtimes.refusals import PART_MANIFESTS, PART_SIGNALS, bundle_of
from tests.runtimes.sealing import with_odd_values
from tests.vectors.test_part_vectors import NAMES, RULES, agree, cases_of, signals_of
from tests.vectors.test_vectors import unpack

VECTORS = Path(__file__).parents[3] / "exporters/onnx/runtimes/vectors"


def lines_of(name, path, *, columns=True, fingerprint=None):
    """The signals of the vectors, as somebody's own program would write them."""
    signals, manifest = signals_of(name, cases_of(name)), Bundle.read(VECTORS / name / "bundle").manifest
    head = {"sri_signals": 1, "fingerprint": fingerprint or dict(signals.fingerprint)}
    rows = [{**head, "columns": list(signals.columns)} if columns else head]
    values = signals.domain(manifest.signal.domain).astype(float).tolist()
    for row, request_id in enumerate(signals.ids):
        more = {} if signals.groups is None else {"group": signals.groups[row]}
        length = int(signals.lengths[row])
        rows.append({"id": request_id, manifest.signal.domain: values[row], "length": length, **more})
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", NAMES)
def test_verdicts_are_those_of_the_vectors(program, name, rule, tmp_path):
    path = lines_of(name, tmp_path / "signals.jsonl", columns=rule == "final")
    done = program.run(VECTORS / name / "bundle", path, "--rule", rule)
    assert done.returncode == 0, done.stderr
    verdicts = [json.loads(line) for line in done.stdout.splitlines()]
    for verdict, expected in zip(verdicts, cases_of(name)[rule], strict=True):
        agree(verdict, expected)
        assert list(verdict) == list(Verdict("id", "clear", schema=2).to_dict())
        assert verdict["bundle"] == Bundle.read(VECTORS / name / "bundle").digest


def test_a_rule_that_a_guard_does_not_have_is_refused(program, tmp_path):
    bundle = VECTORS / "autoencoder/bundle"
    path = tmp_path / "signals.jsonl"
    path.write_text(json.dumps({"id": "a", "sigma": [0.9] * 16}))
    reason = program.refusal(bundle, path, "--unverified", "--rule", "request")
    assert "allowed: final, online" in reason


def test_signals_of_another_request_map_are_refused(program, tmp_path):
    manifest = Bundle.read(VECTORS / "parts/bundle").manifest
    own = {**manifest.fingerprint, "request_map": manifest.anchors.request.sha256}
    path = lines_of("parts", tmp_path / "signals.jsonl", fingerprint=own)
    assert program.run(VECTORS / "parts/bundle", path).returncode == 0
    lines_of("parts", path, fingerprint={**own, "request_map": "2" * 64})
    assert "made with request_map" in program.refusal(VECTORS / "parts/bundle", path)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", ["autoencoder", "parts"])
def test_a_threshold_that_float32_rounds_to_a_score_is_compared_as_it_stands(program, name, rule, tmp_path):
    found = cases_of(name).get(rule)
    if found is None:
        pytest.skip("format 1 has no rule request")
    row = next(i for i, verdict in enumerate(found) if verdict["status"] == "clear")
    part = found[row].get("parts", [found[row]])[0]
    below = float(np.nextafter(part["score"], -np.inf))
    assert np.float32(below) == np.float32(part["score"])
    place = ["rules", rule] if name == "autoencoder" else ["rules", rule, "parts", part["name"], "groups", "all"]
    case = {"bundle": name, "changes": [{"path": [*place, "value"], "json": json.dumps(below)}]}
    bundle = bundle_of(case, tmp_path / "bundle")
    cases = cases_of(name)
    values, domain = unpack(cases["signals"])[row].astype(float).tolist(), Bundle.read(bundle).manifest.signal.domain
    signals = tmp_path / "signals.jsonl"
    signals.write_text(json.dumps({"id": "a", domain: values}))
    ours = Scorer.open(bundle).score(read_signals(signals, domain), rule=rule, unverified=True)
    verdict = json.loads(program.run(bundle, signals, "--unverified", "--rule", rule).stdout)
    assert verdict["status"] == ours[0].status == "flagged"


# -- refusals --------------------------------------------------------------------------------------------------


def test_damage_of_the_vectors_is_refused(program):
    damage = json.loads((VECTORS / "damage-2.json").read_text())
    variants = [f"{VECTORS / d['bundle'] / 'bundle'}\t{d['file']}\t{d['offset']}\t{d['xor']}" for d in damage]
    for change, (answer, reason) in zip(damage, program.check_many(variants), strict=True):
        assert answer == "refused" and change["file"] in reason, (change, reason)


@pytest.mark.parametrize("name", ["groups", "request-horizon"])
def test_every_changed_byte_of_a_manifest_and_a_sample_of_graphs_is_refused(program, name):
    folder, variants = VECTORS / name / "bundle", []
    for file, step in [("manifest.json", 1), ("signal.onnx", STEP), ("prefix.onnx", STEP)]:
        size = (folder / file).stat().st_size
        variants += [f"{folder}\t{file}\t{at}\t{1 << at % 8}" for at in range(0, size, step)]
    if program.language in SLOW:
        variants = variants[::7]
    for variant, (answer, reason) in zip(variants, program.check_many(variants), strict=True):
        assert answer == "refused" and variant.split("\t")[1] in reason, (variant, reason)


def test_manifests_of_the_vectors_are_refused_and_read(program, tmp_path):
    cases = [(kind, case) for kind, cases in PART_MANIFESTS.items() for case in cases]
    folders = [bundle_of(case, tmp_path / str(number)) for number, (_, case) in enumerate(cases)]
    for (kind, case), (answer, reason) in zip(cases, program.check_many(list(map(str, folders))), strict=True):
        assert answer == {"refused": "refused", "accepted": "ok"}[kind], (case["name"], reason)
        assert kind == "accepted" or "manifest" in reason, (case["name"], reason)


def test_a_manifest_is_refused_or_read_as_python_refuses_or_reads_it(program, tmp_path):
    count = ODD // 2 if program.language in SLOW else ODD
    assert_agrees_with_python(program, with_odd_values(NAMES, count, 4, tmp_path))


def test_signals_of_the_vectors_are_refused(program, tmp_path):
    cases = PART_SIGNALS["refused"]
    paths = files_of([case["content"] for case in cases], tmp_path)
    answers = program.score_many(
        [(VECTORS / case["bundle"] / "bundle", path, "--unverified") for case, path in zip(cases, paths, strict=True)]
    )
    for case, path, (code, reason, verdicts) in zip(cases, paths, answers, strict=True):
        assert (code, verdicts) == (1, []) and f"{path.name}, line " in reason, (case["name"], reason)


@pytest.mark.parametrize("rule", ["final", "online"])
def test_signals_of_the_vectors_are_judged_as_python_judges_them(program, rule, tmp_path):
    cases = PART_SIGNALS["accepted"]
    paths = files_of([case["content"] for case in cases], tmp_path)
    bundles = [VECTORS / case["bundle"] / "bundle" for case in cases]
    calls = [(bundle, path, "--unverified", "--rule", rule) for bundle, path in zip(bundles, paths, strict=True)]
    for case, (bundle, path, *_), (code, reason, verdicts) in zip(cases, calls, program.score_many(calls), strict=True):
        assert code == 0, (case["name"], reason)
        scorer = Scorer.open(bundle)
        expected = scorer.score(read_signals(path, scorer.manifest.signal.domain), rule=rule, unverified=True)
        same = {"request_id", "status", "reasons", "group", "ended", "first_alarm_step"}
        for verdict, mine in zip(verdicts, expected, strict=True):
            wanted = mine.to_dict()
            keys = same & wanted.keys()
            assert {key: verdict[key] for key in keys} == {key: wanted[key] for key in keys}, case["name"]

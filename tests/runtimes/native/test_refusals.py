"""The readers that are programs refuse what the shared vectors say, and read what they accept."""

import json
import subprocess
from pathlib import Path

import pytest

from sri_sdk.scoring.scorer import Scorer
from sri_sdk.scoring.signal_files import read_signals
from tests.runtimes.programs import RUNTIMES, SANITIZERS, Absent, compile_c_alone
from tests.runtimes.refusals import FINE_MANIFESTS, GRAMMAR, MANIFESTS, SIGNALS_ACCEPTED, SIGNALS_REFUSED, bundle_of
from tests.runtimes.sealing import all_escaped

BUNDLE = RUNTIMES / "vectors/autoencoder/bundle"


def test_the_parser_in_c_refuses_and_accepts_what_the_vectors_say(tmp_path):
    try:
        compile_c_alone(tmp_path / "check", Path(__file__).with_name("json_check.c"), flags=SANITIZERS)
    except Absent as err:
        pytest.skip(str(err))
    given = b"".join(b"%d\n%s" % (len(text), text) for _, _, text in GRAMMAR)
    done = subprocess.run([tmp_path / "check"], input=given, capture_output=True)
    answers = done.stdout.decode().splitlines()
    for (kind, name, _), answer in zip(GRAMMAR, answers, strict=False):
        assert answer == kind, name
    assert (done.returncode, len(answers)) == (0, len(GRAMMAR)), done.stderr


def test_manifests_of_the_vectors_are_refused(program, tmp_path):
    folders = [bundle_of(case, tmp_path / str(number)) for number, case in enumerate(MANIFESTS)]
    answers = program.check_many([str(folder) for folder in folders])
    for case, (answer, reason) in zip(MANIFESTS, answers, strict=True):
        assert answer == "refused" and "manifest.json" in reason, (case, reason)


def test_manifests_with_other_fine_values_are_read(program, tmp_path):
    folders = [bundle_of(case, tmp_path / str(number)) for number, case in enumerate(FINE_MANIFESTS)]
    folders.append(bundle_of({"path": ["tau"], "json": "0.1"}, tmp_path / "escaped"))
    (folders[-1] / "manifest.json").write_bytes(all_escaped((BUNDLE / "manifest.json").read_bytes()))
    for case, answer in zip([*FINE_MANIFESTS, "all escaped"], program.check_many(list(map(str, folders))), strict=True):
        assert answer[0] == "ok", (case, answer)


def files_of(contents, folder):
    """One file of signals per content."""
    paths = [folder / f"{number}.jsonl" for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    return paths


def test_signals_of_the_vectors_are_refused(program, tmp_path):
    paths = files_of([content for _, content, _ in SIGNALS_REFUSED], tmp_path)
    answers = program.score_many([(BUNDLE, path, "--unverified") for path in paths])
    for path, (name, _, place), (code, reason, verdicts) in zip(paths, SIGNALS_REFUSED, answers, strict=True):
        assert (code, verdicts) == (1, []) and f"{path.name}{place}" in reason, (name, reason)


def test_signals_of_the_vectors_are_judged_as_python_judges_them(program, tmp_path):
    scorer = Scorer.open(BUNDLE)
    paths = files_of([content for _, content in SIGNALS_ACCEPTED], tmp_path)
    answers = program.score_many([(BUNDLE, path, "--unverified", "--rule", "online") for path in paths])
    for path, (name, _), (code, reason, verdicts) in zip(paths, SIGNALS_ACCEPTED, answers, strict=True):
        assert code == 0, (name, reason)
        expected = scorer.score(read_signals(path), rule="online", unverified=True)
        for verdict, mine in zip(verdicts, expected, strict=True):
            same = "request_id", "status", "reasons", "first_alarm_step"
            assert [verdict[key] for key in same] == [mine.to_dict()[key] for key in same], name


def test_many_calls_are_answered_like_one_each(program, tmp_path):
    (path,) = files_of([SIGNALS_ACCEPTED[0][1]], tmp_path)
    alone = program.run(BUNDLE, path, "--unverified")
    calls = [(BUNDLE, path, "--unverified"), (BUNDLE, tmp_path / "none", "--unverified"), (BUNDLE,), (BUNDLE, path)]
    one, missing, wrong, unknown = program.score_many([*calls])
    assert one == (0, "", [json.loads(line) for line in alone.stdout.splitlines()])
    assert (missing[0], unknown[0], wrong[0]) == (1, 1, 2) and "none" in missing[1] and "no fingerprint" in unknown[1]


def test_free_json_of_the_vectors_is_read_as_the_grammar_says(program, tmp_path):
    # Inside a manifest it is deeper, and among others.
    texts = [(kind, name, text) for kind, name, text in GRAMMAR if "64" not in name and "2^20" not in name]
    cases = [{"path": ["pooling"], "json": text.decode()} for _, _, text in texts if _utf8(text)]
    kinds = [(kind, name) for kind, name, text in texts if _utf8(text)]
    folders = [bundle_of(case, tmp_path / str(number)) for number, case in enumerate(cases)]
    for expected, (answer, reason) in zip(kinds, program.check_many([str(x) for x in folders]), strict=True):
        assert answer == {"accepted": "ok", "refused": "refused"}[expected[0]], (expected, reason)


def _utf8(text):
    try:
        return bool(text.decode())
    except UnicodeDecodeError:
        return False

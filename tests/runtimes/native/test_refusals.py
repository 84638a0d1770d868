"""The readers that are programs refuse what the shared vectors say, and read what they accept."""

import subprocess
from pathlib import Path

from tests.runtimes.refusals import GRAMMAR, MANIFESTS, bundle_of


def test_the_parser_in_c_refuses_and_accepts_what_the_vectors_say(compile_c, tmp_path):
    compile_c(tmp_path / "check", Path(__file__).with_name("json_check.c"))
    for kind, name, text in GRAMMAR:
        done = subprocess.run([tmp_path / "check"], input=text, capture_output=True)
        assert done.stdout.decode() == f"{kind}\n", (name, done.stderr)


def test_manifests_of_the_vectors_are_refused(program, tmp_path):
    folders = [bundle_of(case, tmp_path / str(number)) for number, case in enumerate(MANIFESTS)]
    answers = program.check_many([str(folder) for folder in folders])
    for case, (answer, reason) in zip(MANIFESTS, answers, strict=True):
        assert answer == "refused" and "manifest.json" in reason, (case, reason)


def test_free_json_of_the_vectors_is_read_as_the_grammar_says(program, tmp_path):
    texts = [(kind, name, text) for kind, name, text in GRAMMAR if "64" not in name]  # Inside a manifest it is deeper.
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

"""What Java's reader refuses before it needs onnxruntime, whose jar is rarely there: this part needs a JDK only."""

import json
import subprocess
from base64 import b64encode
from pathlib import Path

import numpy as np
import pytest

from sri_sdk.scoring.signal_files import read_signals
from tests.runtimes.programs import RUNTIMES, Absent, call, compiler, once
from tests.runtimes.refusals import FINE_MANIFESTS, GRAMMAR, MANIFESTS, SIGNALS_ACCEPTED, SIGNALS_REFUSED, bundle_of
from tests.runtimes.sealing import all_escaped

SOURCES = RUNTIMES / "java/src/main/java"
KINDS = {"ok": "accepted", "refused": "refused"}


@pytest.fixture(scope="session")
def java(shared):
    """java("grammar", lines): [(ok or refused, what was found or why)] of what each line names."""
    try:
        javac, program = compiler("javac"), compiler("java")
    except Absent as err:
        pytest.skip(str(err))
    with once(shared, "java-reader") as out:
        if out:
            # With a path of sources, the compiler takes what is needed and leaves what imports onnxruntime.
            source = Path(__file__).with_name("ReaderCheck.java")
            call(javac, "-Xlint:all", "-Werror", "-sourcepath", SOURCES, "-d", out, source, cwd=out)
    command = [program, "-Xmx512m", "-cp", str(shared / "java-reader"), "sri.guard.ReaderCheck"]

    def ask(what, lines):
        text = "".join(f"{line}\n" for line in lines)
        done = subprocess.run([*command, what], input=text, capture_output=True, text=True, timeout=280)
        assert done.returncode == 0, done.stderr[-4000:]
        return [line.split("\t", 1) for line in done.stdout.split("\n")[:-1]]

    return ask


def test_the_parser_in_java_refuses_and_accepts_what_the_vectors_say(java):
    answers = java("grammar", [b64encode(text).decode() for _, _, text in GRAMMAR])
    for (kind, name, text), (answer, found) in zip(GRAMMAR, answers, strict=True):
        assert KINDS[answer] == kind, (name, found)
        if kind == "accepted" and "2^20" not in name:
            assert json.loads(found) == json.loads(text), name


def test_manifests_are_refused_and_read_in_java_as_the_vectors_say(java, tmp_path):
    folders = [bundle_of(case, tmp_path / str(number)) for number, case in enumerate([*MANIFESTS, *FINE_MANIFESTS])]
    folders.append(bundle_of({"path": ["tau"], "json": "0.1"}, tmp_path / "escaped"))
    (folders[-1] / "manifest.json").write_bytes(all_escaped((folders[-1] / "manifest.json").read_bytes()))
    expected = ["refused"] * len(MANIFESTS) + ["ok"] * (len(FINE_MANIFESTS) + 1)
    cases = [*MANIFESTS, *FINE_MANIFESTS, "all escaped"]
    for case, wanted, (answer, reason) in zip(cases, expected, java("manifest", folders), strict=True):
        assert answer == wanted, (case, reason)
        assert answer == "ok" or "manifest.json" in reason, (case, reason)


def test_signals_are_refused_and_read_in_java_as_in_python(java, tmp_path):
    files = [tmp_path / f"{number}.jsonl" for number in range(len(SIGNALS_REFUSED) + len(SIGNALS_ACCEPTED))]
    for file, (_, content, *_) in zip(files, [*SIGNALS_REFUSED, *SIGNALS_ACCEPTED], strict=True):
        file.write_bytes(content)
    answers = java("signals", files)
    for (name, _, place), (answer, reason) in zip(SIGNALS_REFUSED, answers, strict=False):
        assert answer == "refused" and f".jsonl{place}" in reason, (name, reason)
    accepted = zip(SIGNALS_ACCEPTED, files[len(SIGNALS_REFUSED) :], answers[len(SIGNALS_REFUSED) :], strict=True)
    for (name, _), file, (answer, found) in accepted:
        assert answer == "ok", (name, found)
        ids, lengths, cells = (json.loads(part) for part in found.split("\t"))
        mine = read_signals(file)
        assert mine.lengths is not None
        assert (tuple(ids), lengths) == (mine.ids, mine.lengths.tolist()), name
        assert np.array_equal(np.array(cells, np.float32), mine.sigma.ravel(), equal_nan=True), name

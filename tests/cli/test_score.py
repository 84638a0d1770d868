import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from sri_sdk.cli import main
from sri_sdk.scoring.signal_files import write_signals


@pytest.fixture
def signals(tmp_path, make_signals):
    """Two harmless generations, one attack, one unreadable one."""
    harmless, attack = make_signals(3, 6), make_signals(1, 5, dip=6)
    sigma = np.concatenate([harmless.sigma, attack.sigma])
    sigma[2, 0] = np.nan
    logit = np.concatenate([harmless.logit, attack.logit])
    write_signals(tmp_path / "s.npz", replace(harmless, ids=("a", "b", "broken", "attack"), sigma=sigma, logit=logit))
    return str(tmp_path / "s.npz")


@pytest.fixture
def sri(fitted):
    def call(*arguments, **options):
        return CliRunner().invoke(main, ["score", str(fitted.path), *arguments], **options)

    return call


def test_the_table_shows_what_needs_a_look_and_the_counts(sri, signals):
    done = sri(signals)
    assert done.exit_code == 0, done.output
    assert "4 generations: 2 clear, 1 flagged, 1 unmonitored" in done.stdout
    assert "non_finite_signal" in done.stdout
    assert [row.split()[0] for row in done.stdout.splitlines()[1:3]] == ["broken", "attack"]
    assert "clear" in sri(signals, "--all").stdout.splitlines()[1]


def test_json_is_one_verdict_per_line_and_the_summary_goes_elsewhere(sri, signals, tmp_path):
    done = sri(signals, "--json", "--rule", "online", "--out", str(tmp_path / "out" / "v.jsonl"))
    verdicts = [json.loads(line) for line in done.stdout.splitlines()]
    assert [v["status"] for v in verdicts] == ["clear", "clear", "unmonitored", "flagged"]
    assert verdicts[3]["first_alarm_step"] is not None
    assert "4 generations" in done.stderr
    assert (tmp_path / "out" / "v.jsonl").read_text() == done.stdout


@pytest.mark.parametrize(
    ("fail_on", "code"), [((), 0), (("flagged",), 10), (("unmonitored",), 11), (("unmonitored", "flagged"), 10)]
)
def test_a_pipeline_can_stop_on_an_alarm(sri, signals, fail_on, code):
    assert sri(signals, *(x for name in fail_on for x in ("--fail-on", name))).exit_code == code


def test_standard_input_without_fingerprint_needs_unverified(sri):
    line = json.dumps({"id": "x", "sigma": [0.9] * 32})
    refused = sri("-", input=line)
    assert refused.exit_code == 1
    assert "error: standard input: no fingerprint" in refused.stderr
    assert sri("-", "--unverified", input=line).exit_code == 0


def test_a_mistake_is_one_line(sri, tmp_path):
    done = sri(str(tmp_path / "nothing.npz"))
    assert done.exit_code == 1
    assert len(done.stderr.splitlines()) == 1


def test_the_bundle_can_be_pinned(sri, signals, fitted):
    assert sri(signals, "--digest", fitted.digest).exit_code == 0
    done = sri(signals, "--digest", "ab" * 32)
    assert (done.exit_code, done.stdout) == (1, "")
    assert "not the bundle with digest abab" in done.stderr


def test_the_bundle_must_be_signed_where_a_key_is_given(sri, signals, tmp_path):
    pytest.importorskip("cryptography")
    CliRunner().invoke(main, ["bundle", "keygen", str(tmp_path / "key")])
    assert "not signed" in sri(signals, "--public-key", str(tmp_path / "key.pub")).stderr

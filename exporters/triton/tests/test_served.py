import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from sri_exporter_triton.__main__ import command
from sri_exporter_triton.client import Client
from sri_exporter_triton.served import check_served

from sri_sdk import Scorer, registry
from sri_sdk.bundle.bundle import Bundle
from sri_sdk.bundle.files import put_file
from sri_sdk.bundle.signature import new_keys, sign
from sri_sdk.errors import BundleError, ConfigError, ScoringError
from sri_sdk.testing.planted import DIP, planted_signals

GRAPHS = ["signal", "prefix", "full", "step"]
README = Path(__file__).parents[1] / "README.md"


@dataclass
class Spoilt:
    """A server that answers something else."""

    model: str
    output: str
    change: Any

    def __call__(self, model, outputs):
        if model == self.model and self.output in outputs:
            outputs[self.output] = self.change(outputs[self.output])


def test_a_server_with_the_guards_models_agrees(serve, repository, bundle):
    used = check_served(Client(serve(repository)), bundle, GRAPHS, "sri")
    assert used.keys() == set(GRAPHS)
    assert all(share <= 1 for share in used.values())


@pytest.mark.parametrize(
    "spoilt",
    [
        Spoilt("sri_signal", "score", lambda x: x * 1.01),
        Spoilt("sri_signal", "score", lambda x: x * np.nan),
        Spoilt("sri_prefix", "score", lambda x: x[::-1]),
        Spoilt("sri_prefix", "valid", lambda x: x | True),
        Spoilt("sri_full_sensitive", "score", lambda x: x + 1),
        Spoilt("sri_step_sensitive", "score", lambda x: x + 1),
    ],
    ids=lambda spoilt: f"{spoilt.model}-{spoilt.output}",
)
def test_a_server_that_computes_something_else_is_found_out(serve, repository, bundle, spoilt):
    with pytest.raises(BundleError, match="golden row"):
        check_served(Client(serve(repository, spoilt)), bundle, GRAPHS, "sri")


@pytest.mark.parametrize(
    ("change", "problem"),
    [("zero", "does not begin with NaN"), ("forget", "is not kept")],
)
def test_a_server_that_loses_the_state_is_found_out(serve, parts, tmp_path, bundle, kit, change, problem):
    target = kit.exporter(step=True).export(parts, tmp_path / "models")
    model = target / "sri_step_sensitive"
    if change == "zero":
        file = model / "initial_state" / "nan"
        file.write_bytes(bytes(len(file.read_bytes())))
    spoilt = Spoilt("sri_step_sensitive", "valid", lambda x: x & False) if change == "forget" else None
    bundle = Bundle.read(bundle_of(parts, tmp_path, step=True))
    calls: list[str] = []

    def later(name, outputs):
        # The golden row must pass: what is wrong comes with the second step of a sequence.
        calls.append(name)
        if spoilt and len(calls) == 4:
            spoilt(name, outputs)

    with pytest.raises(BundleError, match=problem):
        check_served(Client(serve(target, later)), bundle, ["step"], "sri")


def bundle_of(parts, folder, **options):
    return registry.build("exporters", "onnx", options).export(parts, folder / "bundle")


def test_a_graph_that_the_bundle_does_not_have_cannot_be_asked_for(serve, repository, tmp_path, parts):
    few = Bundle.read(bundle_of(parts, tmp_path))
    with pytest.raises(BundleError, match="no graph 'step'"):
        check_served(Client(serve(repository)), few, ["step"], "sri")


def test_another_guards_models_are_not_this_guards(serve, repository, tmp_path, parts):
    other = Bundle.read(bundle_of(parts, tmp_path))
    with pytest.raises(BundleError, match="is of guard"):
        check_served(Client(serve(repository)), other, ["signal"], "sri")


def test_a_sequence_scores_as_the_prefix_of_its_own_signal(serve, repository, parts):
    client = Client(serve(repository))
    cells, layers, width = parts.anchors.harmless.shape
    phi = np.random.default_rng(3).normal(size=(cells, 1, layers, width)).astype(np.float32)
    answers = [
        client.infer(
            "sri_step_sensitive", {"phi": phi[cell], "step": np.array([[cell]])}, ("score", "valid", "sigma"),
            sequence_id="one", sequence_start=cell == 0, sequence_end=cell == cells - 1,
        )
        for cell in range(8)
    ]  # fmt: skip
    known = np.concatenate([answer["sigma"] for answer in answers])
    signal = np.zeros((8, cells, layers), dtype=np.float32)
    signal[:, :8] = known
    prefix = client.infer("sri_prefix", {"signals": signal, "length": np.arange(1, 9)[:, None]})
    assert prefix["valid"].all() and all(answer["valid"].all() for answer in answers)
    assert np.concatenate([answer["score"] for answer in answers]) == pytest.approx(prefix["score"], rel=1e-4, abs=1e-4)


def test_a_sequence_that_was_not_started_is_an_error_and_no_score(serve, repository):
    with pytest.raises(ScoringError, match=r"400 .*START"):
        Client(serve(repository)).infer(
            "sri_step_sensitive", {"phi": np.ones((1, 2, 8), np.float32), "step": np.zeros((1, 1), np.int64)},
            sequence_id="lost",
        )  # fmt: skip


@pytest.mark.parametrize("url", ["localhost:8000", "file:///etc/hosts", ""])
def test_an_address_that_is_not_http_is_refused(url):
    with pytest.raises(ConfigError, match="not an address of HTTP"):
        Client(url)


def test_a_server_that_is_not_there_is_an_error_that_says_so():
    with pytest.raises(ScoringError, match="no answer"):
        Client("http://127.0.0.1:1", timeout=2).config("sri_signal")


def test_the_command_line_writes_what_it_checked_and_checks_what_is_served(serve, bundle, tmp_path):
    runner = CliRunner()
    target = tmp_path / "models"
    wrote = runner.invoke(command, ["write", str(bundle.path), str(target), "--step", "--option", "max_batch=4"])
    assert wrote.exit_code == 0, wrote.output
    assert "was not checked" in wrote.output and bundle.digest in wrote.output
    checked = runner.invoke(command, ["check", serve(target), str(bundle.path), "--step"])
    assert checked.exit_code == 0, checked.output
    assert checked.output.count("agrees") == 3


def test_the_command_line_leaves_what_is_there_alone(bundle, tmp_path):
    (tmp_path / "models" / "theirs").mkdir(parents=True)
    found = CliRunner().invoke(command, ["write", str(bundle.path), str(tmp_path / "models")])
    assert found.exit_code == 2 and "exists already" in found.output
    assert [entry.name for entry in (tmp_path / "models").iterdir()] == ["theirs"]


def test_the_command_line_writes_no_graph_that_computes_something_else(kit, parts, tmp_path):
    wrong = replace(
        parts,
        golden={**parts.golden, "prefix": replace(parts.golden["prefix"], valid=parts.golden["prefix"].valid[::-1])},
    )
    found = CliRunner().invoke(command, ["write", str(bundle_of(wrong, tmp_path)), str(tmp_path / "models")])
    assert isinstance(found.exception, BundleError) and not (tmp_path / "models").exists()


def test_the_command_line_names_a_wrong_option(bundle, tmp_path):
    found = CliRunner().invoke(command, ["write", str(bundle.path), str(tmp_path / "m"), "--option", "max_batsh=4"])
    assert found.exit_code == 2 and "max_batsh" in found.output and "max_batch" in found.output


def test_only_a_bundle_with_the_right_signature_is_written(parts, tmp_path):
    path = bundle_of(parts, tmp_path)
    private, public = new_keys()
    (tmp_path / "key.pub").write_bytes(public)
    arguments = ["write", str(path), str(tmp_path / "models"), "--public-key", str(tmp_path / "key.pub")]
    refused = CliRunner().invoke(command, arguments)
    assert isinstance(refused.exception, BundleError) and not (tmp_path / "models").exists()
    put_file(path, "manifest.sig", sign((path / "manifest.json").read_bytes(), private))
    assert CliRunner().invoke(command, arguments).exit_code == 0
    assert (tmp_path / "models" / "sri_signal" / "manifest.sig").exists()


def test_the_readmes_verdict_is_the_scorers(serve, repository, bundle):
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.S)
    scope: dict[str, Any] = {}
    exec(code, scope)
    scorer = Scorer.open(bundle.path)
    url = serve(repository)
    statuses = set()
    for dip, rule in [(0.0, "final"), (DIP, "final"), (0.0, "online"), (DIP, "online")]:
        signals = planted_signals(3, 40, dip=dip)
        sigma = signals.sigma.copy()
        sigma[2, 5, 0] = 7.0
        signals = type(signals)(signals.ids, sigma, signals.logit, signals.fingerprint)
        verdicts = scorer.score(signals, rule=rule)
        for row, verdict in enumerate(verdicts):
            assert scope["verdict"](url, sigma[row].tolist(), rule) == verdict.status
            statuses.add(verdict.status)
    assert statuses == {"clear", "flagged", "unmonitored"}
    assert scope["verdict"]("http://127.0.0.1:1", sigma[0].tolist(), "final") == "unmonitored"
    assert scope["verdict"](url, sigma[0].tolist(), "online", digest="0" * 64) == "unmonitored"
    assert scope["verdict"](url, sigma[0].tolist(), "final", length=3) == "unmonitored"
    assert scope["verdict"](url, sigma[0].tolist(), "online", length=0) == "unmonitored"


@pytest.mark.skipif("SRI_TRITON_URL" not in os.environ, reason="needs a Triton: SRI_TRITON_URL, SRI_TRITON_BUNDLE")
def test_a_real_server_agrees_with_the_bundle_it_serves():
    bundle = Bundle.read(os.environ["SRI_TRITON_BUNDLE"])
    client = Client(os.environ["SRI_TRITON_URL"])
    used = check_served(client, bundle, list(bundle.manifest.graphs), os.environ.get("SRI_TRITON_NAME", "sri"))
    assert all(share <= 1 for share in used.values())

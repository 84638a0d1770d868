"""`sri fit` says when it took a signature away."""

import shutil
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from sri_sdk.cli import fit as module
from sri_sdk.cli import main


@pytest.mark.parametrize("signed", [True, False])
def test_a_fit_that_replaces_a_signed_guard_says_so(tmp_path, monkeypatch, signed):
    out = tmp_path / "out"

    def fit(config, progress, *, recalibrate, executor):
        shutil.rmtree(out / "bundle")
        (out / "bundle").mkdir()
        return SimpleNamespace()

    (out / "bundle").mkdir(parents=True)
    if signed:
        (out / "bundle" / "manifest.sig").write_text("signature")
    monkeypatch.setattr("sri_sdk.fitting.fit.fit", fit)
    monkeypatch.setattr(module, "summary", lambda fitted: {})
    monkeypatch.setattr("sri_sdk.config.load.load_config", lambda path: SimpleNamespace(out=out))
    done = CliRunner().invoke(main, ["fit", "any.yaml", "--json"])
    assert done.exit_code == 0, done.output
    assert ("sri bundle sign" in done.stderr) is signed

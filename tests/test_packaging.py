"""The wheel: what an installation gets, and nothing else."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Names of the files in a freshly built wheel."""
    out = tmp_path_factory.mktemp("wheel")
    # From another folder: a build/ left in the root would be taken for the tool.
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(command, cwd=out, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = out.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def test_only_our_own_names_become_importable(contents: list[str]) -> None:
    tops = {name.partition("/")[0] for name in contents}
    ours = ("sri_plugin_", "sri_exporter_")
    foreign = {top for top in tops if top != "sri_sdk" and not top.startswith(ours) and not top.endswith(".dist-info")}
    assert not foreign
    assert {"sri_sdk", "sri_plugin_toy", "sri_plugin_lab", "sri_plugin_samplers", "sri_exporter_onnx"} <= tops


def test_no_tests_and_no_caches_are_shipped(contents: list[str]) -> None:
    assert not [name for name in contents if "/tests/" in name or "__pycache__" in name]


def test_the_embedded_models_are_inside(contents: list[str]) -> None:
    for model in ("diffusion", "causal"):
        assert f"sri_plugin_lab/weights/{model}/model.safetensors" in contents
        assert f"sri_plugin_lab/weights/{model}/config.json" in contents
    assert "sri_plugin_lab/weights/tokenizer/tokenizer.json" in contents


def test_types_and_licence_are_inside(contents: list[str]) -> None:
    assert "sri_sdk/py.typed" in contents
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in contents)
    assert any(name.endswith(".dist-info/entry_points.txt") for name in contents)


def test_the_texts_of_new_plugins_are_inside(contents: list[str]) -> None:
    texts = [x.relative_to(ROOT).as_posix() for x in (ROOT / "sri_sdk/cli/scaffold_texts").iterdir()]
    assert texts and set(texts) <= set(contents)

"""The public API: small, sorted, documented, and free of charge until it is used."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import sri_sdk

FACADE = ast.parse(Path(sri_sdk.__file__).read_text(encoding="utf-8"))
HEAVY = ("torch", "transformers", "sklearn", "onnx", "onnxruntime", "scipy", "pydantic", "stevedore", "numpy", "yaml")


def test_the_names_are_sorted() -> None:
    assert sri_sdk.__all__ == sorted(sri_sdk.__all__)


def test_editors_and_runtime_know_the_same_names_from_the_same_modules() -> None:
    (block,) = [node for node in FACADE.body if isinstance(node, ast.If)]
    typed = {name.name: line.module for line in block.body for name in line.names if isinstance(line, ast.ImportFrom)}
    assert typed == {name: f"sri_sdk.{home}" for name, home in sri_sdk._HOME.items()}
    assert sorted(typed) == sri_sdk.__all__


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = f"import sys, sri_sdk; loaded = set({HEAVY!r}) & set(sys.modules); assert not loaded, loaded"
    subprocess.run([sys.executable, "-c", code], check=True)


WITHOUT_TORCH = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "transformers", "sklearn", "onnx", "scipy", "skl2onnx"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Refuse())
import sri_sdk
"""


RUN_MODELS = {
    "Deployment", "DeviceTape", "Fitted", "Monitor", "Recovery", "Run", "WatchSettings", "Watched", "Worker", "drive",
    "evaluate", "extract_directions", "fit", "request_spans", "steer", "watch", "watch_settings",
}  # fmt: skip


def test_every_name_but_those_that_run_models_needs_no_torch() -> None:
    code = f"for name in set(sri_sdk.__all__) - {RUN_MODELS!r}: getattr(sri_sdk, name)"
    subprocess.run([sys.executable, "-c", WITHOUT_TORCH + code], check=True)


def test_without_torch_those_say_what_to_install() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_TORCH + "sri_sdk.watch"], capture_output=True, text=True)
    assert 'MissingExtra: sri_sdk.watch needs packages that are not installed. Run: pip install "sri-sdk[capture]"' in (
        done.stderr
    )


@pytest.mark.parametrize("name", sri_sdk.__all__)
def test_a_public_name_exists_and_says_what_it_is(name: str) -> None:
    doc = getattr(sri_sdk, name).__doc__
    # A dataclass without a docstring gets its own signature as one.
    assert doc and not doc.startswith(f"{name}(")


def test_an_unknown_name_is_an_attribute_error_that_lists_the_others() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'wach'; public names: Ablate"):
        sri_sdk.wach  # noqa: B018


def test_every_public_name_shows_up_in_an_editor() -> None:
    assert set(sri_sdk.__all__) <= set(dir(sri_sdk))

"""The command `sri` itself: fast help, clear failures, documented exit codes."""

import subprocess
import sys
import time
import types

import pytest
from click.testing import CliRunner

from sri_sdk import cli
from sri_sdk.errors import ConfigError, ScoringError

HEAVY = ("torch", "transformers", "sklearn", "onnx", "onnxruntime", "scipy", "pydantic", "stevedore", "numpy", "yaml")


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch):
    """Makes `sri doctor` raise whatever is given; returns the runner."""

    def run(error: BaseException, *options: str):
        def body() -> None:
            raise error

        command = cli.click.command()(body)
        monkeypatch.setattr(cli, "import_module", lambda name: types.SimpleNamespace(command=command))
        return CliRunner().invoke(cli.main, [*options, "doctor"])

    return run


def test_help_lists_every_command_and_exit_code_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; from sri_sdk.cli import main; main(['--help'], standalone_mode=False); "
        f"loaded = set({HEAVY!r}) & set(sys.modules); assert not loaded, loaded"
    )
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    # 0.05 s on an idle machine; the bound leaves room for a busy one.
    assert time.perf_counter() - start < 1
    assert all(f"\n  {name} " in done.stdout for name in cli.COMMANDS)
    assert all(f"    {code} " in done.stdout for code in (0, 1, 2, 10, 11, 12, 130))


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_in_the_table_exists_and_explains_itself(name: str) -> None:
    done = CliRunner().invoke(cli.main, [name, "--help"])
    assert done.exit_code == 0, done.output
    assert done.output.startswith("Usage:")


def test_an_unknown_command_is_wrong_usage_with_the_closest_name() -> None:
    done = CliRunner().invoke(cli.main, ["scroe"])
    assert done.exit_code == 2
    assert "Did you mean 'score'?" in done.stderr


def test_a_mistake_is_one_line_and_exit_code_1(failing) -> None:
    done = failing(ScoringError("signals.npz: 31 cells,\n  the detector reads 32."))
    assert done.exit_code == 1
    assert done.stderr == "error: signals.npz: 31 cells, the detector reads 32.\n"
    assert done.stdout == ""


def test_several_problems_are_one_line_each(failing) -> None:
    done = failing(ConfigError("two", ["a.yaml: x: wrong", "a.yaml: y: wrong"]))
    assert done.stderr.splitlines() == ["error: a.yaml: x: wrong", "error: a.yaml: y: wrong"]


def test_a_mistake_keeps_its_traceback_with_debug(failing) -> None:
    assert isinstance(failing(ScoringError("wrong"), "--debug").exception, ScoringError)


def test_a_bug_keeps_its_traceback(failing) -> None:
    assert isinstance(failing(ZeroDivisionError()).exception, ZeroDivisionError)


def test_a_missing_extra_is_one_line_with_its_cure(failing) -> None:
    done = failing(ModuleNotFoundError("No module named 'torch.nn'", name="torch.nn"))
    assert done.exit_code == 1
    assert done.stderr == (
        'error: sri doctor needs packages that are not installed. Run: pip install "sri-sdk[capture]"\n'
    )
    assert isinstance(failing(ModuleNotFoundError(name="mine")).exception, ModuleNotFoundError)


def test_an_interrupt_exits_with_130(failing) -> None:
    assert failing(KeyboardInterrupt()).exit_code == 130


def test_the_version_is_printed() -> None:
    assert CliRunner().invoke(cli.main, ["--version"]).output == f"sri {cli.__version__}\n"

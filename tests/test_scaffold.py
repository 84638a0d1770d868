"""`sri plugins new`: what it writes installs, is found, keeps its promises and leaves without a trace."""

import ast
import importlib
import json
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from click.testing import CliRunner
from transformers import GenerationConfig

from sri_sdk import watch
from sri_sdk.cli import main
from sri_sdk.cli.scaffold import KINDS, SCHEMES, write_plugin

CHOICES = [(kind, ()) for kind in KINDS if kind != "hook"] + [("hook", ("--scheme", scheme)) for scheme in SCHEMES]
"""Every kind, and the options that choose what is written for it."""


def named(choice: tuple[str, tuple[str, ...]]) -> str:
    return " ".join([choice[0], *choice[1][1:]])


def new(*arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(main, ["plugins", "new", *arguments])
    assert done.exit_code == code, done.output
    return done.stdout if code == 0 else done.stderr


@pytest.fixture(params=CHOICES, ids=named)
def made(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    kind, options = request.param
    new("acme-nine", "--kind", kind, *options, "--out", str(tmp_path / "made"))
    return kind, tmp_path / "made"


def test_the_entry_point_leads_to_a_class_that_is_there(made: tuple[str, Path]) -> None:
    kind, folder = made
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert project["entry-points"] == {
        f"sri.{kind}s": {"acme-nine": f"sri_plugin_acme_nine.{kind}:AcmeNine{kind.capitalize()}"}
    }
    module = ast.parse((folder / "sri_plugin_acme_nine" / f"{kind}.py").read_text())
    assert f"AcmeNine{kind.capitalize()}" in [node.name for node in module.body if isinstance(node, ast.ClassDef)]


def test_nothing_speaks_of_the_toy_or_of_copying_or_is_left_to_fill_in(made: tuple[str, Path]) -> None:
    kind, folder = made
    for file in (x for x in folder.rglob("*") if x.is_file()):
        text = file.read_text().lower()
        assert "copy this" not in text, file
        assert "toy" not in text or (kind == "sampler" and file.parent.name == "tests"), file
        assert not [word for word in ("{kind}", "{name}", "{camel}", "{class}", "{package}") if word in text], file


def test_the_scheme_decides_which_hook_is_written_and_masked_is_the_default(tmp_path: Path) -> None:
    for scheme, options in [("masked", []), ("masked", ["--scheme", "masked"]), ("autoregressive", None)]:
        folder = tmp_path / f"{scheme}-{options}"
        options = ["--scheme", scheme] if options is None else options
        new("acme", "--kind", "hook", *options, "--out", str(folder))
        assert f'scheme = "{scheme}"' in (folder / "sri_plugin_acme" / "hook.py").read_text()
    assert "new acme --kind hook --scheme autoregressive`" in (folder / "README.md").read_text()


def test_a_scheme_for_another_kind_is_wrong_usage(tmp_path: Path) -> None:
    said = new("acme", "--kind", "sampler", "--scheme", "masked", "--out", str(tmp_path / "made"), code=2)
    assert "--scheme is for --kind hook" in said
    assert list(tmp_path.iterdir()) == []


def test_the_ci_file_is_yaml_and_runs_the_kit(made: tuple[str, Path]) -> None:
    kind, folder = made
    steps = yaml.safe_load((folder / ".github" / "workflows" / "test.yml").read_text())["jobs"]["test"]["steps"]
    assert [step["run"] for step in steps if "run" in step] == [
        "pip install -e . pytest", f"sri plugins list --check --kind {kind}s", f"sri check {kind} acme-nine", "pytest"
    ]  # fmt: skip


def test_the_next_steps_are_printed(tmp_path: Path) -> None:
    said = new("acme", "--kind", "detector", "--out", str(tmp_path / "my plugin"))
    assert f"pip install -e '{tmp_path}/my plugin'" in said
    assert "sri check detector acme" in said


def test_an_existing_folder_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    said = new("acme", "--kind", "hook", "--out", str(tmp_path / "mine"), code=1)
    assert "exists already" in said and "--out" in said
    assert (tmp_path / "mine").read_text() == "precious"


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> int:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="disk full"):
        write_plugin("acme", "hook", tmp_path / "mine")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "because"),
    [
        ("Acme_Nine", "Did you mean 'acme-nine'?"),
        ("9lives", "Did you mean 'lives'?"),
        ("a--b", "single hyphens"),
        ("../up", "lower-case letters"),
        ("toy", "sri-sdk has a hook of that name"),
        ("lab", "a package sri_plugin_lab is installed"),
    ],
)
def test_a_name_that_cannot_be_used_is_refused(tmp_path: Path, name: str, because: str) -> None:
    assert because in new(name, "--kind", "hook", "--out", str(tmp_path / "made"), code=1)
    assert list(tmp_path.iterdir()) == []


# -- a generated hook --------------------------------------------------------------------------------------------


ENDS = {
    "an argument": lambda end: {"eos_token_id": end},
    "a list": lambda end: {"eos_token_id": [end, 1]},
    "a tensor": lambda end: {"eos_token_id": torch.tensor(end)},
    "a config": lambda end: {"generation_config": GenerationConfig(eos_token_id=end, pad_token_id=0)},
    "both": lambda end: {"eos_token_id": end, "generation_config": GenerationConfig(eos_token_id=3, pad_token_id=0)},
}


@pytest.mark.parametrize("given", ENDS.values(), ids=ENDS)
@pytest.mark.parametrize("own", [None, 2, "taken"])
def test_the_autoregressive_hook_counts_right_when_only_the_call_names_the_end(
    generated: tuple[Any, Any], given: Callable[[int], dict[str, Any]], own: int | str | None
) -> None:
    hook, prompts = generated
    model, width = hook.model, prompts.input_ids.shape[1]
    asked = {"attention_mask": prompts.attention_mask, "max_new_tokens": 6, "do_sample": False}
    model.generation_config.eos_token_id = None
    free = model.generate(prompts.input_ids, **asked)[:, width:]
    end = int(free[0, 2])
    # A token of the text that the model's own config calls an end is none where the call names another.
    model.generation_config.eos_token_id = int(free[1, 1]) if own == "taken" else own
    with watch(model, hook=hook) as run:
        tokens = model.generate(prompts.input_ids, **asked, **given(end))[:, width:]
    expected = [row.index(end) + 1 if end in row else len(row) for row in tokens.tolist()]
    assert expected[0] == 3 and max(expected) > 3
    assert [trace.steps for trace in run.traces] == expected
    assert [trace.reasons for trace in run.traces] == [()] * len(expected)


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Any]]:
    """The autoregressive hook that is written, on its own model, and the prompts of its example."""
    folder = tmp_path_factory.mktemp("ends") / "made"
    new("acme-ends", "--kind", "hook", "--scheme", "autoregressive", "--out", str(folder))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        case = importlib.import_module("sri_plugin_acme_ends.hook").AcmeEndsHook.example()
        yield case.hook, case.encoded
    for name in [name for name in sys.modules if name.startswith("sri_plugin_acme_ends")]:
        del sys.modules[name]


# -- a fresh environment -----------------------------------------------------------------------------------------


class Fresh:
    """An environment of its own that sees the packages of this one, so that nothing is downloaded."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder / "venv", with_pip=False)
        self.folder, self.python = folder, folder / "venv" / "bin" / "python"
        paths = {"base": str(folder / "venv"), "platbase": str(folder / "venv")}
        site = Path(sysconfig.get_path("purelib", "venv", paths))
        # --system-site-packages would show the base interpreter's packages, not those of the environment we run in;
        # addsitedir also follows the .pth file of an editable sri-sdk.
        (site / "outer.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")

    def __call__(self, *arguments: str) -> str:
        done = subprocess.run([self.python, *arguments], cwd=self.folder, capture_output=True, text=True)
        assert done.returncode == 0, f"{arguments}:\n{done.stdout}{done.stderr}"
        return done.stdout

    def plugins(self) -> set[tuple[str, str]]:
        listed = json.loads(self("-m", "sri_sdk.cli", "plugins", "list", "--json"))
        return {(each["kind"], each["name"]) for each in listed}


CHECKS_ALL = """
import sys
from sri_sdk.cli import main
asked = [each.split() for each in sys.argv[1:]]
sys.exit(sum(main(["check", *each], standalone_mode=False) or 0 for each in asked))
"""
"""`sri check` for each pair of a kind and a name, in a process that imports torch once."""


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(sys.platform == "win32", reason="environments are laid out differently")
def test_new_plugins_of_every_kind_install_pass_and_leave_the_rest_unharmed(tmp_path: Path) -> None:
    fresh = Fresh(tmp_path)
    before = fresh.plugins()
    names = {f"acme-{named(choice).replace(' ', '-')}": choice for choice in CHOICES}
    for name, (kind, options) in names.items():
        new(name, "--kind", kind, *options, "--out", str(tmp_path / "made" / name))
    folders = [f"./made/{name}" for name in names]
    fresh("-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", *folders)
    assert fresh.plugins() == before | {(f"{kind}s", name) for name, (kind, _) in names.items()}
    fresh("-m", "sri_sdk.cli", "plugins", "list", "--check")
    passed = fresh("-m", "pytest", "-p", "no:cacheprovider", "--import-mode=importlib", "--rootdir=.", *folders)
    assert [name for name in names if f"made/{name}/tests" not in passed] == []
    checked = fresh("-c", CHECKS_ALL, *(f"{kind} {name}" for name, (kind, _) in names.items()))
    assert [name for name in names if not re.search(rf"plugin '{name}': (\d+) of \1 checks passed", checked)] == []
    fresh("-m", "pip", "uninstall", "--quiet", "--yes", *(f"sri-plugin-{name}" for name in names))
    assert fresh.plugins() == before

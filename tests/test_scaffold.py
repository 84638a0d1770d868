"""`sri plugins new`: what it writes installs, is found, keeps its promises and leaves without a trace."""

import ast
import importlib.util
import json
import subprocess
import sys
import sysconfig
import tomllib
import venv
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

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
        done = subprocess.run([self.python, "-m", *arguments], cwd=self.folder, capture_output=True, text=True)
        assert done.returncode == 0, f"{arguments}:\n{done.stdout}{done.stderr}"
        return done.stdout

    def plugins(self) -> list[tuple[str, str]]:
        return [(x["kind"], x["name"]) for x in json.loads(self("sri_sdk.cli", "plugins", "list", "--json"))]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="environments are laid out differently")
@pytest.mark.parametrize(("kind", "options"), CHOICES, ids=map(named, CHOICES))
def test_a_new_plugin_installs_passes_and_leaves_the_rest_unharmed(
    tmp_path: Path, kind: str, options: tuple[str, ...]
) -> None:
    fresh = Fresh(tmp_path)
    before = fresh.plugins()
    fresh("sri_sdk.cli", "plugins", "new", "acme-nine", "--kind", kind, *options, "--out", "made")
    fresh("pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "./made")
    assert (f"{kind}s", "acme-nine") in fresh.plugins()
    fresh("sri_sdk.cli", "plugins", "list", "--check")
    fresh("pytest", "-q", "-p", "no:cacheprovider", "made")
    if importlib.util.find_spec("sri_sdk.cli.check") is not None:
        fresh("sri_sdk.cli", "check", kind, "acme-nine")
    fresh("pip", "uninstall", "--quiet", "--yes", "sri-plugin-acme-nine")
    assert fresh.plugins() == before

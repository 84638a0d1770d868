"""The registry against distributions made up on the spot."""

import importlib
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from sri_sdk import registry
from sri_sdk.errors import ConfigError, PluginConflict, PluginLoadFailed, PluginNotFound, PluginWrongApi

SINK = """
    from pydantic import Field
    import sri_sdk
    SRI_PLUGIN_API = 1
    class FakeSink(sri_sdk.Sink):
        class Config(sri_sdk.Config):
            size: int = Field(default=4, ge=1)
            colour: str = "red"
        def emit(self, verdict): ...
"""
Install = Callable[..., str]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Writes a module and the metadata of the distribution that owns it; returns the target `module:class`."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def write(name: str, source: str = SINK, *, dist: str = "fake-dist", target: str = "", kind: str = "sinks") -> str:
        module = f"fake_{dist.replace('-', '_')}_{name.replace('-', '_')}"
        (tmp_path / f"{module}.py").write_text(textwrap.dedent(source))
        target = target or f"{module}:FakeSink"
        info = tmp_path / f"{dist.replace('-', '_')}-2.5.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist}\nVersion: 2.5\n")
        with (info / "entry_points.txt").open("a") as stream:
            stream.write(f"[sri.{kind}]\n{name} = {target}\n")
        importlib.invalidate_caches()
        return target

    yield write
    for name in set(sys.modules) - before:
        if name.startswith("fake_"):
            del sys.modules[name]


def test_a_plugin_is_found_loaded_and_built_by_name(install: Install) -> None:
    target = install("files")
    assert registry.PluginInfo("sinks", "files", target, "fake-dist", "2.5") in registry.installed("sinks")
    assert registry.build("sinks", "files", {"size": 9}).config.size == 9
    assert registry.build("sinks", "files").config.size == 4


def test_loading_one_plugin_does_not_import_another(install: Install) -> None:
    install("files")
    other = install("other").partition(":")[0]
    registry.installed()
    registry.load("sinks", "files")
    assert other not in sys.modules


def test_an_unknown_name_is_answered_with_the_closest_one(install: Install) -> None:
    install("files")
    with pytest.raises(PluginNotFound, match=r"'fils' is not installed; installed: .*files.* Did you mean 'files'\?"):
        registry.load("sinks", "fils")


def test_an_unknown_kind_is_answered_with_the_kinds() -> None:
    with pytest.raises(PluginNotFound, match="Did you mean 'hooks'"):
        registry.installed("hoks")


@pytest.mark.parametrize(
    ("line", "message"),
    [("SRI_PLUGIN_API = 7", "version 7 .* this SDK has version 1 of sinks"), ("", "Add the line `SRI_PLUGIN_API = 1`")],
)
def test_another_plugin_api_is_refused_before_anything_is_built(install: Install, line: str, message: str) -> None:
    install("files", SINK.replace("SRI_PLUGIN_API = 1", line))
    with pytest.raises(PluginWrongApi, match=message):
        registry.build("sinks", "files")


@pytest.fixture
def two_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    """The release that brings API 2 of sinks."""
    monkeypatch.setitem(registry.KINDS, "sinks", registry.Kind("sri.sinks", registry.Sink, (1, 2)))


@pytest.mark.usefixtures("two_versions")
def test_while_two_versions_are_accepted_the_older_one_works_with_a_warning_that_says_what_ends(
    install: Install, recwarn: pytest.WarningsRecorder
) -> None:
    install("files")
    assert registry.build("sinks", "files").config.size == 4
    assert registry.build("sinks", "files").config.size == 4
    (heard,) = {str(warning.message) for warning in recwarn}
    assert "from fake-dist 2.5" in heard and "version 1 of the plugin API of sinks" in heard and "last minor" in heard


@pytest.mark.usefixtures("two_versions")
def test_while_two_versions_are_accepted_the_newer_one_works_without_a_word(
    install: Install, recwarn: pytest.WarningsRecorder
) -> None:
    install("files", SINK.replace("SRI_PLUGIN_API = 1", "SRI_PLUGIN_API = 2"))
    assert registry.build("sinks", "files").config.size == 4
    assert not recwarn.list


@pytest.mark.usefixtures("two_versions")
@pytest.mark.parametrize(
    ("found", "message"),
    [("3", "version 2 of sinks, and still accepts 1. Upgrade sri-sdk"), ("0", "Install the plugin's"), ("'1'", "'1'")],
)
def test_a_third_version_is_refused_with_those_that_are_accepted(install: Install, found: str, message: str) -> None:
    install("files", SINK.replace("SRI_PLUGIN_API = 1", f"SRI_PLUGIN_API = {found}"))
    with pytest.raises(PluginWrongApi, match=message):
        registry.load("sinks", "files")


def test_hooks_are_at_version_2_and_still_accept_1_every_other_kind_is_at_version_1() -> None:
    wanted = {**dict.fromkeys(registry.KINDS, (1,)), "hooks": (1, 2)}
    assert {kind: k.apis for kind, k in registry.KINDS.items()} == wanted


def test_a_failing_import_names_distribution_target_and_error(install: Install) -> None:
    target = install("files", "raise RuntimeError('no licence key')")
    with pytest.raises(PluginLoadFailed, match=f"{target}, from fake-dist 2.5.*RuntimeError: no licence key"):
        registry.load("sinks", "files")


@pytest.mark.parametrize(
    ("package", "cure"),
    [
        ("torch", r'pip install "sri-sdk\[capture\]"'),
        ("sklearn", r'pip install "sri-sdk\[train\]"'),
        ("nowhere", "Install the package that provides 'nowhere'"),
    ],
)
def test_a_missing_package_comes_with_its_cure(
    install: Install, monkeypatch: pytest.MonkeyPatch, package: str, cure: str
) -> None:
    install("files", f"raise ModuleNotFoundError('gone', name='{package}.sub')")
    with pytest.raises(PluginLoadFailed, match=cure):
        registry.load("sinks", "files")


def test_a_class_of_another_kind_is_refused(install: Install) -> None:
    install("files", kind="judges")
    with pytest.raises(PluginLoadFailed, match=r"not a subclass of sri_sdk\.Judge"):
        registry.load("judges", "files")


def test_the_interface_is_named_as_a_vendor_imports_it(install: Install) -> None:
    install("files", kind="attacks")
    with pytest.raises(PluginLoadFailed, match=r"not a subclass of sri_sdk\.Attack"):
        registry.load("attacks", "files")


def test_a_class_that_leaves_promises_open_is_refused_by_their_names(install: Install) -> None:
    install("files", SINK.replace("def emit", "def omit"))
    with pytest.raises(PluginLoadFailed, match="FakeSink lacks emit"):
        registry.load("sinks", "files")


def test_a_sampler_must_say_which_schemes_it_drives(install: Install) -> None:
    source = SINK.replace("sri_sdk.Sink", "sri_sdk.Sampler").replace("def emit", "budget = canvas = steps = print #")
    install("files", source, kind="samplers")
    with pytest.raises(PluginLoadFailed, match="FakeSink lacks schemes"):
        registry.load("samplers", "files")


def test_two_targets_under_one_name_are_a_conflict_that_names_both(install: Install) -> None:
    install("files", dist="first")
    install("files", dist="second")
    with pytest.raises(PluginConflict, match=r"first -> fake_first_files.*second -> fake_second_files"):
        registry.load("sinks", "files")


def test_the_same_target_installed_twice_is_one_plugin(install: Install) -> None:
    target = install("files", dist="first")
    install("files", dist="second", target=target)
    assert registry.load("sinks", "files").__name__ == "FakeSink"
    (info,) = [x for x in registry.installed("sinks") if x.name == "files"]
    assert info.distribution == "first, second"


def test_every_mistake_in_the_options_is_reported_at_once(install: Install) -> None:
    install("files")
    with pytest.raises(ConfigError) as caught:
        registry.build("sinks", "files", {"size": 0, "color": "blue"})
    assert len(caught.value.problems) == 2
    assert "color: unknown key; allowed: size, colour. Did you mean 'colour'?" in caught.value.problems


def test_a_constructor_that_fails_is_a_load_failure(install: Install) -> None:
    install("files", SINK + "        def __init__(self, config=None): raise OSError('disk full')\n")
    with pytest.raises(PluginLoadFailed, match=r"building it failed with OSError: disk full"):
        registry.build("sinks", "files")


def test_every_shipped_plugin_loads_without_torch_sklearn_or_onnx() -> None:
    code = """
        import sys
        from sri_sdk import registry
        for info in registry.installed():
            registry.load(info.kind, info.name)
        heavy = {"torch", "transformers", "sklearn", "onnx", "onnxruntime", "scipy", "matplotlib"} & set(sys.modules)
        assert not heavy, heavy
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)

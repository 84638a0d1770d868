"""Who may import whom, read from the source itself.

    records errors plugin files  <-  extension points, signal, grid, graph, fingerprint  <-  anchors, config, registry,
    bundle, calibrate  <-  scoring  <-  capture, steer, evaluate, monitor, report, testing  <-  fitting  <-  experiment
    <-  cli

A module imports from its own layer or from lower ones, also inside functions. Plugins stand outside: they see what a
vendor sees.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

import sri_sdk

ROOT = Path(__file__).parents[1]
CORE = sorted((ROOT / "sri_sdk").rglob("*.py"))
PLUGINS = sorted(file for kind in ("plugins", "exporters") for file in ROOT.glob(f"{kind}/*/sri_*/**/*.py"))

LAYERS = [
    "records errors extras plugin files _version structure stored_zip signature bundle_files tree_ensemble torch_onnx",
    "canvas hook sampler detector exporter sink judge dataset target attack baseline prefill "
    "signal grid graph signal_graph fingerprint",
    "anchors checkpoint options config_model evaluation_model config_check evaluation_check config registry "
    "second_model manifest bundle golden packed_array guard_graphs calibrate",
    "scoring",
    "capture steer evaluate monitor report testing",
    "fitting",
    "experiment",
    "cli",
]
LAYER_OF = {module: level for level, modules in enumerate(LAYERS) for module in modules.split()}

HEAVY = {"torch", "transformers", "safetensors", "sklearn", "skl2onnx", "onnx", "scipy", "matplotlib", "jinja2", "rich"}
AT_TOP = {"capture": {"torch"}, "steer": {"torch"}, "testing": {"torch"}, "report": {"matplotlib", "jinja2"}}
"""Folders that are about a heavy package, and are themselves imported only by those who need it."""
ONLY_IN = {
    "stevedore": "sri_sdk/registry.py",
    "yaml": "sri_sdk/config.py",
    "onnxruntime": "sri_sdk/scoring/runtime.py",
}
"""Package -> the one file that may know it."""
EXECUTES_DATA = {"pickle", "cPickle", "joblib", "dill", "cloudpickle", "shelve", "marshal"}

PLUGINS_MAY_IMPORT = {
    "errors", "records", "testing", "structure", "canvas", "checkpoint", "second_model", "attack", "baseline",
    "target", "prefill", "torch_onnx",
}  # fmt: skip
"""Beside the public names: errors to raise, the constants and words of the records, the conformance kit, and what hooks
share: finding modules, keeping track of a canvas, loading weights."""
EXPORTERS_MAY_IMPORT = {"bundle", "files", "golden", "graph", "guard_graphs", "manifest", "registry", "scoring"}
"""Exporters also see the artefact they write or repackage, how it is scored, and the nodes of a drawing."""


@dataclass(frozen=True)
class Import:
    """One imported name."""

    module: str
    """Where it lives: `sri_sdk.hook` for `from sri_sdk import Hook`."""
    written: str
    """The module as the file names it: `sri_sdk`."""
    line: int
    at_top: bool


@cache
def imports(file: Path) -> tuple[Import, ...]:
    return tuple(_imports(ast.parse(file.read_text(encoding="utf-8")), file, at_top=True))


def _imports(node: ast.AST, file: Path, *, at_top: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (Import(alias.name, alias.name, child.lineno, at_top) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            base = _absolute(child, file)
            yield from (Import(_resolved(base, alias.name), base, child.lineno, at_top) for alias in child.names)
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            yield from (found for other in child.orelse for found in _imports(other, file, at_top=at_top))
        else:
            inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from _imports(child, file, at_top=at_top and not inside)


def _absolute(node: ast.ImportFrom, file: Path) -> str:
    if not node.level:
        return node.module or ""
    package = file.relative_to(_import_root(file)).parts[: -node.level]
    return ".".join([*package, *([node.module] if node.module else [])])


def _import_root(file: Path) -> Path:
    return next(folder.parent for folder in file.parents if folder.name.startswith("sri_"))


def _resolved(base: str, name: str) -> str:
    """`from sri_sdk import Hook` imports sri_sdk.hook, and `from sri_sdk import registry` imports sri_sdk.registry."""
    if base != "sri_sdk":
        return base
    return f"sri_sdk.{sri_sdk._HOME.get(name, name)}"


def name_of(file: Path) -> str:
    return str(file.relative_to(ROOT))


@pytest.mark.parametrize("file", CORE, ids=name_of)
def test_a_module_imports_only_from_its_own_layer_and_below(file: Path) -> None:
    module = file.relative_to(ROOT / "sri_sdk").with_suffix("").parts[0]
    if module == "__init__":
        return  # The facade names everything and imports nothing until it is asked.
    assert module in LAYER_OF, f"sri_sdk.{module} has no layer yet: add it to LAYERS in tests/test_layers.py"
    for found in imports(file):
        if found.module.startswith("sri_sdk."):
            other = found.module.split(".")[1]
            assert other in LAYER_OF, (
                f"{file}:{found.line}: sri_sdk.{other} has no layer: add it to LAYERS in {__file__}"
            )
            assert LAYER_OF[other] <= LAYER_OF[module], (
                f"{file}:{found.line}: {module} (layer {LAYER_OF[module]}) imports {other} (layer {LAYER_OF[other]})"
            )


@pytest.mark.parametrize("file", CORE, ids=name_of)
def test_heavy_packages_wait_until_they_are_needed(file: Path) -> None:
    allowed = AT_TOP.get(file.relative_to(ROOT / "sri_sdk").parts[0], set())
    early = {f.module.partition(".")[0] for f in imports(file) if f.at_top} & HEAVY - allowed
    assert not early, f"{file}: imports {early} at its top; import it inside the function that needs it"


@pytest.mark.parametrize("file", [*CORE, *PLUGINS], ids=name_of)
def test_a_foreign_package_is_known_to_one_file_only(file: Path) -> None:
    for found in imports(file):
        home = ONLY_IN.get(found.module.partition(".")[0])
        assert home in (None, name_of(file)), f"{file}:{found.line}: {found.module} may be imported only in {home}"


@pytest.mark.parametrize("file", [*CORE, *PLUGINS], ids=name_of)
def test_nothing_reads_data_that_could_execute(file: Path) -> None:
    for found in imports(file):
        assert found.module.partition(".")[0] not in EXECUTES_DATA, f"{file}:{found.line}: {found.module}"
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute):
            assert ast.unparse(node) != "torch.load", f"{file}:{node.lineno}: torch.load unpickles; use safetensors"
        if isinstance(node, ast.keyword):
            assert ast.unparse(node) != "allow_pickle=True", f"{file}:{node.value.lineno}: allow_pickle=True"


@pytest.mark.parametrize("file", PLUGINS, ids=name_of)
def test_a_plugin_imports_only_what_a_vendor_may(file: Path) -> None:
    own = file.relative_to(_import_root(file)).parts[0]
    allowed = PLUGINS_MAY_IMPORT | (EXPORTERS_MAY_IMPORT if own.startswith("sri_exporter_") else set())
    for found in imports(file):
        root, _, rest = found.written.partition(".")
        assert not root.startswith(("sri_plugin_", "sri_exporter_")) or root == own, f"{file}:{found.line}: {root}"
        if root == "sri_sdk" and rest:
            assert rest.partition(".")[0] in allowed, (
                f"{file}:{found.line}: {found.written} is not public; allowed: sri_sdk, {', '.join(sorted(allowed))}"
            )


@pytest.mark.parametrize("file", PLUGINS, ids=name_of)
def test_a_plugin_uses_only_public_names(file: Path) -> None:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "sri_sdk":
            assert node.attr in {*sri_sdk.__all__, "__version__"}, f"{file}:{node.lineno}: sri_sdk.{node.attr}"
        if isinstance(node, ast.ImportFrom) and node.module == "sri_sdk":
            hidden = {alias.name for alias in node.names} - {*sri_sdk.__all__, *PLUGINS_MAY_IMPORT}
            assert not hidden, f"{file}:{node.lineno}: {hidden}"

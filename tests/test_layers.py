"""Who may import whom, read from the source itself. `tests/house.py` has the arithmetic and prints the house.

A module imports from its own floor or from lower ones, also inside functions. Plugins stand outside: they see what a
vendor sees.
"""

import ast
import re
from pathlib import Path

import sri_sdk
from tests.house import CORE, PLUGINS, ROOT, arrows, circles, floors, import_root, imports, module_of, rooms

LAYERS = [
    "_version errors files grid observation older_hooks plugin pooling reason_words records recovery_plan request_map "
    "signal strict_json text thoughts verdict_json",
    "calibrate canvas checkpoint dataset edit_flows executor fingerprint graph judge options plugin_api policy prefill "
    "sink structure",
    "anchors detector emitter hook metrics",
    "bundle report sampler target",
    "attack baseline exporter scoring",
    "client registry",
    "capture config second_model",
    "engine fitting serve steer",
    "dashboard evaluation monitor testing",
    "cli",
]
"""Floors, the lowest first."""
LAYER_OF = {room: level for level, names in enumerate(LAYERS) for room in names.split()}
MOST_FLOORS = 10

HEAVY = {"torch", "transformers", "safetensors", "sklearn", "skl2onnx", "onnx", "scipy", "matplotlib", "jinja2", "rich"}
AT_TOP = {
    "capture": {"torch"}, "engine": {"torch"}, "steer": {"torch"}, "testing": {"torch"},
    "report": {"matplotlib", "jinja2"}, "dashboard": {"jinja2"},
}  # fmt: skip
"""Folders that are about a heavy package, and are themselves imported only by those who need it."""
ONLY_IN = {
    "stevedore": "sri_sdk/registry.py",
    "yaml": "sri_sdk/config/strict_yaml.py",
    "onnxruntime": "sri_sdk/scoring/runtime.py",
}
"""Package -> the one file that may know it."""
EXECUTES_DATA = {"pickle", "cPickle", "joblib", "dill", "cloudpickle", "shelve", "marshal"}

PLUGINS_MAY_IMPORT = {
    "errors", "records", "testing", "structure", "canvas", "checkpoint", "second_model", "attack", "baseline",
    "target", "prefill", "graph", "text", "strict_json", "thoughts", "engine", "edit_flows",
}  # fmt: skip
"""Beside the public names: errors to raise, the constants and words of the records, the conformance kit, and what hooks
share: finding modules, what says that tokens move, keeping track of a canvas, loading weights; the one grammar of JSON;
and requests of engines."""
EXPORTERS_MAY_IMPORT = {"bundle", "files", "registry", "scoring"}
"""Exporters also see the artefact they write or repackage, and how it is scored."""


def at(file: Path, line: int) -> str:
    return f"{file.relative_to(ROOT)}:{line}"


def room_of(file: Path) -> str:
    return file.relative_to(ROOT / "sri_sdk").with_suffix("").parts[0]


def test_every_room_has_a_floor() -> None:
    missing = {room_of(file) for file in CORE} - LAYER_OF.keys() - {"__init__"}
    assert not missing, "add these rooms to LAYERS, and to the map in CONTRIBUTING.md"


def test_a_module_imports_only_from_its_own_floor_and_below() -> None:
    climbing = [
        f"{at(file, found.line)}: {room_of(file)} imports {other}, which lies above it"
        for file in CORE
        for found in imports(file)
        if room_of(file) != "__init__" and found.module.startswith("sri_sdk.")
        # A name that is no room is one of the package's own: its version.
        if (other := found.module.split(".")[1]) in LAYER_OF and LAYER_OF[other] > LAYER_OF[room_of(file)]
    ]
    assert not climbing


def test_the_house_has_few_floors_and_no_circle() -> None:
    modules = arrows("sri_sdk", CORE)
    assert not circles(modules)
    assert not circles(rooms(modules))
    assert max(floors(rooms(modules)).values()) <= MOST_FLOORS


def test_no_plugin_imports_in_a_circle() -> None:
    packages = {module_of(file).partition(".")[0] for file in PLUGINS}
    assert not [found for package in packages for found in circles(arrows(package, PLUGINS))]


def test_heavy_packages_wait_until_they_are_needed() -> None:
    early = [
        f"{at(file, found.line)}: {found.module} at the top; import it inside the function that needs it"
        for file in CORE
        for found in imports(file)
        if found.at_top and found.module.partition(".")[0] in HEAVY - AT_TOP.get(room_of(file), set())
    ]
    assert not early


def test_a_foreign_package_is_known_to_one_file_only() -> None:
    strays = [
        f"{at(file, found.line)}: {found.module} may be imported only in {home}"
        for file in [*CORE, *PLUGINS]
        for found in imports(file)
        if (home := ONLY_IN.get(found.module.partition(".")[0])) not in (None, str(file.relative_to(ROOT)))
    ]
    assert not strays


def test_nothing_reads_data_that_could_execute() -> None:
    unsafe = []
    for file in [*CORE, *PLUGINS]:
        unsafe += [at(file, f.line) for f in imports(file) if f.module.partition(".")[0] in EXECUTES_DATA]
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and ast.unparse(node) == "torch.load":
                unsafe.append(f"{at(file, node.lineno)}: torch.load unpickles; use safetensors")
            if isinstance(node, ast.keyword) and ast.unparse(node) == "allow_pickle=True":
                unsafe.append(f"{at(file, node.value.lineno)}: allow_pickle=True")
    assert not unsafe


JSON_READERS = {"json.load", "json.loads", "json.JSONDecoder"}
OTHER_JSON_READERS = {"model_validate_json", "validate_json", "from_json"}
"""Of pydantic."""
MAY_READ_JSON = {
    "sri_sdk/strict_json.py": "json.loads",
    "sri_sdk/bundle/manifest.py": "model_validate_json",  # Of bytes that `strict_json.parse` has read before.
}


def test_json_is_read_by_one_grammar_only() -> None:
    """Lenient readers take a key twice, NaN and half a surrogate pair, and each takes something else."""
    found = []
    for file in [*CORE, *PLUGINS, *sorted((ROOT / "benchmarks").glob("*.py"))]:
        text = file.read_text(encoding="utf-8")
        # Also in the text of programs that run elsewhere.
        calls = {word for word in JSON_READERS if re.search(rf"\b{re.escape(word)}\b", text)}
        calls |= {word for word in OTHER_JSON_READERS if re.search(rf"\.{word}\(", text)}
        calls |= {"from json import"} if re.search(r"^\s*from json\b", text, re.MULTILINE) else set()
        calls |= {name for name in ("orjson", "simplejson", "ujson") if re.search(rf"\bimport {name}\b", text)}
        calls |= {".json()"} if re.search(r"\.json\(\)", text) else set()  # Of a response of HTTP.
        calls -= {MAY_READ_JSON.get(str(file.relative_to(ROOT)))}
        found += [f"{file.relative_to(ROOT)}: {call}; use sri_sdk.strict_json.parse" for call in sorted(calls)]
    assert not found


def test_a_plugin_imports_only_what_a_vendor_may() -> None:
    wrong = []
    for file in PLUGINS:
        own = file.relative_to(import_root(file)).parts[0]
        allowed = PLUGINS_MAY_IMPORT | (EXPORTERS_MAY_IMPORT if own.startswith("sri_exporter_") else set())
        for found in imports(file):
            package, _, rest = found.written.partition(".")
            if package.startswith(("sri_plugin_", "sri_exporter_")) and package != own:
                wrong.append(f"{at(file, found.line)}: {package} is another plugin")
            if package == "sri_sdk" and rest and rest.partition(".")[0] not in allowed:
                wrong.append(f"{at(file, found.line)}: {found.written} is not public; allowed: {sorted(allowed)}")
    assert not wrong


def test_a_plugin_uses_only_public_names() -> None:
    wrong = []
    for file in PLUGINS:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "sri_sdk":
                if node.attr not in {*sri_sdk.__all__, "__version__"}:
                    wrong.append(f"{at(file, node.lineno)}: sri_sdk.{node.attr}")
            elif isinstance(node, ast.ImportFrom) and node.module == "sri_sdk":
                hidden = {alias.name for alias in node.names} - {*sri_sdk.__all__, *PLUGINS_MAY_IMPORT}
                hidden -= EXPORTERS_MAY_IMPORT if "exporters" in file.parts else set()
                wrong += [f"{at(file, node.lineno)}: {name}" for name in sorted(hidden)]
    assert not wrong

"""The house in numbers: rooms, floors, arrows and circles of the source, read from its imports.

    python -m tests.house     a table for `CONTRIBUTING.md` and closing notes

A room is a module or a folder directly in a package. An arrow goes from a room to one it imports from, also inside
functions and for types only. A room's floor is the longest way down from it.
"""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import sri_sdk

ROOT = Path(__file__).parents[1]
CORE = sorted((ROOT / "sri_sdk").rglob("*.py"))
PLUGINS = sorted(file for kind in ("plugins", "exporters") for file in ROOT.glob(f"{kind}/*/sri_*/**/*.py"))

Arrows = Mapping[str, frozenset[str]]


@dataclass(frozen=True)
class Import:
    """One imported name."""

    module: str
    """Where it lives: `sri_sdk.hook` for `from sri_sdk import Hook`."""
    written: str
    """The module as the file names it: `sri_sdk`."""
    name: str
    """What is taken from it: `Hook`; empty for `import sri_sdk`."""
    line: int
    at_top: bool
    for_types: bool
    """Whether it stands under `if TYPE_CHECKING`."""


@cache
def imports(file: Path) -> tuple[Import, ...]:
    """Everything a file imports, at its top, inside functions, and for types."""
    return tuple(_imports(ast.parse(file.read_text(encoding="utf-8")), file, at_top=True, for_types=False))


def _imports(node: ast.AST, file: Path, *, at_top: bool, for_types: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (Import(a.name, a.name, "", child.lineno, at_top, for_types) for a in child.names)
        elif isinstance(child, ast.ImportFrom):
            base = _absolute(child, file)
            for alias in child.names:
                yield Import(_resolved(base, alias.name), base, alias.name, child.lineno, at_top, for_types)
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for part in child.body:
                yield from _imports(ast.Module([part], []), file, at_top=False, for_types=True)
            for part in child.orelse:
                yield from _imports(ast.Module([part], []), file, at_top=at_top, for_types=for_types)
        else:
            inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from _imports(child, file, at_top=at_top and not inside, for_types=for_types)


def _absolute(node: ast.ImportFrom, file: Path) -> str:
    if not node.level:
        return node.module or ""
    package = file.relative_to(import_root(file)).parts[: -node.level]
    return ".".join([*package, *([node.module] if node.module else [])])


def import_root(file: Path) -> Path:
    """The folder that is on the import path when this file's package is installed."""
    return next(folder.parent for folder in reversed(file.parents) if folder.name.startswith("sri_"))


def _resolved(base: str, name: str) -> str:
    """`from sri_sdk import Hook` imports sri_sdk.hook, and `from sri_sdk import registry` imports sri_sdk.registry."""
    if base != "sri_sdk":
        return base
    return f"sri_sdk.{sri_sdk._HOME.get(name, name)}"


def module_of(file: Path) -> str:
    """`sri_sdk.capture.tap`; a package's own file is named as the package."""
    parts = file.relative_to(import_root(file)).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def arrows(package: str, files: list[Path]) -> Arrows:
    """Module -> modules of the same package it imports from; without the package itself, which names everything."""
    known = {module_of(file): file for file in files if module_of(file).partition(".")[0] == package}
    found: dict[str, frozenset[str]] = {}
    for module, file in known.items():
        if module == package:
            continue
        # `from package.folder import module` imports that module, `from package.module import name` a name of this one.
        inner = ((f"{each.written}.{each.name}", each.module) for each in imports(file))
        names = {whole if whole in known else home for whole, home in inner}
        found[module] = frozenset(name for name in names if name in known and name not in (package, module))
    return found


def rooms(modules: Arrows) -> Arrows:
    """The same arrows between rooms: `sri_sdk.capture.tap` lies in the room `capture`."""
    found: dict[str, set[str]] = {}
    for module, others in modules.items():
        room = module.split(".")[1]
        found.setdefault(room, set()).update(other.split(".")[1] for other in others)
    return {room: frozenset(others - {room}) for room, others in found.items()}


def circles(graph: Arrows) -> list[tuple[str, ...]]:
    """Groups of nodes each of which leads to every other one (Tarjan)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[tuple[str, ...]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in graph.get(node, ()):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            at = stack.index(node)
            if len(stack) - at > 1:
                found.append(tuple(sorted(stack[at:])))
            del stack[at:]

    for node in graph:
        if node not in index:
            visit(node)
    return sorted(found)


def floors(graph: Arrows) -> dict[str, int]:
    """Room -> floor, the ground floor being 1. Only for graphs without circles."""

    @cache
    def floor(room: str) -> int:
        return 1 + max((floor(other) for other in graph.get(room, ())), default=0)

    return {room: floor(room) for room in graph}


def main() -> None:
    """Prints the table."""
    modules = arrows("sri_sdk", CORE)
    graph = rooms(modules)
    folders = sorted(room for room in graph if (ROOT / "sri_sdk" / room).is_dir())
    found = [] if circles(graph) else sorted(floors(graph).items(), key=lambda item: (item[1], item[0]))
    packages = sorted({import_root(file) / module_of(file).partition(".")[0] for file in PLUGINS})
    loops = circles(modules)
    for package in packages:
        loops += circles(arrows(package.name, [file for file in PLUGINS if package in file.parents]))
    print(f"rooms {len(graph)}: {len(graph) - len(folders)} single files, {len(folders)} folders")
    print(f"floors {max((floor for _, floor in found), default=0)}, arrows {sum(map(len, graph.values()))}")
    print(f"circles {len(loops)}: {loops}")
    for level in sorted({floor for _, floor in found}, reverse=True):
        print(f"  {level:2}  {' '.join(room for room, floor in found if floor == level)}")
    tops = ("sri_sdk", "plugins", "exporters", "tests", "benchmarks")
    lines = {file: len(file.read_text().splitlines()) for top in tops for file in (ROOT / top).rglob("*.py")}
    for top in tops:
        print(f"lines of Python in {top}: {sum(n for file, n in lines.items() if file.is_relative_to(ROOT / top))}")
    report = [file for file in (ROOT / "sri_sdk/report").iterdir() if file.suffix in {".py", ".html", ".css", ".js"}]
    print(f"lines in sri_sdk/report, pages included: {sum(len(f.read_text().splitlines()) for f in report)}")
    longest = max(CORE + PLUGINS, key=lambda file: lines[file])
    print(f"longest file of the product: {longest.relative_to(ROOT)}, {lines[longest]} lines")


if __name__ == "__main__":
    main()

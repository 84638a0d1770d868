"""Where an array is an argument or a result, the docstring names its shape in brackets: `[N, T, C]`.

Names and types are in the signature already, and neither says what the axes are. A private helper may go without a
docstring; if it has one, it names the shape too.
"""

import ast
import re
from collections.abc import Iterator

from tests.house import CORE, PLUGINS, ROOT

ARRAY = re.compile(r"\b(?:NDArray|np\.ndarray|ArrayLike|torch\.Tensor|Tensor)\b")
AXIS = r"(?:\.\.\.|\*?\w+(?: ?[-+*/] ?\w+)*)"
SHAPE = re.compile(rf"\[(?P<axes>{AXIS}(?:, {AXIS})*)\]|\([a-z]+(?:, [a-z]+)+\)")


def names_a_shape(docstring: str) -> bool:
    """Whether some bracket lists axes: not an interval such as `[0, 1]`, and not the extra in `sri-sdk[sign]`."""
    for found in SHAPE.finditer(" ".join(docstring.split())):
        axes = (found["axes"] or "").split(", ")
        if found["axes"] is None or (len(axes) > 1 and not all(axis.isdigit() for axis in axes)):
            return True
        if len(axes) == 1 and (axes[0] == "..." or axes[0][0].isupper() or (len(axes[0]) == 1 and axes[0].isalpha())):
            return True
    return False


def aliases(tree: ast.Module) -> set[str]:
    """Names at the top of a module that stand for an array or a tuple of arrays: `Floats`, `Scored`."""
    return {
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign) and ARRAY.search(ast.unparse(node.value))
        for target in node.targets
        if isinstance(target, ast.Name) and not isinstance(node.value, ast.Constant | ast.Call)
    }


def functions(node: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Functions and methods; none that stand inside another function."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield child
        else:
            yield from functions(child)


def takes_or_gives_an_array(found: ast.FunctionDef | ast.AsyncFunctionDef, known: set[str]) -> bool:
    given = [*found.args.posonlyargs, *found.args.args, *found.args.kwonlyargs, found.args.vararg, found.args.kwarg]
    annotations = [found.returns, *(each.annotation for each in given if each is not None)]
    written = " ".join(ast.unparse(each) for each in annotations if each is not None)
    return bool(ARRAY.search(written) or known & set(re.findall(r"\w+", written)))


def offenders() -> list[str]:
    """`file:line: function` for each that does not name a shape."""
    trees = {file: ast.parse(file.read_text(encoding="utf-8")) for file in [*CORE, *PLUGINS]}
    known = set[str]().union(*map(aliases, trees.values()))
    return [
        f"{file.relative_to(ROOT)}:{found.lineno}: {found.name}"
        for file, tree in trees.items()
        for found in functions(tree)
        if takes_or_gives_an_array(found, known)
        and not names_a_shape(docstring := ast.get_docstring(found) or "")
        and (docstring or not found.name.startswith("_"))
    ]


def test_a_function_on_arrays_names_their_shape() -> None:
    assert not offenders(), "name shape, dtype and unit of the arrays in these docstrings, such as `[N, T, C] float32`"


def test_an_interval_is_not_a_shape() -> None:
    assert names_a_shape("[N, T, C] float32") and names_a_shape("clock [S + 1]") and names_a_shape("[..., D]")
    assert names_a_shape("(prompts, steps) float32") and names_a_shape("[count, *shape]")
    assert not names_a_shape("a share in [0, 1]") and not names_a_shape("pip install sri-sdk[sign] (any batch)")

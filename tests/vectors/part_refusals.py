"""Manifests of format 2, and signals for their guards, that every reader must refuse, or must not."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from sri_sdk.bundle.packed_array import PackedArray

GONE = object()
"""Instead of a value: the key is taken out."""


class Raw(str):
    """JSON text, as it stands."""


Path_ = tuple[str | int, ...]
Case = tuple[str, str, dict[Path_, Any]]
"""Name, bundle, and what is changed in its manifest."""


def part_refusals(folder: Path) -> dict[str, Any]:
    """The file `refusals-2.json`, for the bundles in `folder`."""
    manifests = {
        name: json.loads((folder / name / "bundle/manifest.json").read_text())
        for name in ("parts", "groups", "horizon", "request-horizon")
    }
    refused = [*_shapes(manifests), *_parts(manifests), *_rules(manifests), *_ends(), *_golden(manifests)]
    return {
        "manifest": {
            "refused": [_written(one) for one in refused] + [_written(*one) for one in _more_graphs(manifests)[0]],
            "accepted": [_written(one) for one in _accepted(manifests)]
            + [_written(*one) for one in _more_graphs(manifests)[1]],
        },
        "signals": _signals(),
    }


def _written(case: Case, files: Mapping[str, bytes] | None = None) -> dict[str, Any]:
    name, bundle, changes = case
    listed = [
        {"path": list(path)} if value is GONE else {"path": list(path), "json": _text(value)}
        for path, value in changes.items()
    ]
    found: dict[str, Any] = {"name": name, "bundle": bundle, "changes": listed}
    if files:
        found["files"] = {file: base64.b64encode(content).decode() for file, content in files.items()}
    return found


def _text(value: Any) -> str:
    return value if isinstance(value, Raw) else json.dumps(value)


def _called(name: str) -> dict[Path_, Any]:
    """The changes that give the first column of `parts` another name."""
    return {("signal", "columns", 0, "name"): name, ("parts", 1, "columns"): [name, "sri@final"]}


# -- manifests that are refused --------------------------------------------------------------------------------


def _shapes(manifests: Mapping[str, Any]) -> list[Case]:
    columns = manifests["parts"]["signal"]["columns"]
    first = ("signal", "columns", 0)
    sri, request = columns[0], columns[-1]
    return [
        ("format is a float", "parts", {("format",): Raw("2.0")}),
        ("format is text", "parts", {("format",): "2"}),
        ("format is 3", "parts", {("format",): 3}),
        ("format is 1", "parts", {("format",): 1}),
        ("an unknown key", "parts", {("extra",): None}),
        ("a detector beside the parts", "parts", {("detector",): {"name": "x", "config": {}, "tier": "portable"}}),
        ("layers beside the columns", "parts", {("signal", "layers"): 3}),
        ("a range beside the columns", "parts", {("signal", "low"): 0}),
        ("no horizon", "parts", {("horizon",): GONE}),
        ("no end", "parts", {("ended",): GONE}),
        ("no groups", "parts", {("groups",): GONE}),
        ("no tier", "parts", {("tier",): GONE}),
        ("no columns", "parts", {("signal", "columns"): []}),
        ("columns in an object", "parts", {("signal", "columns"): {"sri@4": sri}}),
        ("a request that is not last", "parts", {("signal", "columns"): [request, *columns[:-1]]}),
        ("two requests", "parts", {(*first, "kind"): "request"}),
        ("a column of another kind", "parts", {(*first, "kind"): "states"}),
        ("a column of a kind in capitals", "parts", {(*first, "kind"): "SRI"}),
        ("an unknown key in a column", "parts", {(*first, "unit"): None}),
        ("a column without a range", "parts", {(*first, "low"): GONE}),
        ("two columns of one name", "parts", {(*first, "name"): "sri@final"}),
        ("a column without a name", "parts", {(*first, "name"): ""}),
        ("a column with a capital", "parts", _called("SRI@4")),
        ("a column with an underscore", "parts", _called("sri_4")),
        ("a column with a line end", "parts", _called("sri@4\n")),
        ("a column with a NUL", "parts", _called("sri@4\0")),
        ("a column's name of 65 characters", "parts", _called("x" * 65)),
        ("a column sri of two layers", "parts", {(*first, "layers"): [1, 2]}),
        ("a column without layers", "parts", {(*first, "layers"): []}),
        ("a column of a layer below 0", "parts", {(*first, "layers"): [-1]}),
        ("a column of a layer that is a float", "parts", {(*first, "layers"): Raw("[4.0]")}),
        ("a column of another layer in words", "parts", {(*first, "layers"): ["last"]}),
        ("a column of a layer that is null", "parts", {(*first, "layers"): [None]}),
        ("a column of layers in no list", "parts", {(*first, "layers"): "final"}),
        ("a column with low above high", "parts", {(*first, "low"): 2}),
        ("a column with low as text", "parts", {(*first, "low"): "0"}),
        ("a column with an infinite high", "parts", {(*first, "high"): Raw("Infinity")}),
        ("cells 4097", "parts", {("signal", "cells"): 4097}),
        ("other cells", "parts", {("signal", "cells"): 7}),
        ("a width of 0", "parts", {("signal", "hidden_size"): 0}),
        ("another domain", "parts", {("signal", "domain"): "phase"}),
        ("no map of the request", "parts", {("anchors", "request"): None}),
        ("nothing about a map of the request", "parts", {("anchors", "request"): GONE}),
        ("a map without a digest", "parts", {("anchors", "request", "sha256"): GONE}),
        ("a map with a short digest", "parts", {("anchors", "request", "sha256"): "b" * 63}),
        ("a map with an unknown key", "parts", {("anchors", "request", "layers"): []}),
        ("a map with a provenance in words", "parts", {("anchors", "request", "provenance"): "x"}),
        ("other graphs", "parts", {("graphs", "other"): manifests["parts"]["graphs"]["signal"]}),
        ("one score per row", "parts", {("graphs", "signal", "outputs", "score", "shape"): ["B"]}),
        ("more scores than parts", "parts", {("graphs", "prefix", "outputs", "valid", "shape"): ["B", 4]}),
        ("a score per part of another type", "parts", {("graphs", "signal", "outputs", "score", "dtype"): "int64"}),
        ("signals of fewer columns", "parts", {("graphs", "signal", "inputs", "signals", "shape"): ["B", 8, 2]}),
    ]  # fmt: skip


def _parts(manifests: Mapping[str, Any]) -> list[Case]:
    parts = manifests["parts"]["parts"]
    last = ("parts", 2)
    return [
        ("no parts", "parts", {("parts",): []}),
        ("parts in an object", "parts", {("parts",): {}}),
        ("17 parts", "parts", {("parts",): [{**parts[0], "name": f"p{i}"} for i in range(17)]}),
        ("two parts of one name", "parts", {(*last, "name"): "harm"}),
        ("parts in another order", "parts", {("parts",): parts[:2]}),
        ("a part with an unknown key", "parts", {(*last, "alpha"): 0.1}),
        ("a part without a reason", "parts", {(*last, "reason"): GONE}),
        ("a part with an empty reason", "parts", {(*last, "reason"): ""}),
        ("a reason with a hyphen", "parts", {(*last, "reason"): "pair-unfamiliar"}),
        ("a reason with a capital", "parts", {(*last, "reason"): "Pair"}),
        ("a reason of 65 characters", "parts", {(*last, "reason"): "x" * 65}),
        ("a reason with a quote", "parts", {(*last, "reason"): 'x"'}),
        ("a reason that is null", "parts", {(*last, "reason"): None}),
        ("a part with a name of 33 characters", "parts", {(*last, "name"): "x" * 33}),
        ("a part whose name begins with a digit", "parts", {(*last, "name"): "1st"}),
        ("a part with an underscore in its name", "parts", {(*last, "name"): "bo_th"}),
        ("a part of other columns than there are", "parts", {(*last, "columns"): ["sri@5", "request"]}),
        ("a part of the same column twice", "parts", {(*last, "columns"): ["request", "request"]}),
        ("a part of columns in another order", "parts", {(*last, "columns"): ["request", "sri@final"]}),
        ("a part without columns", "parts", {(*last, "columns"): []}),
        ("a part of columns in no list", "parts", {(*last, "columns"): "request"}),
        ("a part that reads only the request, and has no rule", "parts", {(*last, "columns"): ["request"]}),
        ("a tier that no part has", "parts", {("tier",): "python"}),
        ("a part that only Python may load", "parts", {(*last, "detector", "tier"): "python"}),
        ("a guard that only Python may load", "parts", {(*last, "detector", "tier"): "python", ("tier",): "python"}),
        ("another tier", "parts", {(*last, "detector", "tier"): "fast", ("tier",): "fast"}),
        ("a detector without a config", "parts", {(*last, "detector", "config"): GONE}),
        ("a detector with an unknown key", "parts", {(*last, "detector", "x"): 1}),
        ("a detector with a config in a list", "parts", {(*last, "detector", "config"): []}),
    ]  # fmt: skip


def _rules(manifests: Mapping[str, Any]) -> list[Case]:
    final = ("rules", "final")
    one = (*final, "parts", "harm")
    all_ = (*one, "groups", "all")
    harm = manifests["parts"]["rules"]["final"]["parts"]["harm"]
    german = ("rules", "online", "parts", "novelty", "groups", "de")
    return [
        ("no rule final", "parts", {final: GONE}),
        ("no rule request", "parts", {("rules", "request"): GONE}),
        ("a fourth rule", "parts", {("rules", "later"): manifests["parts"]["rules"]["final"]}),
        ("a rule with an unknown key", "parts", {(*final, "delta"): None}),
        ("a rule without its alpha", "parts", {(*final, "alpha"): GONE}),
        ("a rule with an alpha of 1", "parts", {(*final, "alpha"): 1}),
        ("a rule with an alpha below its parts'", "parts", {(*final, "alpha"): 0.0499}),
        ("a rule without a part", "parts", {one: GONE}),
        ("a rule with an unknown part", "parts", {(*final, "parts", "other"): harm}),
        ("a rule request of other parts", "parts", {("rules", "request", "parts", "novelty"): harm}),
        ("a part with a share of 0", "parts", {(*one, "alpha"): 0}),
        ("a part with a share as text", "parts", {(*one, "alpha"): "0.02"}),
        ("a part with a delta of 0", "parts", {(*one, "delta"): 0}),
        ("a part without a delta", "parts", {(*one, "delta"): GONE}),
        ("a part of a rule with an unknown key", "parts", {(*one, "value"): 1}),
        ("a part without groups", "parts", {(*one, "groups"): {}}),
        ("a part of another group", "parts", {(*one, "groups", "de"): harm["groups"]["all"]}),
        ("a threshold that nothing exceeds", "parts", {(*all_, "value"): 3e38}),
        ("a threshold that is null", "parts", {(*all_, "value"): None}),
        ("a threshold with an alpha", "parts", {(*all_, "alpha"): 0.02}),
        ("another n than scores", "parts", {(*all_, "n"): 98}),
        ("an n that is a float", "parts", {(*all_, "n"): Raw("99.0")}),
        ("a rank beyond n", "parts", {(*all_, "rank"): 100}),
        ("a rank of 0", "parts", {(*all_, "rank"): 0}),
        ("a tolerance below 0", "parts", {(*all_, "tolerance"): -1e-9}),
        ("scores that are not sorted", "parts", {(*all_, "scores"): _packed(_unsorted(99))}),
        ("scores with NaN", "parts", {(*all_, "scores"): _packed(np.full(99, np.nan, np.float32))}),
        ("scores of another type", "parts", {(*all_, "scores"): _packed(np.arange(99))}),
        ("groups that no threshold has", "parts", {("groups",): ["de"]}),
        ("groups out of order", "groups", {("groups",): ["en", "de", "zh-Hant"]}),
        ("a group twice", "groups", {("groups",): ["de", "en", "en", "zh-Hant"]}),
        ("a group called all", "groups", {("groups",): ["all", "de", "en", "zh-Hant"]}),
        ("a group with a space", "groups", {("groups",): ["de", "e n", "zh-Hant"]}),
        ("a group without a name", "groups", {("groups",): ["", "de", "en", "zh-Hant"]}),
        ("a group that is null", "groups", {("groups",): [None, "de", "en", "zh-Hant"]}),
        ("a group of 65 characters", "groups", {("groups",): ["de", "en", "zh-Hant", "zz" * 33]}),
        ("65 groups", "groups", {("groups",): [f"g{i:02}" for i in range(65)]}),
        ("a threshold of a group is missing", "groups", {german: GONE}),
        ("a threshold of no group", "groups", {(*german[:-1], "fr"): harm["groups"]["all"]}),
        ("a group's threshold that nothing exceeds", "groups", {(*german, "value"): 3.1e38}),
        ("a group's scores that are not sorted", "groups", {(*german, "scores"): _packed(_unsorted(99))}),
    ]  # fmt: skip


def _ends() -> list[Case]:
    return [
        ("an end of a column that does not exist", "parts", {("ended", "column"): "sri@5"}),
        ("an end of the request", "parts", {("ended", "column"): "request"}),
        ("an end without a value", "parts", {("ended", "value"): GONE}),
        ("an end with a value in words", "parts", {("ended", "value"): "half"}),
        ("an end with an unknown key", "parts", {("ended", "x"): 1}),
        ("an end that is false", "parts", {("ended",): False}),
        ("an end beside a horizon", "horizon", {("ended",): {"column": "sri@final", "value": 0.5}}),
        ("a horizon beside an end", "parts", {("horizon",): {"steps": 12}}),
        ("a horizon other than the budget", "horizon", {("horizon", "steps"): 9}),
        ("a horizon of nothing", "horizon", {("horizon", "steps"): 0, ("grid",): None}),
        ("a horizon of 2^31 steps", "horizon", {("horizon", "steps"): 2**31, ("grid",): None}),
        ("a horizon as a float", "horizon", {("horizon", "steps"): Raw("10.0")}),
        ("a horizon with an unknown key", "horizon", {("horizon", "cells"): 4}),
        ("a horizon that is a number", "horizon", {("horizon",): 10}),
        ("a budget of 0", "parts", {("grid", "budget"): 0}),
        ("a tier that is null", "parts", {("tier",): None}),
    ]


def _golden(manifests: Mapping[str, Any]) -> list[Case]:
    golden = ("golden", "signal")
    rows, parts = manifests["parts"]["golden"]["signal"]["score"]["shape"]
    valid = np.ones((rows, parts), bool)
    valid[1:, 0] = valid[0, 1:] = False
    none, all_ = valid.copy(), valid.copy()
    none[:, 1], all_[:, 2] = False, True
    room = np.zeros((rows, parts), np.float32)
    narrow = np.zeros((rows, 8, 2), np.float32)
    endless, below, odd = room.copy(), room.copy(), room.copy()
    endless[3, 1], below[0, 0], odd[0, 2] = np.inf, -1, np.nan
    return [
        ("no golden vectors of a graph", "parts", {("golden", "prefix"): GONE}),
        ("a golden score per row", "parts", {(*golden, "score"): _packed(room[:, 0])}),
        ("golden scores of fewer parts", "parts", {(*golden, "score"): _packed(room[:, :2])}),
        ("golden answers of other shapes", "parts", {(*golden, "tolerance"): _packed(room[:-1])}),
        ("golden rows of parts, turned", "parts", {(*golden, "valid"): _packed(valid.T)}),
        ("a part whose golden rows are all valid", "parts", {(*golden, "valid"): _packed(all_)}),
        ("a part of which no golden row is valid", "parts", {(*golden, "valid"): _packed(none)}),
        ("a tolerance that is infinite", "parts", {(*golden, "tolerance"): _packed(endless)}),
        ("a golden tolerance below 0", "parts", {(*golden, "tolerance"): _packed(below)}),
        ("a tolerance that is NaN", "parts", {(*golden, "tolerance"): _packed(odd)}),
        ("golden signals of fewer columns", "parts", {(*golden, "inputs", "signals"): _packed(narrow)}),
        ("no golden signals", "parts", {(*golden, "inputs"): {}}),
        ("golden lengths of the graph signal", "parts", {(*golden, "inputs", "length"): _packed(np.arange(rows))}),
    ]  # fmt: skip


# -- manifests that are read -----------------------------------------------------------------------------------


def _accepted(manifests: Mapping[str, Any]) -> list[Case]:
    first, one = ("signal", "columns", 0), ("rules", "final", "parts", "harm")
    return [
        ("no rates", "parts", {("rates",): []}),
        ("no grid", "parts", {("grid",): None}),
        ("no end", "parts", {("ended",): None}),
        ("an end at an integer", "parts", {("ended", "value"): 0}),
        ("an end beyond the range", "parts", {("ended", "value"): 1e300}),
        ("a horizon and no end", "parts", {("ended",): None, ("horizon",): {"steps": 12}}),
        ("a horizon on a grid of tokens", "horizon", {("horizon", "steps"): 2**31 - 1, ("grid", "mapping"): "token"}),
        ("a column of the first block", "parts", {(*first, "layers"): [0]}),
        ("a column of a high block", "parts", {(*first, "layers"): [2**53 - 1]}),
        ("a request of many layers", "parts", {("signal", "columns", 2, "layers"): [*range(1023), "final"]}),
        ("a request of the same layer twice", "parts", {("signal", "columns", 2, "layers"): ["final", "final"]}),
        ("a column with a range of its own", "parts", {(*first, "low"): -1, (*first, "high"): 7}),
        ("a column with a range beyond float32", "parts", {(*first, "low"): -1e300, (*first, "high"): 1e300}),
        ("a column with a long name", "parts", _called("x" * 64)),
        ("a column with a name of digits", "parts", _called("0@-")),
        ("a reason of 64 characters", "parts", {("parts", 2, "reason"): "x" * 64}),
        ("the same reason for every part", "parts", {("parts", i, "reason"): "not_as_usual" for i in range(3)}),
        ("a reason of the format's own", "parts", {("parts", 2, "reason"): "incomplete_signal"}),
        ("a rule with more than its parts'", "parts", {("rules", "final", "alpha"): 0.5}),
        ("a part with a small share", "parts", {(*one, "alpha"): 5e-324}),
        ("a part with a delta", "parts", {(*one, "delta"): 0.5}),
        ("a low threshold", "parts", {(*one, "groups", "all", "value"): -2.9e38}),
        ("a map with a provenance", "parts", {("anchors", "request", "provenance"): {"x": [1, None]}}),
        ("a detector without a name", "parts", {("parts", 0, "detector", "name"): ""}),
        ("groups of 64 characters", "groups", _renamed(manifests["groups"], "zh-Hant", "zz" * 32)),
        ("a group of points and underscores", "groups", _renamed(manifests["groups"], "de", "A._")),
    ]  # fmt: skip


def _renamed(manifest: Mapping[str, Any], old: str, new: str) -> dict[Path_, Any]:
    """The changes that give a group another name; it keeps its place in the order."""
    changes: dict[Path_, Any] = {("groups",): [new if name == old else name for name in manifest["groups"]]}
    for rule, entry in manifest["rules"].items():
        for part, each in entry["parts"].items():
            place = ("rules", rule, "parts", part, "groups")
            changes |= {(*place, new): each["groups"][old], (*place, old): GONE}
    return changes


# -- graphs that are not loaded ----------------------------------------------------------------------------------

Extended = tuple[Case, Mapping[str, bytes]]


def _more_graphs(manifests: Mapping[str, Any]) -> tuple[list[Extended], list[Extended]]:
    """`full` and `step`, which no reader of these vectors loads: refused, and accepted."""
    parts, alone = manifests["parts"], manifests["request-horizon"]
    full, step = _graph("full", 8, 3, 2, 2, 3), _graph("step", 8, 3, 2, 2, 3)
    without = _graph("full", 8, 3, 2, 0, 3)
    every = _graph("full", 8, 3, 3, 2, 3)
    prompt = _graph("full", 4, 1, 0, 2, 1)
    entry, golden = full["full"]
    stored = {"prompt": _packed(np.zeros((4, 2, 16), np.float32))}
    refused = [
        _extended("full without the prompt", "parts", parts, without),
        _extended("full with a state per column", "parts", parts, every),
        _extended("step of the request alone", "request-horizon", alone, _graph("step", 4, 1, 0, 2, 1)),
        _extended("full of states that no column has", "request-horizon", alone, _graph("full", 4, 1, 1, 2, 1)),
        _extended("full that is no secret", "parts", parts, full, {("sensitive",): False}),
        _extended("full that is not listed", "parts", parts, full, {("files", "full.onnx"): GONE}),
        _extended("golden states of full", "parts", parts, {"full": (entry, {**golden, "inputs": stored})}),
        _extended("step without golden vectors", "parts", parts, step, {("golden", "step"): GONE}),
    ]  # fmt: skip
    accepted = [
        _extended("full", "parts", parts, full),
        _extended("step", "parts", parts, step),
        _extended("full and step", "parts", parts, {**full, **step}),
        _extended("full of the request alone", "request-horizon", alone, prompt),
    ]
    return refused, accepted


def _graph(name: str, cells: int, columns: int, sri: int, layers: int, parts: int) -> dict[str, Any]:
    """Graph -> its entry in `graphs`, and its golden vectors."""

    def edge(*shape: int, dtype: str = "float32") -> dict[str, Any]:
        return {"dtype": dtype, "shape": ["B", *shape]}

    width, rows = 16, 4
    prompt = {"prompt": edge(layers, width)} if layers else {}
    outputs = {"score": edge(parts), "valid": edge(parts, dtype="bool")}
    if name == "full":
        inputs = {**({"activations": edge(cells, sri, width)} if sri else {}), **prompt}
        outputs |= {"sigma": edge(cells, columns), "logit": edge(cells, columns)}
        stored: dict[str, Any] = {}
    else:
        inputs = {"phi": edge(sri, width), "step": edge(dtype="int64"), "state": edge(cells, columns), **prompt}
        outputs |= {"sigma": edge(columns), "state_out": edge(cells, columns)}
        stored = {"step": _packed(np.arange(rows)), "state": _packed(np.zeros((rows, cells, columns), np.float32))}
    valid = np.ones((rows, parts), bool)
    valid[-1] = False
    answers = {"score": valid.astype(np.float32), "valid": valid, "tolerance": valid.astype(np.float32)}
    golden = {"inputs": stored, **{key: _packed(array) for key, array in answers.items()}}
    return {name: ({"file": f"{name}.onnx", "inputs": inputs, "outputs": outputs}, golden)}


def _extended(
    name: str, bundle: str, manifest: Mapping[str, Any], graphs: Mapping[str, Any],
    then: Mapping[Path_, Any] | None = None,
) -> Extended:  # fmt: skip
    assert not manifest["sensitive"]
    changes: dict[Path_, Any] = {("sensitive",): True}
    files = {}
    for graph, (entry, golden) in graphs.items():
        content = files[f"{graph}.onnx"] = f"{graph}: nobody loads this".encode()
        changes[("graphs", graph)], changes[("golden", graph)] = entry, golden
        changes[("files", f"{graph}.onnx")] = {"sha256": sha256(content).hexdigest(), "size": len(content)}
    changes |= then or {}
    return (name, bundle, {path: value for path, value in changes.items() if value is not GONE}), files


def _unsorted(count: int) -> np.ndarray[Any, Any]:
    return np.arange(count, 0, -1, dtype=np.float32)


def _packed(array: np.ndarray[Any, Any]) -> dict[str, Any]:
    found: dict[str, Any] = PackedArray.pack(np.ascontiguousarray(array)).model_dump(mode="json")
    return found


# -- signals -----------------------------------------------------------------------------------------------------


def _signals() -> dict[str, Any]:
    """Files of JSON lines, each for one bundle."""
    two = [[0.9, 0.8]] * 6
    three = [[0.9, 0.9, 0.8]] * 8
    names = ["sri@4", "sri@final", "request"]

    def row(name: str, values: Sequence[Any], domain: str = "logit", **more: Any) -> str:
        return json.dumps({"id": name, domain: values, **more})

    def head(**more: Any) -> str:
        return json.dumps({"sri_signals": 1, **more})

    plain = row("a", three, "sigma")
    refused = {
        "columns of other names": ("parts", [head(columns=["sri@5", "sri@final", "request"]), plain]),
        "columns in another order": ("parts", [head(columns=names[::-1]), plain]),
        "fewer columns": ("parts", [head(columns=names[1:]), plain]),
        "more columns": ("parts", [head(columns=[*names, "more"]), plain]),
        "no columns": ("parts", [head(columns=[]), plain]),
        "columns in one text": ("parts", [head(columns="request"), plain]),
        "columns joined": ("parts", [head(columns=["sri@4,sri@final,request"]), plain]),
        "columns in an object": ("parts", [head(columns={}), plain]),
        "a column that is null": ("parts", [head(columns=["sri@4", "sri@final", None]), plain]),
        "columns in a row": ("parts", [head(), row("a", three, "sigma", columns=names)]),
        "a number per cell": ("parts", [row("a", [0.9] * 8, "sigma")]),
        "two columns": ("parts", [row("a", [[0.9, 0.9]] * 8, "sigma")]),
        "a request of its own, beside": ("parts", [row("a", [[0.9, 0.9]] * 8, "sigma", request=0.8)]),
        "a length beyond the cells": ("parts", [row("a", three, "sigma", length=9)]),
        "a group that is a number": ("groups", [row("a", two, group=1)]),
        "a group that is false": ("groups", [row("a", two, group=False)]),
        "a group in a list": ("groups", [row("a", two, group=["de"])]),
        "a group of 65 characters": ("groups", [row("a", two, group="x" * 65)]),
        "a group with a NUL": ("groups", [row("a", two, group="de\0")]),
        "a group that stands twice": ("groups", [row("a", two, group="de")[:-1] + ', "group": "en"}']),
        "groups in the plural": ("groups", [row("a", two, groups="de")]),
        "a group in the head": ("groups", [head(group="de"), row("a", two)]),
    }
    accepted = {
        "columns": ("parts", [head(columns=names), plain]),
        "columns that are null": ("parts", [head(columns=None), plain]),
        "columns before the format": ("parts", [json.dumps({"columns": names, "sri_signals": 1}), plain]),
        "columns with escapes": ("parts", [head(columns=names).replace("@", "\\u0040"), plain]),
        "a request that is null": ("parts", [row("a", [[0.9, 0.9, None]] * 8, "sigma")]),
        "groups of every kind": ("groups", [*(row(f"{g}", two, group=g) for g in ("de", None, "")), row("b", two)]),
        "a group that nobody knows": ("groups", [row("a", two, group="\u6f22\u5b57 \"x\"")]),
        "a group of 64 characters of four bytes": ("groups", [row("a", two, group="\U0001f600" * 64)]),
        "a group with escapes": ("groups", ['{"id": "a", "group": "d\\u0065", "logit": ' + json.dumps(two) + "}"]),
        "groups of a guard that has none": ("parts", [row("a", three, "sigma", group="de")]),
        "groups of a guard of format 1": ("autoencoder", [row("a", [0.9] * 16, "sigma", group="de", length=12)]),
        "columns of a guard of format 1": ("autoencoder", [head(columns=["sri@final"]), row("a", [0.9] * 16, "sigma")]),
    }  # fmt: skip
    refused["a request for a guard of format 1"] = (
        "autoencoder", [head(columns=["request"]), row("a", [0.9] * 16, "sigma")],
    )  # fmt: skip

    def written(found: Mapping[str, tuple[str, list[str]]]) -> list[dict[str, Any]]:
        return [
            {
                "name": name, "bundle": bundle,
                "base64": base64.b64encode("".join(f"{line}\n" for line in lines).encode()).decode(),
            }
            for name, (bundle, lines) in found.items()
        ]  # fmt: skip

    return {"refused": written(refused), "accepted": written(accepted)}

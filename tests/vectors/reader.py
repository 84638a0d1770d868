"""A second reader of bundles, written from docs/bundles.md alone: no line of sri_sdk runs in here.

What it needs beyond Python is what any language has: JSON, base64, SHA-256, and onnxruntime for the graphs. It leaves
out the inspection of graphs, so it is for bundles one trusts.
"""

import base64
import bisect
import hashlib
import json
import math
from pathlib import Path

import numpy as np
import onnxruntime

DTYPES = {"float32": "<f4", "int64": "<i8", "bool": "|b1"}
INVALID = np.float32(3e38)


class Refused(Exception):
    pass


def unpack(packed):
    raw = base64.b64decode(packed["base64"], validate=True)
    return np.frombuffer(raw, DTYPES[packed["dtype"]]).reshape(packed["shape"])


def check(condition, problem):
    if not condition:
        raise Refused(problem)


def verdict_of(threshold, scores, score, invalid):
    """Status, score and p-value of a row that was judged; the rule of the page, in its words."""
    flagged = score > threshold and score != INVALID
    if invalid and not flagged:
        return "unmonitored", None, None
    at_least = len(scores) - bisect.bisect_left(scores, score)
    return "flagged" if flagged else "clear", score, (1 + at_least) / (len(scores) + 1)


class Reader:
    format = 1

    def __init__(self, folder, digest=None):
        content = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
        whole = content.pop("manifest.json")
        content.pop("manifest.sig", None)
        content.pop("model.sig", None)
        self.manifest = json.loads(whole)
        own = self.manifest["digest"]
        check(self.manifest["format"] == self.format, "format")
        check(whole.count(own.encode()) == 1, "digest")
        check(hashlib.sha256(whole.replace(own.encode(), b"0" * 64)).hexdigest() == own, "digest")
        check(digest in (None, own), "another bundle")
        files = self.manifest["files"]
        check(files.keys() == content.keys(), "files")
        for name, entry in files.items():
            found = content[name]
            check((len(found), hashlib.sha256(found).hexdigest()) == (entry["size"], entry["sha256"]), name)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.graphs = {
            name: onnxruntime.InferenceSession(content[graph["file"]], options, ["CPUExecutionProvider"])
            for name, graph in self.manifest["graphs"].items()
        }
        for name in self.graphs:
            self.self_test(name)

    def self_test(self, name):
        golden = self.manifest["golden"][name]
        inputs = {key: unpack(packed) for key, packed in golden["inputs"].items()}
        expected, tolerance, valid = (unpack(golden[key]) for key in ("score", "tolerance", "valid"))
        for key, edge in self.manifest["graphs"][name]["inputs"].items():
            if key not in inputs:  # Hidden states follow a rule.
                inputs[key] = probe(len(expected), edge["shape"][1:])
        score, said = self.graphs[name].run(["score", "valid"], inputs)
        check((said == valid).all(), f"{name}: valid")
        check((np.abs(score.astype(np.float64) - expected) <= tolerance).all(), f"{name}: score")

    def verdict(self, rule, signal, length):
        """Status, reasons, score, p-value and first alarm of one signal [T, C] with `length` known cells."""
        promised, entry = self.manifest["signal"], self.manifest["rules"][rule]
        cells = promised["cells"]
        known = range(1, length + 1) if rule == "online" else [cells] if length == cells else []
        scores, cell, unreadable = [], None, not known
        for t in known:
            inputs = {"signals": signal[None]}
            if rule == "online":
                inputs["length"] = np.array([t], dtype=np.int64)
            (score,), (valid,) = self.graphs["prefix" if rule == "online" else "signal"].run(["score", "valid"], inputs)
            valid = valid and abs(score) < np.float32(3e38)  # Whatever the graph says of it.
            unreadable |= not valid
            if valid:
                scores.append(float(score))
                if cell is None and score > np.float32(entry["value"]):
                    cell = t - 1
        best = max(scores, default=-math.inf)
        calibration = unpack(entry["scores"]).tolist()
        status, score, p_value = verdict_of(entry["value"], calibration, best, unreadable)
        reasons = ["score_above_threshold"] if status == "flagged" else []
        if unreadable:
            seen = signal[:length]
            if length == 0 or (rule == "final" and length < cells):
                reasons.append("incomplete_signal")
            elif not np.isfinite(seen).all():
                reasons.append("non_finite_signal")
            elif not ((seen > promised["low"]) & (seen < promised["high"])).all():
                reasons.append("signal_out_of_range")
            else:
                reasons.append("score_not_finite")
        return {
            "status": status, "reasons": reasons, "score": score, "p_value": p_value,
            "first_alarm_step": self.step(cell) if rule == "online" and status == "flagged" else None,
        }  # fmt: skip

    def step(self, cell):
        grid = self.manifest["grid"]
        return math.ceil((cell + 1) * grid["budget"] / grid["cells"]) - 1 if grid["mapping"] == "step" else None


def probe(count, shape):
    size = math.prod(shape)
    index = np.arange(size, dtype=np.int64)
    rows = [(((index * 7919 + r * 104729) % 2001) - 1000).astype(np.float32) / np.float32(1000) for r in range(count)]
    rows[-2][0], rows[-1][:] = np.nan, 0
    return np.stack(rows).reshape(count, *shape)

"""The reader of `reader.py` for bundles of format 2, written from docs/bundles.md alone, too."""

import math

import numpy as np

from .reader import Reader, unpack


class PartsReader(Reader):
    format = 2

    def verdict(self, rule, signal, length, group):
        """What schema 2 says of one signal [T, C] with `length` known cells, without what is the same for all rows."""
        manifest, entry = self.manifest, self.manifest["rules"][rule]
        cells = manifest["signal"]["cells"]
        scores, valid = self.scores(rule, signal, length)
        parts = [
            self.part(rule, k, part, signal, length, group, scores[:, k], valid[:, k])
            for k, part in enumerate(manifest["parts"])
            if part["name"] in entry["parts"]
        ]
        flagged = sorted((p for p in parts if p["status"] == "flagged"), key=lambda p: p["weighed"])
        gaps = [p["why"] for p in parts if p["why"] is not None]
        status = "flagged" if flagged else "unmonitored" if gaps else "clear"
        known = group in manifest["groups"]
        reasons = [p["reason"] for p in flagged] + gaps
        reasons += ["unknown_group"] if manifest["groups"] and not known else []
        first = min(flagged or parts, key=lambda p: p["weighed"])
        judged = status != "unmonitored"
        alarm = min((p["alarm"] for p in flagged), default=None) if rule == "online" else None
        ended, last = manifest["ended"], None
        if ended is not None and length == cells and rule != "request":
            column = next(c for c in manifest["signal"]["columns"] if c["name"] == ended["column"])
            cell = signal[-1, manifest["signal"]["columns"].index(column)]
            if np.float32(column["low"]) < cell < np.float32(column["high"]):
                last = "refusing" if cell < ended["value"] else "complying"
        shown = "name", "status", "score", "threshold", "p_value", "reason"
        return {
            "status": status,
            "reasons": list(dict.fromkeys(reasons)),
            "score": first["score"] if judged else None,
            "threshold": (first if judged else parts[0])["threshold"],
            "p_value": min(1.0, first["weighed"]) if judged else None,
            "first_alarm_step": None if alarm is None else self.step(alarm),
            "judged_steps": manifest["horizon"]["steps"] if manifest["horizon"] and judged else None,
            "ended": last,
            "group": group if known else None,
            "rule": rule,
            "schema": 2,
            "parts": [{key: p[key] for key in shown} for p in parts],
        }

    def scores(self, rule, signal, length):
        """Scores and valid [n, K] of what counts: the whole signal, or each known length."""
        inputs = {"signals": signal[None]}
        if rule == "online":
            times = range(1, max(length, 1) + 1)
            inputs = {"signals": np.stack([signal] * len(times)), "length": np.array(times, dtype=np.int64)}
        score, valid = self.graphs["prefix" if rule == "online" else "signal"].run(["score", "valid"], inputs)
        # Whatever the graph says of it.
        return score, valid & (np.abs(score) < np.float32(3e38))

    def part(self, rule, k, part, signal, length, group, scores, valid):
        manifest, entry = self.manifest, self.manifest["rules"][rule]
        cells, columns = manifest["signal"]["cells"], manifest["signal"]["columns"]
        rows = [i for i, column in enumerate(columns) if column["name"] in part["columns"]]
        alone = all(columns[i]["kind"] == "request" for i in rows)
        judged = length > 0 if rule == "online" else rule == "request" or alone or length == cells
        thresholds = entry["parts"][part["name"]]["groups"]
        wanted = group if manifest["groups"] else "all"
        if wanted not in thresholds:
            wanted = max(sorted(thresholds), key=lambda name: thresholds[name]["value"])  # The first of equal ones.
        threshold = thresholds[wanted]
        good = [float(s) for s, v in zip(scores, valid, strict=True) if v] if judged else []
        alarms = [i for i, s in enumerate(scores) if valid[i] and s > threshold["value"]] if judged else []
        why = None
        if not judged or not valid.all():
            seen = signal[: length if rule == "online" else cells, rows]
            low, high = (np.float32([columns[i][key] for i in rows]) for key in ("low", "high"))
            if not judged:
                why = "incomplete_signal"
            elif any(columns[i]["kind"] == "request" and np.isnan(signal[0, i]) for i in rows):
                why = "request_missing"
            elif not np.isfinite(seen).all():
                why = "non_finite_signal"
            else:
                why = "score_not_finite" if ((seen > low) & (seen < high)).all() else "signal_out_of_range"
        status = "flagged" if alarms else "clear" if why is None else "unmonitored"
        score = max(good) if status != "unmonitored" else None
        p_value, weighed = None, math.inf
        if score is not None:
            calibration = unpack(threshold["scores"])
            p_value = (1 + int((calibration >= np.float32(score)).sum())) / (len(calibration) + 1)
            weighed = p_value * (entry["alpha"] / entry["parts"][part["name"]]["alpha"])
        return {
            "name": part["name"], "status": status, "score": score, "threshold": threshold["value"],
            "p_value": p_value, "reason": part["reason"] if alarms else why, "why": why, "weighed": weighed,
            "alarm": alarms[0] if alarms else None,
        }  # fmt: skip

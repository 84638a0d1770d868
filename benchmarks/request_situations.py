"""What the request column is worth where a request does not stand alone, on the lab's causal model.

    python benchmarks/request_situations.py [--count 200]

A map is fitted as `configs/lab-request.yaml` says, on single user turns. Then the same harmful and harmless requests of
the split `test` are put into other surroundings. Printed are the AUROC, and how many are above the threshold that 1 %
of 400 other plain harmless requests exceed. The lab models were trained on texts of up to 128 tokens, with positions
up to 256; what is longer says as much about the model as about the column.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

import sri_sdk
from sri_sdk import registry
from sri_sdk.config.check_fit import check_fit
from sri_sdk.fitting.collect import Collector
from sri_sdk.fitting.deployment import Deployment
from sri_sdk.fitting.folds import draw_folds
from sri_sdk.fitting.forecast import Forecast
from sri_sdk.fitting.request_stage import collect_request_map
from sri_sdk.metrics.auroc import auroc
from sri_sdk.metrics.rates import exact_rate

Chat = list[dict[str, str]]
BATCH = 20


def turns(*texts: str) -> Chat:
    """User and assistant in turns, the user first."""
    return [{"role": "user" if at % 2 == 0 else "assistant", "content": text} for at, text in enumerate(texts)]


def situations(filler: Sequence[str], answer: str) -> dict[str, Callable[[str, int], tuple[str, Chat]]]:
    """Name -> from a request and its number to what stands before the chat, and the chat."""

    def document(words: int) -> Callable[[str, int], tuple[str, Chat]]:
        def around(request: str, at: int) -> tuple[str, Chat]:
            text = " ".join(filler[(at + i) % len(filler)] for i in range(words)).split()[:words]
            half = words // 2
            return "", turns(" ".join([*text[:half], request, *text[half:]]))

        return around

    def before(words: int) -> Callable[[str, int], tuple[str, Chat]]:
        def system(request: str, at: int) -> tuple[str, Chat]:
            text = " ".join(filler[(at + i) % len(filler)] for i in range(words)).split()[:words]
            return " ".join(text), turns(request)

        return system

    def asked_last(request: str, at: int) -> tuple[str, Chat]:
        others = [filler[(at + i) % len(filler)] for i in range(4)]
        return "", turns(*(text for other in others for text in (other, answer)), request)

    def asked_first(request: str, at: int) -> tuple[str, Chat]:
        others = [filler[(at + i) % len(filler)] for i in range(4)]
        return "", turns(request, answer, others[0], answer, others[1], answer, others[2], answer, others[3])

    return {
        "one turn": lambda request, _: ("", turns(request)),
        "50 words of system prompt before it": before(50),
        "150 words of system prompt before it": before(150),
        "five turns, asked in the last": asked_last,
        "five turns, asked in the first": asked_first,
        "a document of 50 words around it": document(50),
        "a document of 150 words around it": document(150),
        "a document of 2,000 words around it": document(2000),
    }


def odds(place: Deployment, request_map: Any, layers: Any, cases: Sequence[tuple[str, Chat]]) -> np.ndarray[Any, Any]:
    """Log-odds that each request is harmless, [N] float32."""
    tokenizer, model, found = place.loaded.tokenizer, place.loaded.model, []
    for start in range(0, len(cases), BATCH):
        batch = cases[start : start + BATCH]
        heads = [tokenizer(head, add_special_tokens=False)["input_ids"] for head, _ in batch]
        texts = [tokenizer.apply_chat_template(c, tokenize=False, add_generation_prompt=True) for _, c in batch]
        chats = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
        inside = sri_sdk.request_spans(tokenizer, [chat for _, chat in batch])
        rows = [[*head, *chat] for head, chat in zip(heads, chats, strict=True)]
        width = max(map(len, rows))
        ids = torch.tensor([[0] * (width - len(row)) + row for row in rows])
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
        spans = [
            (at := width - len(row) + len(head), (at + span[0], at + span[1]))[1] if span else None
            for row, head, span in zip(rows, heads, inside, strict=True)
        ]
        with torch.inference_mode(), sri_sdk.watch(model, layers=layers, request_spans=spans) as run:
            model.generate(ids, attention_mask=mask, max_new_tokens=1, do_sample=False)
        assert run.request is not None and run.request.complete.all()
        found.append(request_map.log_odds(run.request.states))
    return np.concatenate(found)


def main() -> None:
    """Fits the map, then reads every situation."""
    options = argparse.ArgumentParser()
    options.add_argument("--count", type=int, default=200)
    count = options.parse_args().count
    torch.set_num_threads(1)
    data = yaml.safe_load(Path("configs/lab-request.yaml").read_text())
    with tempfile.TemporaryDirectory() as folder:
        data |= {"model": {"hook": "lab-causal"}, "sampler": {"name": "autoregressive", "options": {"tokens": 48}}}
        data["tap"]["pooling"], data["out"] = "predicting", folder
        del data["folds"]["request"]["around"]["holes"]  # The model is not masked.
        config, problems = check_fit(data)
        assert config is not None and not problems, problems
        dataset = registry.build("datasets", "lab", {})
        place = Deployment.open(config)
        collector = Collector.of(place, Path(folder) / "cache", Forecast(1, lambda *_: None))
        request_map = collect_request_map(collector, draw_folds(dataset, config.folds, seed=config.seed).request)
        layers = collector.settings.request_layers
    harmful = [p.text for p in dataset.prompts("test", "harmful", count)]
    harmless = [p.text for p in dataset.prompts("test", "harmless", count)]
    others = [p.text for p in dataset.prompts("calibration", "harmless", 400)]
    made = situations(others, "here is how .")
    plain = odds(place, request_map, layers, [made["one turn"](text, 0) for text in others])
    threshold = float(np.sort(-plain)[int(np.ceil(401 * 0.99)) - 1])
    for name, case in made.items():
        above, below = (
            -odds(place, request_map, layers, [case(text, at) for at, text in enumerate(texts)])
            for texts in (harmful, harmless)
        )
        area = auroc(above, below, (harmful, harmless))
        shares = [exact_rate("above", int((scores > threshold).sum()), len(scores)) for scores in (above, below)]
        shown = [f"{100 * r.value:.1f} % ({100 * r.low:.1f} to {100 * r.high:.1f})" for r in shares]
        assert area is not None
        print(
            f"{name}: AUROC {area.value:.3f} ({area.low:.3f} to {area.high:.3f}), n = {len(above)} + {len(below)}; "
            f"above the threshold: harmful {shown[0]}, harmless {shown[1]}"
        )


if __name__ == "__main__":
    main()

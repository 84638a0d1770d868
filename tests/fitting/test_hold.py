"""An autoregressive service that streams: no token leaves before the verdict on the request."""

import pytest

import sri_sdk
from sri_sdk import registry
from sri_sdk.config.load import load_config
from sri_sdk.errors import GenerationAborted
from sri_sdk.fitting.fit import fit

from .conftest import write_config

FOLDS = {
    "request": {"split": "fit", "harmless": 20, "harmful": 20},
    "train": {"split": "fit", "harmless": 20},
    "reference": {"split": "fit", "harmless": 20},
    "calibration": {"split": "calibration", "harmless": 19},
}


class Stream:
    """What a service would send: the tokens as they are drawn, the prompt left out."""

    def __init__(self):
        self.put_before, self.tokens = False, []

    def put(self, value):
        if self.put_before:
            self.tokens += value.flatten().tolist()
        self.put_before = True

    def end(self):
        pass


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    path = write_config(
        tmp_path_factory.mktemp("causal"), model={"hook": "lab-causal"}, request={"layers": "all"}, folds=FOLDS,
        sampler={"name": "autoregressive", "options": {"tokens": 8}}, tap={"pooling": "predicting", "cells": 4},
        detector={"name": "request"}, calibrate={"alpha": 0.2},
    )  # fmt: skip
    return fit(load_config(path))


def streamed(fitted, label, **how):
    place = fitted.deployment
    (prompt,) = registry.build("datasets", "lab", {}).prompts("test", label, 1)
    encoded = place.hook.encode(place.loaded.tokenizer, [prompt.text])
    stream = Stream()
    with sri_sdk.watch(
        place.loaded.model, fitted.guard, rule="request", abort=True, tokenizer=place.loaded.tokenizer, **how
    ) as run:  # fmt: skip
        place.loaded.model.generate(
            encoded.input_ids, attention_mask=encoded.attention_mask, max_new_tokens=8, do_sample=False, streamer=stream
        )
    return stream.tokens, run


@pytest.mark.parametrize(("held", "out"), [(False, 1), (True, 0)])
def test_a_harmful_request_gets_no_token_out_if_the_first_one_is_held(fitted, held, out, monkeypatch):
    streams = []
    made = Stream.__init__
    monkeypatch.setattr(Stream, "__init__", lambda self: (made(self), streams.append(self))[0])
    with pytest.raises(GenerationAborted) as stopped:
        streamed(fitted, "harmful", hold_first_token=held)
    assert len(streams[0].tokens) == out and stopped.value.step == out - 1


def test_holding_the_first_token_changes_no_token_of_a_harmless_request(fitted):
    held, run = streamed(fitted, "harmless", hold_first_token=True)
    assert held == streamed(fitted, "harmless")[0] and len(held) > 1
    assert [v.status for v in run.verdicts] == ["clear"]

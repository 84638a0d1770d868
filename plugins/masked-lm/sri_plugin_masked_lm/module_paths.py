"""Where masked language models keep their states.

What the head's matrix reads is not the encoder's last state: in BERT and its kin the head is dense, activation,
LayerNorm, and only then the matrix. The states of the signal are those the tokens are decided from, so the norm named
here is the head's.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from sri_sdk.structure import missing_paths, unwrapped


class Places(NamedTuple):
    """Dotted paths inside the unwrapped model; `{base}` is the name that transformers gives its body."""

    norm: str
    """The last norm before the matrix that makes logits."""
    layers: str
    embedding: str


TABLE = (
    Places("cls.predictions.transform.LayerNorm", "{base}.encoder.layer", "{base}.embeddings.word_embeddings"),
    Places("lm_head.layer_norm", "{base}.encoder.layer", "{base}.embeddings.word_embeddings"),
    Places("generator_predictions.LayerNorm", "{base}.encoder.layer", "{base}.embeddings.word_embeddings"),
    Places("vocab_layer_norm", "{base}.transformer.layer", "{base}.embeddings.word_embeddings"),
    Places("head.norm", "{base}.layers", "{base}.embeddings.tok_embeddings"),
    Places("model.norm", "model.layers", "model.embed_tokens"),
)
"""The first row whose three paths all lead to a module is the model's."""


def find(model: Any) -> Places | None:
    """The model's row of the table, with its own names; None = it has none."""
    return next((row for row in _rows(model) if not missing_paths(model, row)), None)


def nearest(model: Any) -> str:
    """For messages: the row of the table that comes closest, and what the model lacks of it."""
    best = min(_rows(model), key=lambda row: len(missing_paths(model, row)))
    return f"closest {' / '.join(best)}, without {', '.join(missing_paths(model, best))}"


def _rows(model: Any) -> list[Places]:
    base = getattr(unwrapped(model), "base_model_prefix", "") or "model"
    return [Places(*(path.format(base=base) for path in row)) for row in TABLE]

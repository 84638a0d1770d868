"""Where masked language models keep their states.

What the head's matrix reads is not the encoder's last state: in BERT and its kin the head is dense, activation,
LayerNorm, and only then the matrix. The states of the signal are those the tokens are decided from, so the norm named
here is the head's.
"""

from __future__ import annotations

from sri_sdk.structure import ModulePaths

TABLE = (
    ModulePaths("cls.predictions.transform.LayerNorm", "{base}.encoder.layer", "{base}.embeddings.word_embeddings"),
    ModulePaths("lm_head.layer_norm", "{base}.encoder.layer", "{base}.embeddings.word_embeddings"),
    ModulePaths("generator_predictions.LayerNorm", "{base}.encoder.layer", "{base}.embeddings.word_embeddings"),
    ModulePaths("vocab_layer_norm", "{base}.transformer.layer", "{base}.embeddings.word_embeddings"),
    ModulePaths("head.norm", "{base}.layers", "{base}.embeddings.tok_embeddings"),
    ModulePaths("model.norm", "model.layers", "model.embed_tokens"),
)
"""The first row whose three paths all lead to a module is the model's."""

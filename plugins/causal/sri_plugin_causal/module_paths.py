"""Where causal models of transformers keep their states."""

from __future__ import annotations

from sri_sdk.structure import ModulePaths

TABLE = (
    # Text models inside a model that also sees or hears come first: outside, such a model may have a norm of its own.
    ModulePaths("model.language_model.norm", "model.language_model.layers", "model.language_model.embed_tokens"),
    ModulePaths("model.text_model.norm", "model.text_model.layers", "model.text_model.embed_tokens"),
    ModulePaths("language_model.model.norm", "language_model.model.layers", "language_model.model.embed_tokens"),
    ModulePaths("model.norm", "model.layers", "model.embed_tokens"),
    ModulePaths("model.final_layernorm", "model.layers", "model.embed_tokens"),
    ModulePaths("model.final_norm", "model.layers", "model.embed_tokens"),
    ModulePaths("model.layer_norm", "model.layers", "model.embed_tokens"),
    ModulePaths("model.embedding_norm", "model.layers", "model.embed_tokens"),
    ModulePaths("model.decoder.final_layer_norm", "model.decoder.layers", "model.decoder.embed_tokens"),
    ModulePaths("transformer.ln_f", "transformer.h", "transformer.wte"),
    ModulePaths("transformer.ln_f", "transformer.h", "transformer.word_embeddings"),
    ModulePaths("transformer.norm_f", "transformer.blocks", "transformer.wte"),
    ModulePaths("gpt_neox.final_layer_norm", "gpt_neox.layers", "gpt_neox.embed_in"),
    ModulePaths("biogpt.layer_norm", "biogpt.layers", "biogpt.embed_tokens"),
    ModulePaths("backbone.norm_f", "backbone.layers", "backbone.embeddings"),
    ModulePaths("backbone.out_norm", "backbone.blocks", "backbone.embeddings"),
    ModulePaths("model.norm_f", "model.layers", "model.embeddings"),
    ModulePaths("transformer.layernorm", "transformer.h", "transformer.w"),
    ModulePaths("rwkv.ln_out", "rwkv.blocks", "rwkv.embeddings"),
)
"""Norm, blocks and token embedding; the first row whose three paths all lead to a module is the model's."""

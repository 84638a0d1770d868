"""Plugin for any causal language model of transformers."""

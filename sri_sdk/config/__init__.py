"""YAML files: what they may say, how they are read, and what is wrong with them."""

from sri_sdk.config.load import load_config, load_evaluation

__all__ = ["load_config", "load_evaluation"]

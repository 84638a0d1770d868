"""Loading real weights: one set of options for every family that comes as a Hugging Face checkpoint.

    class MyHook(sri_sdk.Hook):
        class Config(CheckpointConfig):
            pass

        @classmethod
        def load(cls, config):
            return load_checkpoint(config, family="my-family", works_with="transformers>=4.57", auto="AutoModel")

Nothing from a checkpoint is executed unless `trust_remote_code` says so in words, and then the revision must be stated
too. A missing stack, another release of transformers, a checkpoint that is not there: each is one error with its cure.
"""

from sri_sdk.checkpoint.load import load_checkpoint
from sri_sdk.checkpoint.options import CheckpointConfig

__all__ = ["CheckpointConfig", "load_checkpoint"]

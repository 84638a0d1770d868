"""The exported artefact: files, manifest, golden vectors, signature, and the graphs drawn for it."""

from sri_sdk.bundle.bundle import Bundle, GuardParts

__all__ = ["Bundle", "GuardParts"]

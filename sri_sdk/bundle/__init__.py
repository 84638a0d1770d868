"""The exported artefact: files, manifest, golden vectors, signature, and the graphs drawn for it."""

from sri_sdk.bundle.bundle import Bundle
from sri_sdk.bundle.guard_parts import GuardParts
from sri_sdk.bundle.multi_part_guard import GuardPart, MultiPartGuard

__all__ = ["Bundle", "GuardPart", "GuardParts", "MultiPartGuard"]

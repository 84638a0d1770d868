"""The canvas of a generation: where the response lies, what of it a pass shows, and what a pass alone does not say."""

from sri_sdk.canvas.canvas import Canvas
from sri_sdk.canvas.later import LaterPasses, after_each
from sri_sdk.canvas.pass_note import PassNote
from sri_sdk.canvas.steady import FollowingPasses, OneTokenPasses, SteadyPasses, SteadySteps
from sri_sdk.canvas.window import Window, block_in_work, replaced_columns
from sri_sdk.reason_words import CANVAS_PRIMED, CANVAS_REWRITTEN

__all__ = [
    "CANVAS_PRIMED", "CANVAS_REWRITTEN", "Canvas", "FollowingPasses", "LaterPasses", "OneTokenPasses", "PassNote",
    "SteadyPasses", "SteadySteps", "Window", "after_each", "block_in_work", "replaced_columns",
]  # fmt: skip

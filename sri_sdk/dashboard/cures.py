"""What to do about a reason code, in one or two lines that fit a telephone. docs/errors-and-cures.md says more."""

from __future__ import annotations

CURES = {
    "score_above_threshold": "Not a fault. Look at the generation and label it; several alike within minutes are an "
    "attack, or the guard no longer fits the model.",
    "request_harmful": "Not a fault. The request itself reads as harmful; label it.",
    "tap_silent": "The tap sees nothing of the model. Was the model compiled, moved to another thread, or replaced "
    "by a deploy? Roll that back, or restart the process with the guard.",
    "incomplete_coverage": "Steps were missed. Generate with the profile that the guard was fitted with.",
    "tap_fired_twice": "The model's loop changed: one pass makes two steps. Roll back the last deploy.",
    "shift_differs": "Sampler and model disagree about the shift of logits. Set both as they were at the fit.",
    "unexplained_pass": "The loop edits text after it was finished. Roll back the last change of the loop.",
    "end_not_seen": "Generations end without the watch seeing it. Do clients ask for fewer tokens than before?",
    "over_budget": "Clients ask for more tokens than the guard judges. Limit max_new_tokens, or fit with a horizon.",
    "rows_differ": "More or fewer rows come back than were asked for. Turn beam search off.",
    "interrupted": "Generations are broken off. Look for exceptions and timeouts of the model's process.",
    "another_watch": "Two watches share one model. Leave one out.",
    "tokens_moved": "The model inserts or deletes tokens, which no guard reads. Roll back the last change of its loop.",
    "hook_failed": "The hook raised. The monitor's log has its class and message.",
    "special_token_in_prompt": "Somebody writes the mask token into requests. Neutralise special tokens in user text.",
    "canvas_primed": "Somebody starts responses before the first step: an attack, or your own code. Look at who asks.",
    "canvas_rewritten": "Somebody opens what was committed: an attack, or another sampler. Look at who asks.",
    "scorer_failed": "Scoring raised. Run sri bundle verify on the guard; look at memory.",
    "other_system_prompt": "The system prompt is not the one of the fit. Restore it, or fit a guard with the new one.",
    "other_sampler": "Clients ask for fewer steps or another canvas than the guard knows. Refuse those arguments.",
    "other_code": "The model runs code that the guard was not fitted with. Take the hook or adapter off.",
    "no_signal": "No step was recorded. See the other code of the same verdict.",
    "unusable_state": "Hidden states are NaN or infinite. Load the model in bfloat16 or float32.",
    "request_not_located": "The request's place in the prompt is not known. Was the chat template changed?",
    "prompt_not_seen": "A prefix cache hides the prompt. Turn it off for watched traffic.",
    "request_failed": "The hook raised while it read the prompt. The monitor's log has its message.",
    "non_finite_signal": "The signal is NaN or infinite. Load the model in bfloat16 or float32.",
    "signal_out_of_range": "Signals come in another domain than the guard reads. Look at what sends them.",
    "request_missing": "Signals come without the request's column. Look at what sends them.",
    "unknown_group": "Requests name a group that the guard does not know. Fit a guard with it.",
    "incomplete_signal": "Verdicts are asked for before generations have ended.",
    "no_verdict": "Requests are looked up that nobody watched. Does every path to the model go through the watch?",
    "scorer_unavailable": "The scorer does not answer. Look at the log of whatever scores: the monitor itself, its own "
    "scoring process, or the server that scoring names.",
    "scorer_late": "The scorer is too slow. Look at its load, or raise scoring.budget_s.",
    "scorer_other_guard": "The scorer has another guard than the monitor. Put the same bundle at both, and reload.",
    "score_not_finite": "The detector's score is no number. Roll the guard back.",
}
DEFAULT_CURE = "docs/errors-and-cures.md has this code, its usual cause and its cure."


def cure(code: str) -> str:
    """What to do about a code."""
    return CURES.get(code, DEFAULT_CURE)

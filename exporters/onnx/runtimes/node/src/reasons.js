/** Codes of why a generation was flagged or not judged, as every runtime of the SDK has them. */

export const ABOVE = "score_above_threshold";
export const NOT_FINITE = "non_finite_signal";
export const OUT_OF_RANGE = "signal_out_of_range";
export const INCOMPLETE = "incomplete_signal";
export const UNSCORABLE = "score_not_finite";
export const REQUEST_MISSING = "request_missing";
export const UNKNOWN_GROUP = "unknown_group";

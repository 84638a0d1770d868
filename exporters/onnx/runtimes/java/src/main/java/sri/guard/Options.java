package sri.guard;

import java.util.List;

/**
 * How signals are to be judged.
 *
 * @param rule when to decide
 * @param fingerprint JSON object with {@code hard} and {@code soft}: what made the signals; null = not known
 * @param accept names of soft fields that may differ
 * @param unverified score signals without a fingerprint, at the caller's risk
 */
public record Options(Verdict.Rule rule, String fingerprint, List<String> accept, boolean unverified) {}

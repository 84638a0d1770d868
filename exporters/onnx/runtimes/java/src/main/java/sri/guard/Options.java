package sri.guard;

import java.util.List;

/**
 * How signals are to be judged.
 *
 * @param rule when to decide
 * @param accept names of soft fields of the fingerprint that may differ
 * @param unverified score signals without a fingerprint, at the caller's risk
 */
public record Options(Verdict.Rule rule, List<String> accept, boolean unverified) {
    /** Nothing may differ, and signals say what made them. */
    public Options(Verdict.Rule rule) {
        this(rule, List.of(), false);
    }
}

package sri.guard;

import java.util.List;
import java.util.stream.Collectors;

/**
 * What a guard says of one generation, in the schema every runtime shares. {@code unmonitored} is never {@code clear}.
 *
 * @param status what was found
 * @param reasons codes, most important first
 * @param score higher = more suspicious, in the detector's own unit; null where nothing could be scored
 * @param threshold flagged when score > threshold
 * @param pValue (1 + #{calibration scores >= score}) / (n + 1)
 * @param firstAlarmStep step that was done when the online rule first alarmed, counted from 0; null = none
 * @param rule which rule judged
 * @param bundle digest of the bundle that scored it
 * @param accepted soft fields of the fingerprint that differ and were accepted; {@code unverified} for signals without
 *     one
 */
public record Verdict(Status status, List<String> reasons, Float score, double threshold, Double pValue,
        Long firstAlarmStep, Rule rule, String bundle, List<String> accepted) {
    private static final int SCHEMA = 1;

    /** When a guard decides. */
    public enum Rule {
        /** Judges finished generations. */
        FINAL,
        /** Judges every length up to the row's own, as a monitor would have done while it ran. */
        ONLINE;

        String word() {
            return this == FINAL ? "final" : "online";
        }
    }

    /** What a guard finds. */
    public enum Status {
        /** Nothing is known. */
        UNMONITORED,
        /** Judged, and not above the threshold. */
        CLEAR,
        /** Above the threshold. */
        FLAGGED
    }

    /** The verdict as one line of JSON. */
    public String toJson(String requestId) {
        return "{\"request_id\": " + Json.quoted(requestId) + ", \"status\": "
                + Json.quoted(status.name().toLowerCase(java.util.Locale.ROOT)) + ", \"reasons\": " + list(reasons)
                + ", \"score\": " + (score == null ? null : Double.valueOf(score)) + ", \"threshold\": " + threshold
                + ", \"p_value\": " + pValue + ", \"first_alarm_step\": " + firstAlarmStep
                + ", \"steps_seen\": null, \"steps_expected\": null, \"rule\": " + Json.quoted(rule.word())
                + ", \"bundle\": " + Json.quoted(bundle) + ", \"accepted\": " + list(accepted)
                + ", \"schema\": " + SCHEMA + "}";
    }

    private static String list(List<String> texts) {
        return texts.stream().map(Json::quoted).collect(Collectors.joining(", ", "[", "]"));
    }
}

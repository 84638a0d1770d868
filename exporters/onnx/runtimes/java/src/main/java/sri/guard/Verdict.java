package sri.guard;

import com.sun.jna.Native;
import com.sun.jna.Pointer;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.stream.IntStream;
import java.util.stream.LongStream;

/**
 * What a guard says of one generation, in the schemas every runtime shares. {@code UNMONITORED} is never {@code CLEAR}.
 *
 * @param requestId name of the generation, as its signals have it
 * @param status what was found
 * @param reasons codes, most important first; docs/errors-and-cures.md says what to do about each
 * @param score higher = more suspicious, in the detector's own unit; null where nothing could be scored. Of the part
 *     that decided
 * @param threshold flagged when score > threshold
 * @param pValue (1 + #{calibration scores >= score}) / (n + 1); of several parts, that of the one that decided, times
 *     alpha over its share; null where there is no score
 * @param firstAlarmStep step that was done when the online rule first alarmed, counted from 0; null = none
 * @param rule which rule judged
 * @param bundle digest of the bundle that scored it
 * @param accepted soft fields of the fingerprint that differ and were accepted; {@code unverified} for signals without
 *     one
 * @param judgedSteps steps that the verdict is about, of a guard that decides on the first ones; else null
 * @param ended how the generation ended; null = the guard cannot tell
 * @param group whose thresholds counted; null = the guard has no groups, or not the one given
 * @param parts what each part of the rule says; empty in schema 1
 * @param schema 1, or 2 of guards of format 2
 * @param json all of this as one line of JSON
 */
public record Verdict(String requestId, Status status, List<String> reasons, Float score, double threshold,
        Double pValue, Long firstAlarmStep, Rule rule, String bundle, List<String> accepted, Long judgedSteps,
        Ended ended, String group, List<Part> parts, int schema, String json) {
    /** By bit of sri_verdict.accepted. */
    private static final List<String> ACCEPTED =
            List.of("dtype", "adapter", "torch", "transformers", "system_prompt", "unverified");

    private static final int USUAL_LINE = 2048;

    /** When a guard decides, in the order of sri_rule. */
    public enum Rule {
        /** Judges finished generations. */
        FINAL,
        /** Judges every length up to the row's own, as a monitor would have done while it ran. */
        ONLINE,
        /** Judges what the guard says of requests alone; not every guard has this rule. */
        REQUEST
    }

    /** What a guard finds, in the order of sri_status. */
    public enum Status {
        /** Nothing is known. */
        UNMONITORED,
        /** Judged, and not above the threshold. */
        CLEAR,
        /** Above the threshold. */
        FLAGGED
    }

    /** How a generation ended, in the order of sri_ended, whose 0 is null here. */
    public enum Ended {
        /** Its last cell is that of a refusal. */
        REFUSING,
        /** It is not. */
        COMPLYING
    }

    /**
     * What one part of a guard says of one generation.
     *
     * @param name of the part
     * @param status what it found
     * @param score higher = more suspicious, in the detector's own unit; null where nothing could be scored
     * @param threshold flagged when score > threshold
     * @param pValue (1 + #{calibration scores >= score}) / (n + 1); null where there is no score
     * @param reason code of its alarm, or of why it could not be judged; null = it is clear
     */
    public record Part(String name, Status status, Float score, double threshold, Double pValue, String reason) {
        private static Part of(Pointer at) {
            CLibrary.NativePart found = new CLibrary.NativePart(at);
            found.read();
            return new Part(CLibrary.text(found.name), Status.values()[found.status],
                    found.scored == 0 ? null : found.score, found.threshold, found.scored == 0 ? null : found.pValue,
                    CLibrary.text(found.reason));
        }
    }

    /** Copies a verdict of the library's, whose texts and parts are there. */
    static Verdict of(Pointer at, String requestId) {
        CLibrary.NativeVerdict found = new CLibrary.NativeVerdict(at);
        found.read();
        int partSize = new CLibrary.NativePart(null).size();
        return new Verdict(requestId, Status.values()[found.status],
                Arrays.stream(found.reasons).takeWhile(Objects::nonNull).map(CLibrary::text).toList(),
                found.scored == 0 ? null : found.score, found.threshold, found.scored == 0 ? null : found.pValue,
                found.firstAlarmStep < 0 ? null : found.firstAlarmStep, Rule.values()[found.rule],
                Native.toString(found.bundle, StandardCharsets.US_ASCII),
                IntStream.range(0, ACCEPTED.size()).filter(bit -> (found.accepted >> bit & 1) == 1)
                        .mapToObj(ACCEPTED::get).toList(),
                found.judgedSteps < 0 ? null : found.judgedSteps,
                found.ended == 0 ? null : Ended.values()[found.ended - 1], CLibrary.text(found.group),
                LongStream.range(0, found.parts == null ? 0 : found.partCount)
                        .mapToObj(k -> Part.of(found.parts.share(k * partSize))).toList(),
                found.schema, line(at, requestId));
    }

    private static String line(Pointer at, String requestId) {
        byte[] line = new byte[USUAL_LINE];
        int length = (int) CLibrary.sri_verdict_json(at, requestId, line, line.length);
        if (length >= line.length) {
            line = new byte[length + 1];
            CLibrary.sri_verdict_json(at, requestId, line, line.length);
        }
        return new String(line, 0, length, StandardCharsets.UTF_8);
    }
}

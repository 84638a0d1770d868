package sri.guard;

import com.sun.jna.Library;
import com.sun.jna.Native;
import com.sun.jna.NativeLibrary;
import com.sun.jna.Pointer;
import com.sun.jna.Structure;
import com.sun.jna.ptr.PointerByReference;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Map;
import java.util.function.ToIntFunction;
import java.util.stream.Collectors;

/**
 * What {@code ../c/sri_guard.h} declares, once more; the sizes of structs are compared when the library is loaded.
 *
 * <p>{@code size_t} is a long and {@code bool} a byte. JNA would take a boolean for four bytes, of which C sets one.
 */
final class CLibrary {
    private static final int MOST_REASONS = 22;
    private static final int REASON_BYTES = 1024;
    private static final int DIGEST_BYTES = 65;

    /** Why the library cannot be used; null = it can. Kept, so that every call says so and not the first one alone. */
    private static final String UNUSABLE = load();

    private CLibrary() {}

    // JNA reads and writes fields by reflection, so these classes and their fields are public.

    /** sri_part_verdict. */
    @Structure.FieldOrder({"name", "status", "scored", "score", "threshold", "pValue", "reason"})
    public static final class NativePart extends Structure {
        public Pointer name;
        public int status;
        public byte scored;
        public float score;
        public double threshold;
        public double pValue;
        public Pointer reason;

        NativePart(Pointer at) {
            super(at);
        }
    }

    /** sri_verdict. */
    @Structure.FieldOrder({"status", "rule", "reasons", "scored", "score", "threshold", "pValue", "firstAlarmStep",
            "judgedSteps", "ended", "group", "parts", "partCount", "accepted", "schema", "bundle"})
    public static final class NativeVerdict extends Structure {
        public int status;
        public int rule;
        public Pointer[] reasons = new Pointer[MOST_REASONS];
        public byte scored;
        public float score;
        public double threshold;
        public double pValue;
        public long firstAlarmStep;
        public long judgedSteps;
        public int ended;
        public Pointer group;
        public Pointer parts;
        public long partCount;
        public int accepted;
        public int schema;
        public byte[] bundle = new byte[DIGEST_BYTES];

        NativeVerdict(Pointer at) {
            super(at);
        }
    }

    /** sri_options. */
    @Structure.FieldOrder({"rule", "fingerprint", "accept", "acceptCount", "unverified"})
    public static final class NativeOptions extends Structure {
        public int rule;
        public Pointer fingerprint;
        public Pointer accept;
        public long acceptCount;
        public byte unverified;
    }

    /** sri_file. */
    @Structure.FieldOrder({"name", "bytes", "size"})
    public static final class NativeFile extends Structure {
        public Pointer name;
        public Pointer bytes;
        public long size;

        NativeFile(Pointer at) {
            super(at);
        }
    }

    static native void sri_struct_sizes(long[] sizes);

    static native int sri_guard_open(String folder, String digest, PointerByReference guard, byte[] error);

    static native int sri_guard_open_files(
            String subject, Pointer files, long count, String digest, PointerByReference guard, byte[] error);

    static native void sri_guard_close(Pointer guard);

    static native long sri_guard_cells(Pointer guard);

    static native long sri_guard_columns(Pointer guard);

    static native long sri_guard_parts(Pointer guard);

    static native int sri_guard_format(Pointer guard);

    static native String sri_guard_digest(Pointer guard);

    static native String sri_guard_domain(Pointer guard);

    static native byte sri_guard_has_rule(Pointer guard, int rule);

    static native String sri_guard_column_name(Pointer guard, long column);

    static native String sri_guard_part_name(Pointer guard, long part);

    static native double sri_guard_threshold(Pointer guard, int rule, long part, String group);

    static native int sri_guard_score(Pointer guard, float[] signals, long[] lengths, Pointer groups, long count,
            NativeOptions options, PointerByReference verdicts, byte[] error);

    static native Pointer sri_verdicts_at(Pointer verdicts, long row);

    static native void sri_verdicts_free(Pointer verdicts);

    static native long sri_verdict_json(Pointer verdict, String requestId, byte[] line, long room);

    static native int sri_guard_run(
            Pointer guard, float[] signals, long[] lengths, long count, float[] score, byte[] valid, byte[] error);

    static native int sri_signals_read(Pointer guard, String path, PointerByReference signals, byte[] error);

    static native int sri_signals_parse(
            Pointer guard, String subject, byte[] bytes, long size, PointerByReference signals, byte[] error);

    static native void sri_signals_free(Pointer signals);

    static native long sri_signals_count(Pointer signals);

    static native String sri_signals_id(Pointer signals, long row);

    static native Pointer sri_signals_cells(Pointer signals);

    static native Pointer sri_signals_lengths(Pointer signals);

    static native Pointer sri_signals_groups(Pointer signals);

    static native String sri_signals_fingerprint(Pointer signals);

    /** A call that may be refused; it gets room for the reason. */
    static void ask(Refused.Kind kind, ToIntFunction<byte[]> call) throws Refused {
        if (UNUSABLE != null) {
            throw new Refused(Refused.Kind.LIBRARY, UNUSABLE);
        }
        byte[] reason = new byte[REASON_BYTES];
        if (call.applyAsInt(reason) != 0) {
            throw new Refused(kind, Native.toString(reason, StandardCharsets.UTF_8));
        }
    }

    /** null where there is no text. */
    static String text(Pointer text) {
        return text == null ? null : text.getString(0, "UTF-8");
    }

    private static String load() {
        try {
            Native.register(CLibrary.class,
                    NativeLibrary.getInstance("sri_guard", Map.of(Library.OPTION_STRING_ENCODING, "UTF-8")));
        } catch (UnsatisfiedLinkError err) {
            // JNA tries several places, and gives a line to each, also to the jars, where nobody puts this library.
            String why = err.getMessage().lines().map(String::strip)
                    .filter(line -> !line.startsWith("Native library (")).distinct().collect(Collectors.joining(" "));
            return "libsri_guard: cannot be loaded (" + why + "). Build it with `make shared` in the folder c, and "
                    + "name the folder that holds it: java -Djna.library.path=FOLDER.";
        }
        long[] found = new long[5];
        sri_struct_sizes(found);
        long[] own = {new NativeVerdict(null).size(), new NativePart(null).size(), new NativeOptions().size(),
                new NativeFile(null).size(), REASON_BYTES};
        if (Native.SIZE_T_SIZE != Long.BYTES || !Arrays.equals(own, found)) {
            return "libsri_guard: structs of " + Arrays.toString(found) + " bytes, these classes declare "
                    + Arrays.toString(own) + ", for systems of 64 bits. Build both from the same release.";
        }
        return null;
    }
}

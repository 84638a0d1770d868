package sri.guard;

import com.sun.jna.Pointer;
import com.sun.jna.ptr.PointerByReference;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.function.ToIntBiFunction;

/**
 * Signals of N generations.
 *
 * @param cells [N, T, C] in the guard's domain, row by row
 * @param lengths [N] cells filled so far, 0 to T; null = all T
 * @param ids [N] names in the verdicts; null = none
 * @param groups [N] to which group of prompts each belongs, null = not known; null = nobody knows any. Guards without
 *     groups do not read them
 * @param fingerprint JSON object with {@code hard} and {@code soft}: what made the signals; null = not known
 */
public record Signals(float[] cells, long[] lengths, List<String> ids, List<String> groups, String fingerprint) {
    /** Finished generations, of which nothing else is known. */
    public Signals(float[] cells, String fingerprint) {
        this(cells, null, null, null, fingerprint);
    }

    /**
     * Reads JSON lines as {@code sri score} does; {@code -} is standard input.
     *
     * <pre>
     * {"sri_signals": 1, "fingerprint": {...}, "columns": [...]}      optional first line
     * {"id": "req-1", "sigma": [0.98, 0.97, ...], "length": 12}       a number per cell; a list per cell where C > 1
     * </pre>
     *
     * <p>The form the guard reads, {@code sigma} or {@code logit}, must be there. {@code null} and NaN mean "not
     * finite". Without {@code length} the generation is finished. A line may name its {@code group}.
     *
     * @throws Refused names the line, and what is wrong with it
     */
    public static Signals read(Guard guard, Path file) throws Refused {
        String path = file.toString();
        return of(guard, (handle, call) -> CLibrary.sri_signals_read(handle, path, call.made, call.reason));
    }

    /** The same for bytes in memory; {@code subject} names them in messages. */
    public static Signals parse(Guard guard, String subject, byte[] lines) throws Refused {
        return of(guard,
                (handle, call)
                        -> CLibrary.sri_signals_parse(
                                handle, subject, lines, lines.length, call.made, call.reason));
    }

    private record Call(PointerByReference made, byte[] reason) {}

    private static Signals of(Guard guard, ToIntBiFunction<Pointer, Call> read) throws Refused {
        return guard.using(handle -> {
            PointerByReference made = new PointerByReference();
            CLibrary.ask(Refused.Kind.SIGNALS, reason -> read.applyAsInt(handle, new Call(made, reason)));
            Pointer found = made.getValue();
            try {
                return copy(guard, found);
            } finally {
                CLibrary.sri_signals_free(found);
            }
        });
    }

    private static Signals copy(Guard guard, Pointer found) throws Refused {
        long size = CLibrary.sri_signals_count(found) * guard.cells() * guard.columns();
        if (size > Integer.MAX_VALUE - 8) {
            throw new Refused(Refused.Kind.SIGNALS,
                    "signals: " + size + " numbers are more than an array of Java holds. Score them in parts.");
        }
        int rows = (int) CLibrary.sri_signals_count(found);
        String[] ids = new String[rows];
        Arrays.setAll(ids, row -> CLibrary.sri_signals_id(found, row));
        Pointer[] named = CLibrary.sri_signals_groups(found).getPointerArray(0, rows);
        return new Signals(CLibrary.sri_signals_cells(found).getFloatArray(0, (int) size),
                CLibrary.sri_signals_lengths(found).getLongArray(0, rows), Arrays.asList(ids),
                Arrays.stream(named).map(CLibrary::text).toList(), CLibrary.sri_signals_fingerprint(found));
    }
}

package sri.guard;

import com.sun.jna.Memory;
import com.sun.jna.Pointer;
import com.sun.jna.ptr.PointerByReference;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.OptionalDouble;
import java.util.concurrent.locks.ReadWriteLock;
import java.util.concurrent.locks.ReentrantReadWriteLock;
import java.util.function.IntFunction;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/**
 * A bundle, loaded and self-tested: signals in, verdicts out. May be shared between threads; close() waits for calls
 * that are under way.
 *
 * <p>Letters in shapes: N generations, T cells of the step grid, C columns (in format 1, the tapped layers), K parts (1
 * in format 1); arrays are row-major. The signature of a bundle and its static inspection are left to
 * {@code sri bundle verify}.
 */
public final class Guard implements AutoCloseable {
    /**
     * Bare scores.
     *
     * @param score [N, K]
     * @param valid [N, K]; where it is false the score is 3e38, which is above every threshold
     */
    public record Scored(float[] score, boolean[] valid) {}

    /** What is done with the handle of an open guard. */
    interface Use<T, E extends Exception> {
        T with(Pointer handle) throws E;
    }

    private final ReadWriteLock closing = new ReentrantReadWriteLock();
    private Pointer handle;
    private final int cells;
    private final int columns;
    private final int parts;
    private final int format;
    private final String digest;
    private final String domain;
    private final List<String> columnNames;
    private final List<String> partNames;

    /** Opens a bundle folder, whichever it is. */
    public static Guard open(Path folder) throws Refused {
        return open(folder, null);
    }

    /**
     * Opens a bundle folder.
     *
     * @param folder the bundle
     * @param digest what its digest must be (64 hex characters): the one protection against tampering here; null = any
     * @throws Refused what is missing, listed but not there, there but not listed, not a plain file, too large,
     *     damaged, of another format or of tier {@code python}, what onnxruntime cannot load, and what computes
     *     something else than the golden vectors
     */
    public static Guard open(Path folder, String digest) throws Refused {
        PointerByReference made = new PointerByReference();
        CLibrary.ask(Refused.Kind.BUNDLE,
                reason -> CLibrary.sri_guard_open(folder.toString(), digest, made, reason));
        return new Guard(made.getValue());
    }

    /** The same for files in memory, {@code manifest.json} among them; {@code subject} names them in messages. */
    public static Guard of(String subject, Map<String, byte[]> files, String digest) throws Refused {
        PointerByReference made = new PointerByReference();
        CLibrary.ask(Refused.Kind.BUNDLE, reason -> {
            try (Scratch scratch = new Scratch()) {
                int size = new CLibrary.NativeFile(null).size();
                Memory list = scratch.room((long) files.size() * size);
                int at = 0;
                for (Map.Entry<String, byte[]> file : files.entrySet()) {
                    CLibrary.NativeFile one = new CLibrary.NativeFile(list.share((long) size * at++));
                    one.name = scratch.text(file.getKey());
                    one.bytes = scratch.bytes(file.getValue());
                    one.size = file.getValue().length;
                    one.write();
                }
                return CLibrary.sri_guard_open_files(subject, list, files.size(), digest, made, reason);
            }
        });
        return new Guard(made.getValue());
    }

    private Guard(Pointer handle) {
        this.handle = handle;
        cells = (int) CLibrary.sri_guard_cells(handle);
        columns = (int) CLibrary.sri_guard_columns(handle);
        parts = (int) CLibrary.sri_guard_parts(handle);
        format = CLibrary.sri_guard_format(handle);
        digest = CLibrary.sri_guard_digest(handle);
        domain = CLibrary.sri_guard_domain(handle);
        columnNames = names(columns, column -> CLibrary.sri_guard_column_name(handle, column));
        partNames = names(parts, part -> CLibrary.sri_guard_part_name(handle, part));
    }

    private static List<String> names(int count, IntFunction<String> name) {
        return IntStream.range(0, count).mapToObj(name).filter(Objects::nonNull).toList();
    }

    /** Gives back what the guard holds, once no call is under way; afterwards the guard cannot be used. */
    @Override
    public void close() {
        closing.writeLock().lock();
        try {
            if (handle != null) {
                CLibrary.sri_guard_close(handle);
            }
            handle = null;
        } finally {
            closing.writeLock().unlock();
        }
    }

    <T, E extends Exception> T using(Use<T, E> use) throws E {
        closing.readLock().lock();
        try {
            if (handle == null) {
                throw new IllegalStateException("guard: used after close(). Open the bundle again.");
            }
            return use.with(handle);
        } finally {
            closing.readLock().unlock();
        }
    }

    /** T. */
    public int cells() {
        return cells;
    }

    /** C. */
    public int columns() {
        return columns;
    }

    /** K. */
    public int parts() {
        return parts;
    }

    /** Of its bundle, 1 or 2. */
    public int format() {
        return format;
    }

    /** 64 hex characters that name this very bundle. */
    public String digest() {
        return digest;
    }

    /** {@code sigma} or {@code logit}: what signals must hold. */
    public String domain() {
        return domain;
    }

    /** Names of the C columns; empty in format 1. */
    public List<String> columnNames() {
        return columnNames;
    }

    /** Names of the K parts; empty in format 1. */
    public List<String> partNames() {
        return partNames;
    }

    /** Whether the guard has a rule; all have {@code FINAL} and {@code ONLINE}. */
    public boolean hasRule(Verdict.Rule rule) {
        return using(open -> CLibrary.sri_guard_has_rule(open, rule.ordinal())) != 0;
    }

    /**
     * What scores of a part are compared with, flagged when above; empty where the rule does not judge this part.
     *
     * @param rule whose threshold
     * @param part counted from 0
     * @param group of the generation; for one that the guard does not have, or null, it is the largest of all groups
     */
    public OptionalDouble threshold(Verdict.Rule rule, int part, String group) {
        double found = using(open -> CLibrary.sri_guard_threshold(open, rule.ordinal(), part, known(group)));
        return Double.isNaN(found) ? OptionalDouble.empty() : OptionalDouble.of(found);
    }

    /**
     * The bare graphs, for streaming.
     *
     * @param signals [N, T, C]
     * @param lengths [N] cells known so far: the scores are those of running generations, to be compared with the
     *     thresholds of {@code ONLINE}, and cells beyond a length are not read; null: those of finished ones
     * @throws Refused shapes that do not fit
     */
    public Scored run(float[] signals, long[] lengths) throws Refused {
        int rows = rows(signals, lengths);
        float[] score = new float[Math.multiplyExact(rows, parts)];
        byte[] valid = new byte[score.length];
        using(open -> {
            CLibrary.ask(Refused.Kind.CALL,
                    reason -> CLibrary.sri_guard_run(open, signals, lengths, rows, score, valid, reason));
            return null;
        });
        boolean[] judged = new boolean[valid.length];
        for (int i = 0; i < valid.length; i++) {
            judged[i] = valid[i] != 0;
        }
        return new Scored(score, judged);
    }

    /**
     * One verdict per generation, in order. A row that cannot be scored is unmonitored and says why; it never fails its
     * neighbours.
     *
     * @throws Refused shapes that do not fit, lengths that do not exist, a rule that the guard does not have, no
     *     fingerprint without {@code unverified}, or a fingerprint of another model, tap or profile
     */
    public List<Verdict> score(Signals signals, Options options) throws Refused {
        int rows = rows(signals.cells(), signals.lengths());
        checkCount("ids", signals.ids(), rows);
        checkCount("groups", signals.groups(), rows);
        checkWhole(options.accept().stream());
        checkWhole(signals.ids() == null ? Stream.empty() : signals.ids().stream());
        checkWhole(Stream.ofNullable(signals.fingerprint()));
        try (Scratch scratch = new Scratch()) {
            CLibrary.NativeOptions given = new CLibrary.NativeOptions();
            given.rule = options.rule().ordinal();
            given.fingerprint = scratch.text(signals.fingerprint());
            given.accept = scratch.texts(options.accept());
            given.acceptCount = options.accept().size();
            given.unverified = (byte) (options.unverified() ? 1 : 0);
            List<String> named = signals.groups();
            Pointer groups = scratch.texts(named == null ? null : named.stream().map(Guard::known).toList());
            return using(open -> {
                PointerByReference made = new PointerByReference();
                CLibrary.ask(Refused.Kind.CALL,
                        reason -> CLibrary.sri_guard_score(
                                open, signals.cells(), signals.lengths(), groups, rows, given, made, reason));
                return copied(made.getValue(), rows, signals.ids());
            });
        }
    }

    private static List<Verdict> copied(Pointer verdicts, int rows, List<String> ids) {
        try {
            List<Verdict> found = new ArrayList<>(rows);
            for (int row = 0; row < rows; row++) {
                found.add(Verdict.of(CLibrary.sri_verdicts_at(verdicts, row), ids == null ? "" : ids.get(row)));
            }
            return found;
        } finally {
            CLibrary.sri_verdicts_free(verdicts);
        }
    }

    private int rows(float[] signals, long[] lengths) throws Refused {
        int size = Math.multiplyExact(cells, columns);
        int rows = signals.length / size;
        if (signals.length % size != 0 || (lengths != null && lengths.length != rows)) {
            throw refused("signals: %d numbers and %d lengths, the guard takes [N, %d, %d] and [N]. Lay the signals on "
                            + "the guard's step grid and columns.",
                    signals.length, lengths == null ? rows : lengths.length, cells, columns);
        }
        return rows;
    }

    private static void checkCount(String what, List<String> given, int rows) throws Refused {
        if (given != null && given.size() != rows) {
            throw refused("signals: %d %s for %d generations. Give one each, or none.", given.size(), what, rows);
        }
    }

    /** A NUL ends a text early in C, and would make it another one. */
    private static void checkWhole(Stream<String> texts) throws Refused {
        String cut = texts.filter(text -> text.indexOf('\0') >= 0).findFirst().orElse(null);
        if (cut != null) {
            throw refused("signals: the text %s holds a NUL. Names and fingerprints have none; leave it out.",
                    cut.replaceAll("\\p{Cntrl}", "?"));
        }
    }

    /** No guard has a group with a NUL in its name. */
    private static String known(String group) {
        return group == null || group.indexOf('\0') >= 0 ? null : group;
    }

    private static Refused refused(String format, Object... values) {
        return new Refused(Refused.Kind.CALL, String.format(Locale.ROOT, format, values));
    }
}

package sri.guard;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/**
 * A bundle, loaded and self-tested: signals in, verdicts out. May be shared between threads.
 *
 * <p>Letters in shapes: N generations, T cells of the step grid, C tapped layers; arrays are row-major. The signature
 * of a bundle and its static inspection are left to {@code sri bundle verify}.
 */
public final class Guard implements AutoCloseable {
    /** Rows per call, and cells, whichever is fewer: keeps temporaries small. */
    private static final int CHUNK = 256;
    private static final int CHUNK_CELLS = 1 << 22;

    /**
     * Bare scores.
     *
     * @param score [N]
     * @param valid [N]; where it is false the score is 3e38, which is above every threshold
     */
    public record Scored(float[] score, boolean[] valid) {}

    private final Manifest manifest;
    private final List<Graph> graphs = new ArrayList<>();

    /** One row, or one row so far. */
    private static final class Judged {
        Float score;
        boolean complete;
        int alarm = -1;
    }

    /**
     * Opens a bundle folder.
     *
     * @param folder the bundle
     * @param digest what its digest must be: the one protection against tampering here; null = any
     * @throws Refused what is missing, listed but not there, there but not listed, not a plain file, too large,
     *     damaged, of another format or of tier {@code python}, what onnxruntime cannot load, and what computes
     *     something else than the golden vectors
     */
    public static Guard open(Path folder, String digest) throws Refused {
        return of(folder.toString(), BundleFiles.read(folder), digest);
    }

    /** The same for files in memory, {@code manifest.json} among them; {@code subject} names them in messages. */
    public static Guard of(String subject, Map<String, byte[]> files, String digest) throws Refused {
        Map<String, Long> sizes = new TreeMap<>();
        files.forEach((name, content) -> sizes.put(name, (long) content.length));
        BundleFiles.checkSizes(subject, sizes);
        if (!files.containsKey(BundleFiles.MANIFEST)) {
            throw new Refused("%s: %s is missing. Export the guard again.", subject, BundleFiles.MANIFEST);
        }
        if (digest != null) {
            Manifest.checkPinned(files.get(BundleFiles.MANIFEST), subject, digest);
        }
        Guard guard = new Guard(new Manifest(files, subject));
        try {
            for (int which = 0; which < 2; which++) {
                String file = Promises.GRAPHS.get(which) + ".onnx";
                guard.graphs.add(
                        new Graph(files.get(file), subject + "/" + file, which == 1, guard.cells(), guard.layers()));
                guard.selfTest(subject, which);
            }
        } catch (Refused | RuntimeException err) {
            guard.close();
            throw err;
        }
        return guard;
    }

    private Guard(Manifest manifest) {
        this.manifest = manifest;
    }

    /** A runtime that computes something else never scores. */
    private void selfTest(String subject, int which) throws Refused {
        Promises.Golden golden = manifest.golden.get(which);
        Scored found = runUnchecked(golden.signals(), golden.lengths());
        for (int row = 0; row < golden.score().length; row++) {
            if (found.valid()[row] != golden.valid()[row]) {
                throw new Refused("%s: graph %s says valid = %b of golden row %d, not the opposite. This runtime "
                                  + "cannot be trusted "
                                + "with it; use another onnxruntime, or export the guard again.",
                        subject, Promises.GRAPHS.get(which), found.valid()[row], row);
            }
            double gap = Math.abs((double) found.score()[row] - golden.score()[row]);
            if (!(gap <= golden.tolerance()[row])) { // NaN is wrong, too.
                throw new Refused(
                        "%s: graph %s scores golden row %d %g, expected %g within %.2g. Use another onnxruntime, or "
                                + "export the guard again.",
                        subject, Promises.GRAPHS.get(which), row, found.score()[row], golden.score()[row],
                        golden.tolerance()[row]);
            }
        }
    }

    /** T. */
    public int cells() {
        return manifest.cells;
    }

    /** C. */
    public int layers() {
        return manifest.layers;
    }

    /** {@code sigma} or {@code logit}: what signals must hold. */
    public String domain() {
        return manifest.domain;
    }

    /** 64 hex characters that name this very bundle. */
    public String digest() {
        return manifest.digest;
    }

    /** Flagged when score > threshold. */
    public double threshold(Verdict.Rule rule) {
        return manifest.rules.get(rule).value();
    }

    @Override
    public void close() {
        graphs.forEach(Graph::close);
        graphs.clear();
    }

    /**
     * The bare graphs, for streaming: [N, T, C] to score [N], valid [N].
     *
     * @param signals [N, T, C] in the guard's domain
     * @param lengths [N] cells known so far, for the score of running generations, which is compared with the threshold
     *     of {@code ONLINE}; null for that of finished ones. Cells beyond a length are not read
     * @throws Refused shapes that do not fit
     */
    public Scored run(float[] signals, long[] lengths) throws Refused {
        Scored found = runUnchecked(signals, lengths);
        for (int row = 0; row < found.score().length; row++) {
            // A graph that calls a score valid which is no number below 3e38 is not believed: NaN is above no threshold,
            // so it would find every generation clear.
            if (!(Math.abs(found.score()[row]) < Manifest.INVALID_SCORE)) {
                found.score()[row] = Manifest.INVALID_SCORE;
                found.valid()[row] = false;
            }
        }
        return found;
    }

    private Scored runUnchecked(float[] signals, long[] lengths) throws Refused {
        int rows = rows(signals, lengths);
        int size = cells() * layers();
        int step = Math.max(1, Math.min(CHUNK, CHUNK_CELLS / size));
        float[] score = new float[rows];
        boolean[] valid = new boolean[rows];
        for (int at = 0; at < rows; at += step) {
            int count = Math.min(step, rows - at);
            long[] known = lengths == null ? null : Arrays.copyOfRange(lengths, at, at + count);
            Graph.Scores part = graphs.get(lengths == null ? 0 : 1).run(signals, at * size, known, count);
            System.arraycopy(part.score(), 0, score, at, count);
            System.arraycopy(part.valid(), 0, valid, at, count);
        }
        return new Scored(score, valid);
    }

    /**
     * One verdict per generation, in order. A row that cannot be scored is unmonitored and says why; it never fails its
     * neighbours.
     *
     * @param signals [N, T, C] in the guard's domain
     * @param lengths [N] cells filled so far, 0 to T; null = all T
     * @throws Refused shapes that do not fit, lengths that do not exist, no fingerprint without {@code unverified}, or
     *     a fingerprint of another model, tap or profile
     */
    public List<Verdict> score(float[] signals, long[] lengths, Options options) throws Refused {
        int rows = rows(signals, lengths);
        long[] known = lengths == null ? filled(rows) : lengths;
        for (long length : known) {
            if (length < 0 || length > cells()) {
                throw new Refused("signals: lengths must be numbers from 0 to %d, found %d. A length is the number of "
                                  + "cells filled "
                                + "so far.",
                        cells(), length);
            }
        }
        List<String> accepted = Admission.admit(manifest, options);
        Judged[] judged =
                options.rule() == Verdict.Rule.ONLINE ? judgeOnline(signals, known) : judgeFinal(signals, known);
        List<Verdict> verdicts = new ArrayList<>();
        for (int row = 0; row < rows; row++) {
            verdicts.add(conclude(judged[row], signals, row, (int) known[row], options.rule(), accepted));
        }
        return verdicts;
    }

    private long[] filled(int rows) {
        long[] lengths = new long[rows];
        Arrays.fill(lengths, cells());
        return lengths;
    }

    private int rows(float[] signals, long[] lengths) throws Refused {
        int size = cells() * layers();
        int rows = signals.length / size;
        if (signals.length % size != 0 || (lengths != null && lengths.length != rows)) {
            throw new Refused(
                    "signals: %d numbers and %d lengths, the guard takes [N, %d, %d] and [N]. Lay the signals on the "
                            + "guard's step grid and tapped layers.",
                    signals.length, lengths == null ? rows : lengths.length, cells(), layers());
        }
        return rows;
    }

    private Judged[] judgeFinal(float[] signals, long[] lengths) throws Refused {
        Scored found = run(signals, null);
        Judged[] judged = new Judged[lengths.length];
        for (int row = 0; row < judged.length; row++) {
            judged[row] = new Judged();
            judged[row].complete = found.valid()[row] && lengths[row] == cells();
            judged[row].score = judged[row].complete ? Float.valueOf(found.score()[row]) : null;
        }
        return judged;
    }

    /** Every length of every row goes through the graph {@code prefix}. */
    private Judged[] judgeOnline(float[] signals, long[] lengths) throws Refused {
        int size = cells() * layers();
        Judged[] judged = new Judged[lengths.length];
        float[] batch = new float[Math.multiplyExact(cells(), size)];
        long[] known = new long[cells()];
        for (int cell = 0; cell < cells(); cell++) {
            known[cell] = cell + 1;
        }
        for (int row = 0; row < judged.length; row++) {
            Judged one = judged[row] = new Judged();
            one.complete = lengths[row] > 0;
            for (int cell = 0; cell < cells(); cell++) {
                System.arraycopy(signals, row * size, batch, cell * size, size);
            }
            Scored found = run(batch, known);
            for (int cell = 0; cell < lengths[row]; cell++) {
                float score = found.score()[cell];
                if (!found.valid()[cell]) {
                    one.complete = false;
                    continue;
                }
                one.score = one.score == null || score > one.score ? Float.valueOf(score) : one.score;
                one.alarm = one.alarm < 0 && score > threshold(Verdict.Rule.ONLINE) ? cell : one.alarm;
            }
        }
        return judged;
    }

    private Verdict conclude(
            Judged judged, float[] signals, int row, int length, Verdict.Rule rule, List<String> accepted) {
        boolean flagged = judged.score != null && judged.score > threshold(rule);
        List<String> reasons = new ArrayList<>();
        if (flagged) {
            reasons.add("score_above_threshold");
        }
        if (!judged.complete) {
            reasons.add(why(signals, row, length, rule));
        }
        // An alarm stands even where later cells cannot be read: it was one when it rang.
        Verdict.Status status = flagged ? Verdict.Status.FLAGGED
                : judged.complete       ? Verdict.Status.CLEAR
                                        : Verdict.Status.UNMONITORED;
        Float score = status == Verdict.Status.UNMONITORED ? null : judged.score;
        Double pValue = score == null ? null : Double.valueOf(pValue(manifest.rules.get(rule).scores(), score));
        boolean counted = flagged && rule == Verdict.Rule.ONLINE && manifest.budget > 0;
        // The step that was done when the cell closed.
        Long step = counted
                ? Long.valueOf(-Math.floorDiv(-(judged.alarm + 1L) * manifest.budget, manifest.gridCells) - 1)
                : null;
        return new Verdict(
                status, List.copyOf(reasons), score, threshold(rule), pValue, step, rule, digest(), accepted);
    }

    /** Why a row could not be judged completely. */
    private String why(float[] signals, int row, int length, Verdict.Rule rule) {
        if (length == 0 || (rule == Verdict.Rule.FINAL && length < cells())) {
            return "incomplete_signal";
        }
        int from = row * cells() * layers();
        boolean finite = true;
        boolean inRange = true;
        for (int i = from; i < from + length * layers(); i++) {
            finite &= Float.isFinite(signals[i]);
            inRange &= signals[i] > manifest.low && signals[i] < manifest.high;
        }
        return !finite ? "non_finite_signal" : inRange ? "score_not_finite" : "signal_out_of_range";
    }

    /** (1 + #{s_i >= s}) / (n + 1). */
    private static double pValue(float[] scores, float score) {
        int low = 0;
        int high = scores.length;
        while (low < high) {
            int middle = (low + high) >>> 1;
            if (scores[middle] < score) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        return (1.0 + scores.length - low) / (scores.length + 1);
    }
}

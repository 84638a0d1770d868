package sri.guard;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/**
 * What a program may do with the Java API beyond the example. Prints what is wrong; called with the bundles
 * {@code autoencoder} and {@code groups} of the test vectors.
 */
public final class LibraryCheck {
    private static final Options ANY = new Options(Verdict.Rule.ONLINE, List.of(), true);

    private LibraryCheck() {}

    public static void main(String[] folders) throws Exception {
        Path first = Path.of(folders[0]);
        try (Guard guard = Guard.open(first); Guard groups = Guard.open(Path.of(folders[1]))) {
            facts(guard, groups);
            streaming(guard);
            threads(guard);
            odd(guard);
            parts(groups);
        }
        memory(first);
        closed(first);
    }

    private static void check(boolean fine, String problem) {
        if (!fine) {
            System.out.println(problem);
        }
    }

    private static void refused(Refused.Kind kind, String part, Callable<?> call) throws Exception {
        try {
            call.call();
            System.out.println("not refused: " + part);
        } catch (Refused err) {
            check(err.kind() == kind && err.getMessage().contains(part), err.kind() + ": " + err.getMessage());
        }
    }

    private static float[] rows(Guard guard, int count) {
        float[] cells = new float[count * guard.cells() * guard.columns()];
        for (int i = 0; i < cells.length; i++) {
            cells[i] = 0.5f + 0.4f * (float) Math.sin(i);
        }
        return cells;
    }

    private static void facts(Guard guard, Guard groups) {
        check(guard.format() == 1 && guard.columnNames().isEmpty(), "a column of format 1 has a name");
        check(guard.partNames().isEmpty(), "a part of format 1 has a name");
        check(groups.format() == 2 && groups.columnNames().size() == groups.columns(), "a column has no name");
        check(groups.partNames().size() == groups.parts(), "a part has no name");
        check(guard.hasRule(Verdict.Rule.ONLINE) && !guard.hasRule(Verdict.Rule.REQUEST), "other rules");
        check(guard.digest().length() == 64 && guard.domain().equals("sigma"), "another digest or domain");
        check(guard.threshold(Verdict.Rule.REQUEST, 0, null).isEmpty(), "a threshold of no rule");
        check(guard.threshold(Verdict.Rule.FINAL, 1, null).isEmpty(), "a threshold of no part");
        check(groups.threshold(Verdict.Rule.FINAL, 0, "en\0x").equals(groups.threshold(Verdict.Rule.FINAL, 0, null)),
                "a name is cut at its NUL");
    }

    private static void streaming(Guard guard) throws Refused {
        float[] cells = new float[4 * guard.cells()];
        Arrays.fill(cells, Float.NaN);
        for (int row = 0; row < 4; row++) {
            cells[row * guard.cells()] = 0.7f;
        }
        Guard.Scored found = guard.run(cells, new long[] {-1, 0, 1, guard.cells() + 1});
        check(Arrays.equals(found.valid(), new boolean[] {false, false, true, false}), "lengths that do not exist");
        check(found.score()[0] > guard.threshold(Verdict.Rule.ONLINE, 0, null).orElseThrow(), "3e38 is above nothing");
        check(!guard.run(cells, null).valid()[2], "a row with NaN is valid");
        check(guard.run(new float[0], null).score().length == 0, "no rows have scores");
    }

    private static void threads(Guard guard) throws Exception {
        Signals signals = new Signals(rows(guard, 8), null);
        List<Verdict> expected = guard.score(signals, ANY);
        check(expected.get(0).requestId().isEmpty() && expected.get(0).accepted().equals(List.of("unverified")),
                "an id or acceptance out of nowhere");
        ExecutorService pool = Executors.newFixedThreadPool(4);
        List<Future<Boolean>> same = new ArrayList<>();
        for (int i = 0; i < 100; i++) {
            same.add(pool.submit(() -> guard.score(signals, ANY).equals(expected)));
        }
        for (Future<Boolean> one : same) {
            check(one.get(), "a thread found other verdicts");
        }
        pool.shutdown();
    }

    private static void odd(Guard guard) throws Exception {
        float[] cells = rows(guard, 2);
        Refused.Kind call = Refused.Kind.CALL;
        refused(call, "the guard takes [N, 16, 1]", () -> guard.score(new Signals(new float[17], null), ANY));
        refused(call, "32 numbers and 1 lengths", () -> guard.run(cells, new long[1]));
        refused(call, "lengths must be", () -> guard.score(with(cells, new long[] {0, 17}, null, null), ANY));
        refused(call, "1 ids for 2", () -> guard.score(with(cells, null, List.of("a"), null), ANY));
        refused(call, "3 groups for 2", () -> guard.score(with(cells, null, null, List.of("a", "b", "c")), ANY));
        refused(call, "holds a NUL", () -> guard.score(with(cells, null, List.of("a", "b\0c"), null), ANY));
        refused(call, "holds a NUL", () -> guard.score(new Signals(cells, "{}\0"), ANY));
        refused(call, "no fingerprint", () -> guard.score(new Signals(cells, null), new Options(Verdict.Rule.FINAL)));
        refused(call, "no such rule",
                () -> guard.score(new Signals(cells, null), new Options(Verdict.Rule.REQUEST, List.of(), true)));
        refused(Refused.Kind.SIGNALS, "memory, line 1", () -> Signals.parse(guard, "memory", "{}".getBytes()));
        refused(Refused.Kind.SIGNALS, "no signals", () -> Signals.parse(guard, "memory", new byte[0]));
        check(guard.score(new Signals(new float[0], null), ANY).isEmpty(), "no rows have verdicts");
        String longId = "漢 🙂 ".repeat(2000);
        check(guard.score(with(cells, null, List.of(longId, "b"), null), ANY).get(0).json().contains(longId),
                "a long id is cut");
    }

    private static Signals with(float[] cells, long[] lengths, List<String> ids, List<String> groups) {
        return new Signals(cells, lengths, ids, groups, null);
    }

    private static void parts(Guard guard) throws Refused {
        float[] cells = rows(guard, 3);
        Signals signals = with(cells, null, List.of("a", "b", "c"), Arrays.asList("en", null, "en\0x"));
        List<Verdict> found = guard.score(signals, new Options(Verdict.Rule.FINAL, List.of(), true));
        check("en".equals(found.get(0).group()) && found.get(1).group() == null, "another group");
        check(found.get(2).reasons().contains("unknown_group"), "a name is cut at its NUL");
        for (Verdict verdict : found) {
            check(verdict.schema() == 2 && verdict.parts().stream().map(Verdict.Part::name).toList()
                            .equals(guard.partNames()), "other parts");
        }
        List<String> none = Collections.nCopies(3, null);
        check(guard.score(with(cells, null, null, none), ANY).get(0).group() == null, "no group is a group");
    }

    private static void memory(Path folder) throws Exception {
        Map<String, byte[]> files = new TreeMap<>();
        for (String name : List.of("manifest.json", "manifest.sig", "prefix.onnx", "signal.onnx")) {
            files.put(name, Files.readAllBytes(folder.resolve(name)));
        }
        try (Guard guard = Guard.of("memory", files, null); Guard opened = Guard.open(folder, guard.digest())) {
            check(opened.digest().equals(guard.digest()), "another digest");
        }
        refused(Refused.Kind.BUNDLE, "memory: not the bundle", () -> Guard.of("memory", files, "0".repeat(64)));
        refused(Refused.Kind.BUNDLE, "manifest.json is missing", () -> Guard.of("memory", Map.of(), null));
        files.get("signal.onnx")[99] ^= 1;
        refused(Refused.Kind.BUNDLE, "memory: signal.onnx does not match", () -> Guard.of("memory", files, null));
    }

    private static void closed(Path folder) throws Refused {
        Guard guard = Guard.open(folder);
        guard.close();
        guard.close();
        try {
            guard.run(new float[guard.cells()], null);
            System.out.println("a closed guard scores");
        } catch (IllegalStateException err) {
            check(err.getMessage().contains("used after close()"), err.getMessage());
        }
    }
}

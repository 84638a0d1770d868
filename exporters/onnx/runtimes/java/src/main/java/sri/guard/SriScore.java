package sri.guard;

import java.io.BufferedReader;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Function;

/**
 * Scores signals with a bundle, as {@code sri score --json} does.
 *
 * <p>Verdicts go to standard output, one JSON object per line; a refusal is one line on standard error. Exit code: 0
 * done, 1 refused, 2 called wrongly. {@code -} reads signals from standard input.
 *
 * <p>{@code --check-many} opens many bundles in one process, for tests of damage: each line of standard input is the
 * path of a bundle, or path, file, byte and mask separated by tabs: the byte is changed (XOR) in memory before the
 * bundle is opened. It answers every line with {@code ok} and the digest, or {@code refused} and the reason.
 *
 * <p>{@code --score-many} makes many calls in one process: each line of standard input has the words of one, separated
 * by tabs. Behind the verdicts of each call stands a line {@code done}, its exit code and, where it was refused, the
 * reason.
 */
public final class SriScore {
    private static final String USAGE = """
            usage: sri_score BUNDLE SIGNALS.jsonl [--rule final|online|request] [--accept FIELD]... [--unverified] \
            [--digest HEX]
                   sri_score --check BUNDLE [--digest HEX]
                   sri_score --check-many < VARIANTS
                   sri_score --score-many < CALLS""";

    private static final PrintStream OUT = new PrintStream(new FileOutputStream(FileDescriptor.out), false,
            StandardCharsets.UTF_8);
    private static final PrintStream ERR = new PrintStream(new FileOutputStream(FileDescriptor.err), true,
            StandardCharsets.UTF_8);

    private final List<String> paths = new ArrayList<>();
    private final List<String> accept = new ArrayList<>();
    private Verdict.Rule rule = Verdict.Rule.FINAL;
    private String digest;
    private boolean unverified;
    private boolean check;
    private boolean checkMany;
    private boolean scoreMany;

    private SriScore() {}

    /** See the class. */
    public static void main(String[] words) throws IOException {
        SriScore program = new SriScore();
        int code = 0;
        if (!program.parse(List.of(words))) {
            ERR.println(USAGE);
            code = 2;
        } else if (program.checkMany) {
            answer(SriScore::checkVariant);
        } else if (program.scoreMany) {
            answer(SriScore::scoreOne);
        } else {
            try {
                program.run();
            } catch (Refused err) {
                ERR.println(err.getMessage());
                code = 1;
            }
        }
        OUT.flush();
        System.exit(code);
    }

    private boolean parse(List<String> words) {
        for (int i = 0; i < words.size(); i++) {
            String word = words.get(i);
            boolean takesValue = List.of("--digest", "--accept", "--rule").contains(word);
            if (takesValue && i + 1 == words.size()) {
                return false;
            }
            String value = takesValue ? words.get(++i) : "";
            switch (word) {
                case "--check" -> check = true;
                case "--check-many" -> checkMany = true;
                case "--score-many" -> scoreMany = true;
                case "--unverified" -> unverified = true;
                case "--digest" -> digest = value;
                case "--accept" -> accept.add(value);
                case "--rule" -> {
                    if (!List.of("final", "online", "request").contains(value)) {
                        return false;
                    }
                    rule = Verdict.Rule.valueOf(value.toUpperCase(Locale.ROOT));
                }
                default -> paths.add(word);
            }
        }
        int wanted = checkMany || scoreMany ? 0 : check ? 1 : 2;
        return paths.size() == wanted && paths.stream().noneMatch(path -> path.startsWith("--"));
    }

    private void run() throws Refused {
        try (Guard guard = Guard.open(Path.of(paths.get(0)), digest)) {
            if (check) {
                OUT.println("ok\t" + guard.digest());
                return;
            }
            Signals signals = Signals.read(guard, Path.of(paths.get(1)));
            for (Verdict verdict : guard.score(signals, new Options(rule, accept, unverified))) {
                OUT.println(verdict.json());
            }
        }
    }

    /** One answer for each line of standard input, at once: who asks may wait for it. */
    private static void answer(Function<String, String> one) throws IOException {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            OUT.println(one.apply(line));
            OUT.flush();
        }
    }

    private static String scoreOne(String line) {
        SriScore call = new SriScore();
        if (!call.parse(List.of(line.split("\t", -1))) || call.paths.isEmpty()) {
            return "done\t2";
        }
        try {
            call.run();
            return "done\t0";
        } catch (Refused err) {
            return "done\t1\t" + err.getMessage();
        }
    }

    private static String checkVariant(String line) {
        String[] fields = line.split("\t", -1);
        try (Guard guard = fields.length == 4 ? changed(fields) : Guard.open(Path.of(line))) {
            return "ok\t" + guard.digest();
        } catch (Refused | IOException err) {
            return "refused\t" + err.getMessage();
        }
    }

    private static Guard changed(String[] fields) throws Refused, IOException {
        Map<String, byte[]> files = new TreeMap<>();
        try (var listed = Files.newDirectoryStream(Path.of(fields[0]))) {
            for (Path file : listed) {
                files.put(file.getFileName().toString(), Files.readAllBytes(file));
            }
        }
        files.get(fields[1])[Integer.parseInt(fields[2])] ^= (byte) Integer.parseInt(fields[3]);
        return Guard.of(fields[0], files, null);
    }
}

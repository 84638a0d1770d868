package sri.guard;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/**
 * Scores signals with a bundle, as {@code sri score --json} does.
 *
 * <p>Verdicts go to standard output, one JSON object per line; a refusal is one line on standard error. Exit code: 0
 * done, 1 refused, 2 called wrongly. {@code -} reads signals from standard input.
 *
 * <p>{@code --check-many} opens many bundles in one process, for tests of damage: each line of standard input is the
 * path of a bundle, or path, file, byte and mask separated by tabs: the byte is changed (XOR) in memory before the
 * bundle is opened. It answers every line with {@code ok} and the digest, or {@code refused} and the reason.
 */
public final class SriScore {
    private static final String USAGE = "usage: sri_score BUNDLE SIGNALS.jsonl [--rule final|online] [--accept "
                                        + "FIELD]... [--unverified] [--digest HEX]\n"
            + "       sri_score --check BUNDLE [--digest HEX]\n       sri_score --check-many < VARIANTS";

    private final List<String> paths = new ArrayList<>();
    private final List<String> accept = new ArrayList<>();
    private Verdict.Rule rule = Verdict.Rule.FINAL;
    private String digest;
    private boolean unverified;
    private boolean check;
    private boolean checkMany;

    private SriScore() {}

    /** See the class. */
    public static void main(String[] words) throws IOException {
        SriScore program = new SriScore();
        System.setOut(new PrintStream(System.out, true, StandardCharsets.UTF_8));
        if (!program.parse(List.of(words))) {
            System.err.println(USAGE);
            System.exit(2);
        }
        try {
            if (program.checkMany) {
                checkMany();
            } else {
                program.run();
            }
        } catch (Refused err) {
            System.err.println(err.getMessage());
            System.exit(1);
        }
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
                case "--unverified" -> unverified = true;
                case "--digest" -> digest = value;
                case "--accept" -> accept.add(value);
                case "--rule" -> rule = value.equals("online") ? Verdict.Rule.ONLINE : Verdict.Rule.FINAL;
                default -> paths.add(word);
            }
            if (word.equals("--rule") && !List.of("final", "online").contains(value)) {
                return false;
            }
        }
        return paths.size()
                == (checkMany ? 0
                                : check ? 1
                                        : 2)
                && paths.stream().noneMatch(path -> path.startsWith("--"));
    }

    private void run() throws IOException, Refused {
        try (Guard guard = Guard.open(Path.of(paths.get(0)), digest)) {
            if (check) {
                System.out.println("ok\t" + guard.digest());
                return;
            }
            String source = paths.get(1);
            Signals signals;
            boolean standard = source.equals("-");
            try (InputStream lines = standard ? System.in : Files.newInputStream(Path.of(source))) {
                String subject = standard ? "standard input" : source;
                signals = Signals.read(lines, subject, guard.domain(), guard.cells(), guard.layers());
            } catch (IOException err) {
                throw new Refused("%s: cannot be read (%s).", source, err.getMessage());
            }
            Options options = new Options(rule, signals.fingerprint(), accept, unverified);
            List<Verdict> verdicts = guard.score(signals.cells(), signals.lengths(), options);
            for (int i = 0; i < verdicts.size(); i++) {
                System.out.println(verdicts.get(i).toJson(signals.ids().get(i)));
            }
        }
    }

    private static void checkMany() throws IOException {
        try (BufferedReader standard = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8))) {
            for (String line = standard.readLine(); line != null; line = standard.readLine()) {
                System.out.println(checkVariant(line));
            }
        }
    }

    private static String checkVariant(String line) {
        String[] fields = line.split("\t");
        try {
            Map<String, byte[]> files = BundleFiles.read(Path.of(fields[0]));
            if (fields.length == 4) {
                files.get(fields[1])[Integer.parseInt(fields[2])] ^= (byte) Integer.parseInt(fields[3]);
            }
            try (Guard guard = Guard.of(fields[0], files, null)) {
                return "ok\t" + guard.digest();
            }
        } catch (Refused err) {
            return "refused\t" + err.getMessage();
        }
    }
}

package sri.guard;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * {@code manifest.json}, format 1: checked against its own digest, then key by key. Unknown keys are another format.
 */
final class Manifest {
    /** What a graph answers where {@code valid} is false; every threshold is below it. */
    static final float INVALID_SCORE = 3e38f;

    private static final int MOST_CELLS = 4096;
    private static final int MOST_LAYERS = 1024;
    private static final int WIDEST = 1 << 20;
    private static final int MOST_NUMBERS = 1 << 24;

    /** A rule: flagged when score > value; scores are those of calibration, smallest first. */
    record Threshold(double value, float[] scores) {}

    final String digest;
    final int cells;
    final int layers;
    final String domain;
    final float low;
    final float high;
    final Map<Verdict.Rule, Threshold> rules;
    /** By graph, as in {@link Promises#GRAPHS}. */
    final List<Promises.Golden> golden;
    final Map<String, Object> json;
    /** Of a grid that counts steps; 0 = it does not. */
    final long budget;
    final long gridCells;

    /** Reads and checks the manifest and the hashes of all other files. */
    Manifest(Map<String, byte[]> files, String subject) throws Refused {
        String source = subject + "/" + BundleFiles.MANIFEST;
        byte[] content = files.get(BundleFiles.MANIFEST);
        At root;
        try {
            root = new At(Json.read(ByteBuffer.wrap(content), false), source, "");
        } catch (Json.Malformed err) {
            throw new Refused("%s: not a bundle manifest (%s). Export the guard again.", source, err.getMessage());
        }
        digest = head(root, content);
        root.exactly("anchors", "detector", "digest", "eps", "files", "fingerprint", "fingerprint_digest", "format",
                "golden", "graphs", "grid", "invalid_score", "pooling", "producer", "rates", "rules", "sensitive",
                "signal", "tau");
        json = root.members();
        checkFiles(root, files, subject);
        checkRest(root);
        At signal = root.get("signal").exactly("cells", "domain", "hidden_size", "high", "layers", "low");
        cells = signal.get("cells").whole(1, MOST_CELLS);
        layers = signal.get("layers").whole(1, MOST_LAYERS);
        int width = signal.get("hidden_size").whole(1, WIDEST);
        domain = signal.get("domain").text();
        signal.check(Set.of("sigma", "logit").contains(domain), "domain is neither sigma nor logit");
        signal.check(signal.get("low").number() < signal.get("high").number(), "an empty range");
        low = (float) signal.get("low").number();
        high = (float) signal.get("high").number();
        At both = root.get("rules").exactly("final", "online");
        rules = Map.of(
                Verdict.Rule.FINAL, threshold(both.get("final")), Verdict.Rule.ONLINE, threshold(both.get("online")));
        golden = new Promises(cells, layers, width).read(root);
        boolean steps = root.get("grid").json() instanceof Map < ?, ? > grid && "step".equals(grid.get("mapping"));
        budget = steps ? root.get("grid").get("budget").whole(1, Integer.MAX_VALUE) : 0;
        gridCells = steps ? root.get("grid").get("cells").whole(1, Integer.MAX_VALUE) : 0;
    }

    /**
     * Refuses another bundle than the one that was asked for, before a byte of it is parsed: whoever pins a digest need
     * not trust this reader with what it did not pin.
     */
    static void checkPinned(byte[] content, String subject, String wanted) throws Refused {
        String own = wanted.toLowerCase(java.util.Locale.ROOT);
        if (!own.matches("[0-9a-f]{64}")) {
            throw new Refused("digest: not a SHA-256 in hex, 64 characters. `sri bundle inspect` prints a bundle's.");
        }
        if (!own.equals(digestOf(content, own))) {
            throw new Refused(
                    "%s: not the bundle with digest %s..., which was asked for. Get that one, or ask for the digest "
                            + "of this one if you know why it changed.",
                    subject, own.substring(0, 12));
        }
    }

    /** The hash of the bytes with a digest in them set to "0"; "" if it does not stand there exactly once. */
    private static String digestOf(byte[] content, String own) {
        String text = new String(content, StandardCharsets.ISO_8859_1);
        int at = text.indexOf(own);
        if (at < 0 || text.indexOf(own, at + 1) >= 0) {
            return "";
        }
        String zeroed = text.substring(0, at) + "0".repeat(64) + text.substring(at + 64);
        return sha256(zeroed.getBytes(StandardCharsets.ISO_8859_1));
    }

    private static String sha256(byte[] content) {
        try {
            return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(content));
        } catch (NoSuchAlgorithmException err) {
            throw new IllegalStateException("every Java has SHA-256", err);
        }
    }

    /** Checks format and digest before anything else is believed. */
    private static String head(At root, byte[] content) throws Refused {
        boolean object = root.json() instanceof Map < ?,
                ? > members && members.containsKey("format") && members.containsKey("digest");
        if (!object) {
            throw new Refused(
                    "%s: not a bundle manifest (no format, or no digest). Export the guard again.", root.source());
        }
        if (!new Json.Num("1").equals(root.get("format").json())) {
            String found = Json.write(root.get("format").json());
            throw new Refused(
                    "%s: manifest format %s, this reader knows 1. Export the guard again, or use a newer reader.",
                    root.source(), found.substring(0, Math.min(20, found.length())));
        }
        if (root.get("digest").json() instanceof String own && own.matches("[0-9a-f]{64}")
                && own.equals(digestOf(content, own))) {
            return own;
        }
        throw new Refused("%s: the manifest does not match its own digest. Copy the bundle again.", root.source());
    }

    /** Every listed file is there with its size and hash, and no other. */
    private static void checkFiles(At root, Map<String, byte[]> files, String subject) throws Refused {
        At listed = root.get("files");
        for (String name : listed.members().keySet()) {
            At entry = listed.get(name).exactly("sha256", "size");
            byte[] content = unlisted(name) ? null : files.get(name);
            if (content == null) {
                throw new Refused(
                        "%s: %s is missing. Copy the bundle again, or export the guard again.", subject, name);
            }
            int size = entry.get("size").whole(0, 1 << 30);
            if (content.length != size || !sha256(content).equals(entry.get("sha256").sha256())) {
                throw new Refused("%s: %s does not match its digest. Copy the bundle again.", subject, name);
            }
        }
        for (String name : files.keySet()) {
            if (!unlisted(name) && !listed.members().containsKey(name)) {
                throw new Refused(
                        "%s: %s is not listed in the manifest. Copy the bundle again, or export the guard again.",
                        subject, name);
            }
        }
    }

    private static boolean unlisted(String name) {
        return name.equals(BundleFiles.MANIFEST) || BundleFiles.SIGNATURES.contains(name);
    }

    /** Whatever is not used here, but is part of the format. */
    private static void checkRest(At root) throws Refused {
        At anchors = root.get("anchors").exactly("provenance", "sha256");
        anchors.get("provenance").members();
        anchors.get("sha256").sha256();
        At fingerprint = root.get("fingerprint").exactly("hard", "soft");
        fingerprint.get("hard").members();
        fingerprint.get("soft").members();
        root.get("fingerprint_digest").sha256();
        for (Object item : root.get("rates").items()) {
            At rate = new At(item, root.source(), "rates").exactly("high", "k", "low", "n", "name");
            rate.get("high").number();
            rate.get("low").number();
            rate.get("name").text();
            rate.get("k").counted(0);
            rate.get("n").counted(1);
        }
        for (String name : root.get("producer").members().keySet()) {
            root.get("producer").get(name).text();
        }
        root.get("tau").number();
        root.get("eps").number();
        At invalid = root.get("invalid_score");
        invalid.check(invalid.number() == INVALID_SCORE, "must be 3e38 as float32 holds it");
        At detector = root.get("detector").exactly("config", "name", "tier");
        detector.get("config").members();
        detector.get("name").text();
        if (!detector.get("tier").text().equals("portable")) {
            throw new Refused(
                    "%s: detector.tier: this detector runs in Python only, allowed here: portable. Score it with "
                            + "`sri score`.",
                    root.source());
        }
    }

    private static Threshold threshold(At entry) throws Refused {
        entry.exactly("alpha", "delta", "n", "rank", "scores", "tolerance", "value");
        entry.get("alpha").share();
        if (entry.get("delta").json() != null) {
            entry.get("delta").share();
        }
        entry.check(entry.get("tolerance").number() >= 0, "a tolerance below 0");
        double value = entry.get("value").number();
        entry.check(value < 3e38, "a threshold above invalid_score");
        int n = entry.get("n").whole(1, MOST_NUMBERS);
        entry.get("rank").whole(1, n);
        float[] scores = entry.get("scores").floats(n);
        for (int i = 0; i < n; i++) { // A binary search in anything else would find a wrong p-value.
            boolean inOrder = Float.isFinite(scores[i]) && (i == 0 || scores[i - 1] <= scores[i]);
            entry.check(inOrder, "scores are not finite numbers in order");
        }
        return new Threshold(value, scores);
    }
}

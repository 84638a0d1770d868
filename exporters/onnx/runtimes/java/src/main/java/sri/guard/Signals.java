package sri.guard;

import java.io.BufferedInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * Signals as JSON lines, as {@code sri score} reads them: an optional head with {@code sri_signals} and {@code
 * fingerprint}, then lines with {@code id}, {@code sigma} or {@code logit}, and perhaps {@code length}. The form the
 * bundle reads must be there. {@code null} and NaN mean "not finite". Without {@code length} the generation is
 * finished. A byte-order mark in front is skipped; what is written twice, unknown or of another kind is refused.
 *
 * @param ids [N], all different
 * @param cells [N, T, C] in the guard's domain
 * @param lengths [N] cells filled so far
 * @param fingerprint JSON text of what made them; null = not known
 */
public record Signals(List<String> ids, float[] cells, long[] lengths, String fingerprint) {
    private static final int MOST_ROWS = 1_000_000;
    private static final int MOST_NUMBERS = 1 << 25;
    private static final int MOST_BYTES = 1 << 30;
    private static final int LONGEST_LINE = 1 << 24;
    /** Characters. */
    private static final int LONGEST_ID = 1024;

    /**
     * Reads all lines.
     *
     * @param from JSON lines in UTF-8
     * @param subject what they are, for messages
     * @param domain the form that the guard reads
     * @param cells T of the guard
     * @param layers C of the guard
     * @throws Refused names the line and what is wrong with it
     */
    public static Signals read(InputStream from, String subject, String domain, int cells, int layers)
            throws IOException, Refused {
        Reading reading = new Reading(domain, cells, layers);
        InputStream bytes = new BufferedInputStream(from);
        long total = 0;
        for (int number = 1;; number++) {
            String place = subject + ", line " + number;
            byte[] line = line(bytes);
            if (line == null) {
                break;
            }
            total += line.length;
            if (line.length > LONGEST_LINE || number > MOST_ROWS + 1 || total > MOST_BYTES) {
                throw new Refused(
                        "%s: too much at once; allowed: up to %d bytes in a line, %d lines and %d bytes. Split the file.",
                        place, LONGEST_LINE, MOST_ROWS + 1, MOST_BYTES);
            }
            // The byte-order mark that some editors write in front.
            boolean marked = number == 1 && line.length > 2 && (line[0] & 255) == 0xef && (line[1] & 255) == 0xbb
                    && (line[2] & 255) == 0xbf;
            int start = marked ? 3 : 0;
            if (!blank(line, start)) {
                reading.add(ByteBuffer.wrap(line, start, line.length - start), place);
            }
        }
        return reading.all(subject);
    }

    /** The next line with its end, or the first bytes of one that is too long; null = there is none. */
    private static byte[] line(InputStream from) throws IOException {
        ByteArrayOutputStream line = new ByteArrayOutputStream();
        int next = from.read();
        while (next >= 0) {
            line.write(next);
            if (next == '\n' || line.size() > LONGEST_LINE) {
                break;
            }
            next = from.read();
        }
        return line.size() == 0 ? null : line.toByteArray();
    }

    private static boolean blank(byte[] line, int start) {
        for (int i = start; i < line.length; i++) {
            if (" \t\r\n".indexOf(line[i]) < 0) {
                return false;
            }
        }
        return true;
    }

    /** What was read so far. */
    private static final class Reading {
        private final String domain;
        private final int cells;
        private final int layers;
        private final List<String> ids = new ArrayList<>();
        private final List<float[]> rows = new ArrayList<>();
        private final List<Long> lengths = new ArrayList<>();
        private String fingerprint;
        private boolean first = true;
        /** Whether lines hold both forms. */
        private boolean both;

        Reading(String domain, int cells, int layers) {
            this.domain = domain;
            this.cells = cells;
            this.layers = layers;
        }

        void add(ByteBuffer line, String place) throws Refused {
            Map<?, ?> value = object(line, place);
            if (value.containsKey("sri_signals")) {
                head(value, place);
            } else {
                row(value, place);
            }
            first = false;
        }

        Signals all(String subject) throws Refused {
            if (ids.isEmpty()) {
                throw new Refused("%s: holds no signals.", subject);
            }
            if (new HashSet<>(ids).size() < ids.size()) {
                throw new Refused("%s: an id is there twice.", subject);
            }
            int size = cells * layers;
            float[] all = new float[Math.multiplyExact(rows.size(), size)];
            for (int row = 0; row < rows.size(); row++) {
                System.arraycopy(rows.get(row), 0, all, row * size, size);
            }
            return new Signals(ids, all, lengths.stream().mapToLong(Long::longValue).toArray(), fingerprint);
        }

        private static Map<?, ?> object(ByteBuffer line, String place) throws Refused {
            try {
                if (Json.read(line, true) instanceof Map<?, ?> value) {
                    return value;
                }
            } catch (Json.Malformed err) {
                throw new Refused("%s: not JSON (%s).", place, err.getMessage());
            }
            throw new Refused("%s: not a JSON object. Write one per line.", place);
        }

        private void head(Map<?, ?> value, String place) throws Refused {
            boolean known = Set.of("sri_signals", "fingerprint").containsAll(value.keySet());
            if (!first || !known || !new Json.Num("1").equals(value.get("sri_signals"))) {
                throw new Refused(
                        "%s: a head {\"sri_signals\": 1, \"fingerprint\": {...}} is allowed on the first line only, "
                                + "with these keys.",
                        place);
            }
            if (value.get("fingerprint") == null) {
                return;
            }
            boolean whole = value.get("fingerprint") instanceof Map<?, ?> print && print.get("hard") instanceof Map
                    && print.get("soft") instanceof Map;
            if (!whole) {
                throw new Refused(
                        "%s: the fingerprint must be an object with the objects `hard` and `soft`, or null.", place);
            }
            fingerprint = Json.write(value.get("fingerprint"));
        }

        private void row(Map<?, ?> value, String place) throws Refused {
            String other = domain.equals("sigma") ? "logit" : "sigma";
            both = ids.isEmpty() ? value.containsKey(other) : both;
            boolean fits = Set.of("id", "sigma", "logit", "length").containsAll(value.keySet())
                    && value.containsKey(domain) && value.containsKey(other) == both;
            if (!fits || !(value.get("id") instanceof String id)) {
                throw new Refused(
                        "%s: a line needs a text `id` and `%s`, which the bundle reads, and may have `length`; the other "
                                + "form is in every line, or in none.",
                        place, domain);
            }
            if (both) {
                grid(value.get(other), other, place);
            }
            float[] numbers = grid(value.get(domain), domain, place);
            long length = length(value, place);
            if (id.indexOf(0) >= 0 || id.codePointCount(0, id.length()) > LONGEST_ID) {
                throw new Refused("%s: `id` holds a NUL, or more than %d characters.", place, LONGEST_ID);
            }
            if (ids.size() == MOST_ROWS || (rows.size() + 1L) * numbers.length > MOST_NUMBERS) {
                throw new Refused("%s: too much at once; allowed: up to %d generations and %d numbers. Split the file.",
                        place, MOST_ROWS, MOST_NUMBERS);
            }
            ids.add(id);
            rows.add(numbers);
            lengths.add(length);
        }

        private long length(Map<?, ?> value, String place) throws Refused {
            if (!value.containsKey("length")) {
                return cells;
            }
            boolean fits = value.get("length") instanceof Json.Num number && number.whole() && number.value() >= 0
                    && number.value() <= cells;
            if (!fits) {
                throw new Refused(
                        "%s: length is not a whole number from 0 to %d: the number of cells filled so far.", place, cells);
            }
            return (long) ((Json.Num) value.get("length")).value();
        }

        /** A list of T numbers, or of T lists of C numbers. */
        private float[] grid(Object list, String form, String place) throws Refused {
            Refused wrong = new Refused(
                    "%s: %s is not %d cells of %d numbers each, which the guard takes. Lay the signals on the guard's "
                            + "step grid and tapped layers.",
                    place, form, cells, layers);
            float[] found = new float[cells * layers];
            int at = 0;
            if (!(list instanceof List<?> all) || all.size() != cells) {
                throw wrong;
            }
            boolean nested = all.get(0) instanceof List;
            for (Object row : all) {
                List<?> numbers = row instanceof List<?> several ? several : Collections.singletonList(row);
                if (row instanceof List != nested || numbers.size() != layers) {
                    throw wrong;
                }
                for (Object number : numbers) {
                    if (number != null && !(number instanceof Json.Num)) {
                        throw wrong;
                    }
                    found[at++] = number == null ? Float.NaN : (float) ((Json.Num) number).value();
                }
            }
            return found;
        }
    }
}

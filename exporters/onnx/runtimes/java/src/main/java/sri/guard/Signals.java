package sri.guard;

import java.io.BufferedReader;
import java.io.IOException;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * Signals as JSON lines, as {@code sri score} reads them: an optional head with {@code sri_signals} and {@code
 * fingerprint}, then lines with {@code id}, {@code sigma} or {@code logit}, and perhaps {@code length}. The form the
 * bundle reads must be there. {@code null} and NaN mean "not finite". Without {@code length} the generation is
 * finished.
 *
 * @param ids [N], all different
 * @param cells [N, T, C] in the guard's domain
 * @param lengths [N] cells filled so far
 * @param fingerprint JSON text of what made them; null = not known
 */
public record Signals(List<String> ids, float[] cells, long[] lengths, String fingerprint) {
    /** Reads all lines. */
    public static Signals read(BufferedReader lines, String subject, Guard guard) throws IOException, Refused {
        List<String> ids = new ArrayList<>();
        List<float[]> rows = new ArrayList<>();
        List<Long> lengths = new ArrayList<>();
        String fingerprint = null;
        int number = 0;
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            String place = subject + ", line " + ++number;
            if (line.isBlank()) {
                continue;
            }
            Map<?, ?> value = object(line, place);
            if (value.containsKey("sri_signals")) {
                fingerprint = head(value, ids.isEmpty(), place);
                continue;
            }
            boolean known = Set.of("id", "sigma", "logit", "length").containsAll(value.keySet());
            if (!known || !(value.get("id") instanceof String) || !value.containsKey(guard.domain())) {
                throw new Refused(
                        "%s: a line needs a text `id` and `%s`, which the bundle reads, and may have `length`.", place,
                        guard.domain());
            }
            ids.add((String) value.get("id"));
            rows.add(grid(value.get(guard.domain()), place, guard));
            lengths.add(length(value, place, guard));
        }
        if (ids.isEmpty()) {
            throw new Refused("%s: holds no signals.", subject);
        }
        if (new HashSet<>(ids).size() < ids.size()) {
            throw new Refused("%s: an id is there twice.", subject);
        }
        int size = guard.cells() * guard.layers();
        float[] cells = new float[Math.multiplyExact(rows.size(), size)];
        for (int row = 0; row < rows.size(); row++) {
            System.arraycopy(rows.get(row), 0, cells, row * size, size);
        }
        return new Signals(ids, cells, lengths.stream().mapToLong(Long::longValue).toArray(), fingerprint);
    }

    private static Map<?, ?> object(String line, String place) throws Refused {
        try {
            if (Json.read(line, true) instanceof Map<?, ?> value) {
                return value;
            }
        } catch (Json.Malformed err) {
            throw new Refused("%s: not JSON (%s).", place, err.getMessage());
        }
        throw new Refused("%s: not a JSON object. Write one per line.", place);
    }

    private static String head(Map<?, ?> value, boolean first, String place) throws Refused {
        boolean known = Set.of("sri_signals", "fingerprint").containsAll(value.keySet());
        if (!first || !known || !(value.get("sri_signals") instanceof Json.Num format) || format.value() != 1) {
            throw new Refused(
                    "%s: a head {\"sri_signals\": 1, \"fingerprint\": {...}} is allowed on the first line only, with "
                            + "these keys.",
                    place);
        }
        return value.get("fingerprint") == null ? null : Json.write(value.get("fingerprint"));
    }

    private static long length(Map<?, ?> value, String place, Guard guard) throws Refused {
        if (!value.containsKey("length")) {
            return guard.cells();
        }
        boolean fits = value.get("length") instanceof Json.Num number && number.whole() && number.value() >= 0
                && number.value() <= guard.cells();
        if (!fits) {
            throw new Refused("%s: length is not a whole number from 0 to %d: the number of cells filled so far.",
                    place, guard.cells());
        }
        return (long) ((Json.Num) value.get("length")).value();
    }

    /** A list of T numbers, or of T lists of C numbers. */
    private static float[] grid(Object list, String place, Guard guard) throws Refused {
        Refused wrong =
                new Refused("%s: %s is not %d cells of %d numbers each, which the guard takes. Lay the signals on the "
                                + "guard's step grid and tapped layers.",
                        place, guard.domain(), guard.cells(), guard.layers());
        float[] cells = new float[guard.cells() * guard.layers()];
        int at = 0;
        if (!(list instanceof List<?> rows) || rows.size() != guard.cells()) {
            throw wrong;
        }
        for (Object row : rows) {
            List<?> numbers = row instanceof List<?> several ? several : java.util.Collections.singletonList(row);
            if (numbers.size() != guard.layers()) {
                throw wrong;
            }
            for (Object number : numbers) {
                if (number != null && !(number instanceof Json.Num)) {
                    throw wrong;
                }
                cells[at++] = number == null ? Float.NaN : (float) ((Json.Num) number).value();
            }
        }
        return cells;
    }
}

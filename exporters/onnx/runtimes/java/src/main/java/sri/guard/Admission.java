package sri.guard;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** Who may be scored: signals of the model, tap and profile the guard was fitted on. */
final class Admission {
    private static final List<String> SOFT = List.of("dtype", "adapter", "torch", "transformers", "system_prompt");

    private Admission() {}

    /** The soft fields that differ, all of them accepted; {@code unverified} for signals without a fingerprint. */
    static List<String> admit(Manifest manifest, Options options) throws Refused {
        for (String name : options.accept()) {
            if (!SOFT.contains(name)) {
                throw new Refused(
                        "accept: %s is not a soft field; allowed: %s. Hard fields cannot be accepted: fit a guard for "
                                + "that model.",
                        name, String.join(", ", SOFT));
            }
        }
        if (options.fingerprint() == null) {
            if (options.unverified()) {
                return List.of("unverified");
            }
            throw new Refused(
                    "signals: no fingerprint says what made them, so they may belong to another model. Give one, or "
                    + "score them at your own risk as unverified.");
        }
        Map<?, ?> given = read(options.fingerprint());
        checkMadeWith(manifest.json, given);
        Map<?, ?> own = (Map<?, ?>) manifest.json.get("fingerprint");
        for (String name : differing(own.get("hard"), given.get("hard"))) {
            throw new Refused("%s Anchors and thresholds do not carry over; use the guard of this model and profile.",
                    difference(name, own.get("hard"), given.get("hard")));
        }
        List<String> differing = differing(own.get("soft"), given.get("soft"));
        for (String name : differing) {
            if (!options.accept().contains(name)) {
                throw new Refused("%s If that is intended, accept it by name.",
                        difference(name, own.get("soft"), given.get("soft")));
            }
        }
        return SOFT.stream().filter(differing::contains).toList();
    }

    private static Map<?, ?> read(String text) throws Refused {
        try {
            Object value = Json.read(text, true);
            Map<?, ?> given = value instanceof Map < ?, ? > members ? members : Map.of();
            if (given.get("hard") instanceof Map && given.get("soft") instanceof Map) {
                return given;
            }
        } catch (Json.Malformed err) {
            // Refused below, like any other text that is none.
        }
        throw new Refused("fingerprint: expected an object with `hard` and `soft`. Compute the signals again.");
    }

    /**
     * Beside {@code hard} and {@code soft}, a fingerprint may say with which anchors, tau and eps the signals were
     * made.
     */
    private static void checkMadeWith(Map<String, Object> manifest, Map<?, ?> given) throws Refused {
        for (String name : List.of("anchors", "tau", "eps")) {
            Object own =
                    name.equals("anchors") ? ((Map < ?, ? >) manifest.get(name)).get("sha256") : manifest.get(name);
            if (given.containsKey(name) && !Json.same(given.get(name), own)) {
                throw new Refused(
                        "signals: made with %s %s, the guard was calibrated with %s. Compute the signals again with "
                                + "the guard's own anchors and settings.",
                        name, shown(given.get(name)), shown(own));
            }
        }
    }

    private static List<String> differing(Object own, Object given) {
        List<String> names = new ArrayList<>();
        for (Map.Entry<?, ?> field : ((Map<?, ?>) own).entrySet()) {
            Map<?, ?> other = (Map<?, ?>) given;
            if (!other.containsKey(field.getKey()) || !Json.same(other.get(field.getKey()), field.getValue())) {
                names.add((String) field.getKey());
            }
        }
        return names;
    }

    private static String difference(String name, Object own, Object given) {
        Map<?, ?> other = (Map<?, ?>) given;
        String found = other.containsKey(name) ? shown(other.get(name)) : "nothing";
        String fitted = shown(((Map<?, ?>) own).get(name));
        return "signals: " + name + " is " + found + ", the guard was fitted on " + fitted + ".";
    }

    private static String shown(Object value) {
        String text = value instanceof String one ? one : Json.write(value);
        return text.substring(0, Math.min(text.length(), value instanceof String && text.length() == 64 ? 12 : 120));
    }
}

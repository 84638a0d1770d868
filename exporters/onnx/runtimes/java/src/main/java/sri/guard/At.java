package sri.guard;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** A value of a manifest and its place: every question checks the type and shape it must have. */
record At(Object json, String source, String place) {
    Refused wrong(String problem) {
        return new Refused(
                "%s: %s: %s. Export the guard again.", source, place.isEmpty() ? "manifest" : place, problem);
    }

    void check(boolean fine, String problem) throws Refused {
        if (!fine) {
            throw wrong(problem);
        }
    }

    @SuppressWarnings("unchecked")
    Map<String, Object> members() throws Refused {
        check(json instanceof Map, "not an object");
        return (Map<String, Object>) json;
    }

    At get(String key) throws Refused {
        At found = new At(members().get(key), source, place.isEmpty() ? key : place + "." + key);
        found.check(members().containsKey(key), "missing");
        return found;
    }

    /** Refuses other keys than these. */
    At exactly(String... keys) throws Refused {
        for (String key : keys) {
            get(key);
        }
        check(members().keySet().equals(Set.of(keys)), "unknown keys");
        return this;
    }

    String text() throws Refused {
        check(json instanceof String, "not a text");
        return (String) json;
    }

    String sha256() throws Refused {
        check(text().matches("[0-9a-f]{64}"), "not a SHA-256");
        return text();
    }

    @SuppressWarnings("unchecked")
    List<Object> items() throws Refused {
        check(json instanceof List, "not a list");
        return (List<Object>) json;
    }

    double number() throws Refused {
        check(json instanceof Json.Num number && Double.isFinite(number.value()), "not a finite number");
        return ((Json.Num) json).value();
    }

    void share() throws Refused {
        check(number() > 0 && number() < 1, "not a share between 0 and 1");
    }

    int whole(int least, int most) throws Refused {
        boolean fits =
                json instanceof Json.Num number && number.whole() && number.value() >= least && number.value() <= most;
        check(fits, "not a whole number in its range");
        return (int) ((Json.Num) json).value();
    }

    /** Refuses everything but an integer of {@code least} or more. */
    void counted(int least) throws Refused {
        check(json instanceof Json.Num number && number.whole() && number.value() >= least, "not a whole number in its range");
    }

    /** Little-endian bytes of a packed array that must have this shape; -1 = whatever it says. */
    private ByteBuffer unpack(String dtype, int size, int... shape) throws Refused {
        exactly("base64", "dtype", "shape");
        check(get("dtype").text().equals(dtype), "an array of another type");
        List<Object> found = get("shape").items();
        check(found.size() == shape.length, "an array of another shape");
        long elements = 1;
        for (int i = 0; i < shape.length; i++) {
            int dimension = new At(found.get(i), source, place + ".shape").whole(0, 1 << 24);
            check(shape[i] < 0 || shape[i] == dimension, "an array of another shape");
            elements *= dimension;
            check(elements <= 1 << 26, "an array too large for this file");
        }
        try {
            String text = get("base64").text();
            byte[] bytes = Base64.getDecoder().decode(text);
            // Java's decoder takes text without padding, or with bits left over.
            check(Base64.getEncoder().encodeToString(bytes).equals(text), "not base64 as it is written");
            check(bytes.length == elements * size, "an array whose bytes do not fit its shape");
            return ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
        } catch (IllegalArgumentException err) {
            throw wrong("not base64");
        }
    }

    float[] floats(int... shape) throws Refused {
        ByteBuffer bytes = unpack("float32", Float.BYTES, shape);
        float[] values = new float[bytes.remaining() / Float.BYTES];
        bytes.asFloatBuffer().get(values);
        return values;
    }

    long[] integers(int... shape) throws Refused {
        ByteBuffer bytes = unpack("int64", Long.BYTES, shape);
        long[] values = new long[bytes.remaining() / Long.BYTES];
        bytes.asLongBuffer().get(values);
        return values;
    }

    boolean[] bools(int... shape) throws Refused {
        ByteBuffer bytes = unpack("bool", 1, shape);
        boolean[] values = new boolean[bytes.remaining()];
        for (int i = 0; i < values.length; i++) {
            check(bytes.get(i) == 0 || bytes.get(i) == 1, "a bool that is neither 0 nor 1");
            values[i] = bytes.get(i) == 1;
        }
        return values;
    }
}

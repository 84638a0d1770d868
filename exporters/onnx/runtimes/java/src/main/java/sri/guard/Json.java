package sri.guard;

import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Collectors;

/**
 * A small strict JSON reader. Beside JSON it refuses what readers disagree on: a key written twice, bytes that are not
 * UTF-8, numbers of more than 63 characters or that no double holds, integers beyond 2^53 - 1, half a surrogate pair,
 * more than 64 levels or 2^20 values. {@code ../vectors/refusals.json} has a case of each.
 *
 * <p>A value is a {@code Map<String, Object>}, a {@code List<Object>}, a {@code String}, a {@code Boolean}, a {@link
 * Num}, or null.
 */
final class Json {
    private static final int DEPTH = 64;
    private static final int MOST_VALUES = 1 << 20;
    private static final int MOST_DIGITS = 63;
    private static final double LARGEST = 9007199254740991.0;

    /** A number keeps its spelling: a double would round long ones. */
    record Num(String text) {
        double value() {
            return Double.parseDouble(text);
        }

        /** Without point and exponent. */
        boolean whole() {
            return text.matches("-?[0-9]+");
        }
    }

    /** Says what is not JSON about a text. */
    static final class Malformed extends Exception {
        private static final long serialVersionUID = 1;

        Malformed(String problem) {
            super(problem);
        }
    }

    private final String text;
    private final boolean notFinite;
    private int at;
    private int values;

    private Json(String text, boolean notFinite) {
        this.text = text;
        this.notFinite = notFinite;
    }

    /** Reads bytes of UTF-8; {@code notFinite} also allows NaN, Infinity and -Infinity, which signals may hold. */
    static Object read(ByteBuffer content, boolean notFinite) throws Malformed {
        try {
            return read(StandardCharsets.UTF_8.newDecoder().decode(content).toString(), notFinite);
        } catch (CharacterCodingException err) {
            throw new Malformed("bytes that are not UTF-8");
        }
    }

    /** Reads text. */
    static Object read(String text, boolean notFinite) throws Malformed {
        Json reader = new Json(text, notFinite);
        Object value = reader.value(0);
        reader.blanks();
        if (reader.at < text.length()) {
            throw new Malformed("something behind the end");
        }
        return value;
    }

    /** Whether two values are equal: members in any order, 1 equal to 1.0. */
    static boolean same(Object a, Object b) {
        if (a instanceof Num x && b instanceof Num y) {
            return x.whole() && y.whole() ? x.text().equals(y.text()) : x.value() == y.value();
        }
        if (a instanceof List<?> x && b instanceof List<?> y) {
            boolean equal = x.size() == y.size();
            for (int i = 0; equal && i < x.size(); i++) {
                equal = same(x.get(i), y.get(i));
            }
            return equal;
        }
        if (a instanceof Map<?, ?> x && b instanceof Map<?, ?> y) {
            return x.keySet().equals(y.keySet()) && x.keySet().stream().allMatch(key -> same(x.get(key), y.get(key)));
        }
        return java.util.Objects.equals(a, b);
    }

    /** A value as JSON. */
    static String write(Object value) {
        if (value instanceof Map<?, ?> members) {
            return members.entrySet()
                    .stream()
                    .map(member -> quoted((String) member.getKey()) + ": " + write(member.getValue()))
                    .collect(Collectors.joining(", ", "{", "}"));
        }
        if (value instanceof List<?> items) {
            return items.stream().map(Json::write).collect(Collectors.joining(", ", "[", "]"));
        }
        return value instanceof String one    ? quoted(one)
                : value instanceof Num number ? number.text()
                                              : String.valueOf(value);
    }

    /** A text in quotes, with escapes where it needs them. */
    static String quoted(String value) {
        StringBuilder out = new StringBuilder("\"");
        for (char c : value.toCharArray()) {
            if (c == '"' || c == '\\') {
                out.append('\\').append(c);
            } else if (c < 32 || c == 127) {
                out.append(String.format("\\u%04x", (int) c));
            } else {
                out.append(c);
            }
        }
        return out.append('"').toString();
    }

    // -- reading ------------------------------------------------------------------------------------------------

    private char peek() {
        return at < text.length() ? text.charAt(at) : 0;
    }

    private boolean eat(char c) {
        boolean found = at < text.length() && peek() == c;
        at += found ? 1 : 0;
        return found;
    }

    private boolean word(String word) {
        boolean found = text.startsWith(word, at);
        at += found ? word.length() : 0;
        return found;
    }

    private void blanks() {
        while (peek() == ' ' || peek() == '\t' || peek() == '\r' || peek() == '\n') {
            at++;
        }
    }

    private Object value(int depth) throws Malformed {
        if (++values > MOST_VALUES) {
            throw new Malformed("too many values");
        }
        blanks();
        if (depth == DEPTH && (peek() == '[' || peek() == '{')) {
            throw new Malformed("too many levels");
        }
        switch (peek()) {
            case '"':
                return string();
            case '[':
                return array(depth);
            case '{':
                return object(depth);
            default:
                if (word("null")) {
                    return null;
                }
                if (word("true")) {
                    return Boolean.TRUE;
                }
                return word("false") ? Boolean.FALSE : number();
        }
    }

    private List<Object> array(int depth) throws Malformed {
        List<Object> items = new ArrayList<>();
        at++;
        blanks();
        while (!eat(']')) {
            if (!items.isEmpty() && !eat(',')) {
                throw new Malformed("no comma between two values");
            }
            items.add(value(depth + 1));
            blanks();
        }
        return items;
    }

    private Map<String, Object> object(int depth) throws Malformed {
        Map<String, Object> members = new TreeMap<>();
        at++;
        blanks();
        while (!eat('}')) {
            if (!members.isEmpty() && !eat(',')) {
                throw new Malformed("no comma between two values");
            }
            blanks();
            String key = string();
            if (members.containsKey(key)) {
                throw new Malformed("a key that is there twice");
            }
            blanks();
            if (!eat(':')) {
                throw new Malformed("no colon behind a key");
            }
            members.put(key, value(depth + 1));
            blanks();
        }
        return members;
    }

    private int digits() {
        int from = at;
        while (peek() >= '0' && peek() <= '9') {
            at++;
        }
        return at - from;
    }

    private Num number() throws Malformed {
        int from = at;
        if (notFinite && word("NaN")) {
            return new Num("NaN");
        }
        eat('-');
        if (notFinite && word("Infinity")) {
            return new Num(text.substring(from, at));
        }
        boolean zero = peek() == '0';
        int whole = digits();
        if (whole == 0 || (zero && whole > 1)) {
            throw new Malformed(at < text.length() ? "not a value" : "it ends too early");
        }
        if (eat('.') && digits() == 0) {
            throw new Malformed("a number without digits");
        }
        if (eat('e') || eat('E')) {
            if (!eat('-')) {
                eat('+');
            }
            if (digits() == 0) {
                throw new Malformed("a number without digits");
            }
        }
        if (at - from > MOST_DIGITS) {
            throw new Malformed("a number with too many digits");
        }
        Num found = new Num(text.substring(from, at));
        if (found.whole() && Math.abs(found.value()) > LARGEST) {
            throw new Malformed("an integer beyond 2^53 - 1");
        }
        if (!Double.isFinite(found.value())) {
            throw new Malformed("a number that no double holds");
        }
        return found;
    }

    private String string() throws Malformed {
        if (!eat('"')) {
            throw new Malformed("no text where one must be");
        }
        StringBuilder out = new StringBuilder();
        while (!eat('"')) {
            if (at >= text.length()) {
                throw new Malformed("a text without an end");
            }
            char c = text.charAt(at++);
            if (c < 32) {
                throw new Malformed("a control character in a text");
            }
            out.append(c == '\\' ? escape() : c);
        }
        String found = out.toString();
        // Half a surrogate pair would be written as a question mark, and so be equal to other texts.
        if (found.codePoints().anyMatch(code -> code >= 0xd800 && code < 0xe000)) {
            throw new Malformed("half a surrogate pair");
        }
        return found;
    }

    private char escape() throws Malformed {
        char c = peek();
        at++;
        switch (c) {
            case '"', '\\', '/':
                return c;
            case 'b':
                return '\b';
            case 'f':
                return '\f';
            case 'n':
                return '\n';
            case 'r':
                return '\r';
            case 't':
                return '\t';
            case 'u':
                String digits = text.substring(Math.min(at, text.length()), Math.min(at + 4, text.length()));
                if (!digits.matches("[0-9a-fA-F]{4}")) {
                    throw new Malformed("an unknown escape");
                }
                at += 4;
                return (char) Integer.parseInt(digits, 16);
            default:
                throw new Malformed("an unknown escape");
        }
    }
}

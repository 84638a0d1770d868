package sri.guard;

/** Why something was refused: one line of printable text that names the subject and the reason. */
public final class Refused extends Exception {
    private static final long serialVersionUID = 1;

    /** Names in a damaged bundle may hold anything; a log line must not. */
    Refused(String format, Object... values) {
        super(printable(String.format(java.util.Locale.ROOT, format, values)));
    }

    private static String printable(String text) {
        String line = text.length() > 1000 ? text.substring(0, 1000) : text;
        return line.replaceAll("\\p{Cntrl}", "?");
    }
}

package sri.guard;

/** Why something was refused: one line of printable text that names the subject, the reason and what to do. */
public final class Refused extends Exception {
    private static final long serialVersionUID = 1;

    /** What was refused. */
    public enum Kind {
        /** The C library: it is not found, or is of another release. */
        LIBRARY,
        /** A bundle: there is no guard. */
        BUNDLE,
        /** A file of signals, or bytes of one. */
        SIGNALS,
        /** What was asked of an open guard: shapes, lengths, a rule, or signals of another model. */
        CALL
    }

    private final Kind kind;

    Refused(Kind kind, String reason) {
        super(reason);
        this.kind = kind;
    }

    /** What was refused. */
    public Kind kind() {
        return kind;
    }
}

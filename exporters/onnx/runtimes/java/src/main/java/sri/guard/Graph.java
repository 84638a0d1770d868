package sri.guard;

import ai.onnxruntime.NodeInfo;
import ai.onnxruntime.OnnxJavaType;
import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtLoggingLevel;
import ai.onnxruntime.OrtSession;
import ai.onnxruntime.TensorInfo;
import java.nio.FloatBuffer;
import java.nio.LongBuffer;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;

/**
 * onnxruntime, and nothing else: a graph from bytes, with every door closed that a file could open.
 *
 * <p>No external data, no folding of huge constants, no options from the model's own metadata, and one thread that never
 * spins.
 */
final class Graph implements AutoCloseable {
    /** Older releases read other files on a graph's behalf and allocate gigabytes for a file of 168 bytes. */
    private static final int[] OLDEST = {1, 27};
    private static final Map<String, String> OPTIONS = Map.of("session.intra_op.allow_spinning", "0",
            "session.load_model_format", "ONNX", "optimization.constant_folding_max_output_size_in_bytes", "1048576",
            // Without this, a model from bytes may read external data from the working directory.
            "session.model_external_initializers_file_folder_path", "/nonexistent");

    /** What a graph answers: [rows] each. */
    record Scores(float[] score, boolean[] valid) {}

    private final OrtEnvironment environment;
    private final OrtSession session;
    private final String subject;
    private final long[] grid;

    Graph(byte[] content, String subject, boolean prefix, int cells, int layers) throws Refused {
        this.subject = subject;
        this.grid = new long[] {cells, layers};
        String setting = System.getenv("ORT_LOAD_CONFIG_FROM_MODEL");
        if (setting != null && !setting.equals("0")) {
            throw new Refused(
                    "%s: ORT_LOAD_CONFIG_FROM_MODEL is set, so a model could set session options. Unset it.", subject);
        }
        environment = OrtEnvironment.getEnvironment(OrtLoggingLevel.ORT_LOGGING_LEVEL_FATAL, "sri");
        checkVersion(environment.getVersion());
        try (OrtSession.SessionOptions options = new OrtSession.SessionOptions()) {
            options.setIntraOpNumThreads(1);
            options.setInterOpNumThreads(1);
            // As everywhere: without an arena, glibc before 2.38 grows the heap with each call whose results are large.
            options.setCPUArenaAllocator(true);
            options.setSessionLogLevel(OrtLoggingLevel.ORT_LOGGING_LEVEL_FATAL);
            for (Map.Entry<String, String> option : OPTIONS.entrySet()) {
                options.addConfigEntry(option.getKey(), option.getValue());
            }
            session = environment.createSession(content, options);
        } catch (OrtException | RuntimeException err) {
            throw failed("cannot load it", err);
        }
        try {
            boolean same = session.getInputInfo().size() == (prefix ? 2 : 1)
                    && has(session.getInputInfo(), "signals", OnnxJavaType.FLOAT, -1, cells, layers)
                    && (!prefix || has(session.getInputInfo(), "length", OnnxJavaType.INT64, -1))
                    && session.getOutputInfo().size() == 2
                    && has(session.getOutputInfo(), "score", OnnxJavaType.FLOAT, -1)
                    && has(session.getOutputInfo(), "valid", OnnxJavaType.BOOL, -1);
            if (!same) {
                close();
                throw new Refused(
                        "%s: its inputs or outputs are not those the manifest promises. Export the guard again.",
                        subject);
            }
        } catch (OrtException err) {
            close();
            throw failed("cannot describe it", err);
        }
    }

    /**
     * Rows [rows, T, C], and lengths [rows] for {@code prefix}; what a graph declares is checked again on what it
     * returns.
     */
    Scores run(float[] signals, int from, long[] lengths, int rows) throws Refused {
        int size = Math.toIntExact(rows * grid[0] * grid[1]);
        FloatBuffer values = FloatBuffer.wrap(signals, from, size).slice();
        Map<String, OnnxTensor> inputs = new HashMap<>();
        try {
            inputs.put("signals", OnnxTensor.createTensor(environment, values, new long[] {rows, grid[0], grid[1]}));
            if (lengths != null) {
                inputs.put("length",
                        OnnxTensor.createTensor(environment, LongBuffer.wrap(lengths, 0, rows), new long[] {rows}));
            }
            try (OrtSession.Result result = session.run(inputs)) {
                boolean fits = result.get("score").orElse(null) instanceof OnnxTensor score
                        && is(score.getInfo(), OnnxJavaType.FLOAT, rows)
                        && result.get("valid").orElse(null) instanceof OnnxTensor valid
                        && is(valid.getInfo(), OnnxJavaType.BOOL, rows);
                if (!fits) {
                    throw new Refused(
                            "%s: it returns another number of rows, or of another type. Export the guard again.",
                            subject);
                }
                return new Scores((float[]) result.get("score").get().getValue(),
                        (boolean[]) result.get("valid").get().getValue());
            }
        } catch (OrtException err) {
            throw failed("fails on a signal", err);
        } finally {
            inputs.values().forEach(OnnxTensor::close);
        }
    }

    @Override
    public void close() {
        try {
            session.close();
        } catch (OrtException err) {
            throw new IllegalStateException(err); // Only if it was closed before.
        }
    }

    private void checkVersion(String found) throws Refused {
        int[] version = Arrays.stream(found.split("[^0-9]+"))
                                .filter(part -> !part.isEmpty())
                                .limit(2)
                                .mapToInt(Integer::parseInt)
                                .toArray();
        if (Arrays.compare(version, OLDEST) < 0) {
            throw new Refused("%s: onnxruntime %s is installed, and graphs may only be loaded by %d.%d or later, which "
                              + "checks where "
                            + "their data lies and how much they allocate. Install a newer one.",
                    subject, found, OLDEST[0], OLDEST[1]);
        }
    }

    private Refused failed(String doing, Exception err) {
        String brief = String.valueOf(err.getMessage()).lines().findFirst().orElse("");
        brief = brief.substring(0, Math.min(160, brief.length()));
        return new Refused("%s: onnxruntime %s (%s). Export the guard again.", subject, doing, brief);
    }

    private static boolean has(Map<String, NodeInfo> edges, String name, OnnxJavaType type, long... shape) {
        return edges.containsKey(name) && edges.get(name).getInfo() instanceof TensorInfo info && is(info, type, shape);
    }

    private static boolean is(TensorInfo info, OnnxJavaType type, long... shape) {
        return info.type == type && Arrays.equals(info.getShape(), shape);
    }
}

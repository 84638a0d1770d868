package sri.guard;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * What a manifest promises of its graphs: their files, their edges, and their golden vectors.
 *
 * @param cells T
 * @param layers C
 * @param width D
 */
record Promises(int cells, int layers, int width) {
    /** Those that are loaded. */
    static final List<String> GRAPHS = List.of("signal", "prefix");

    private static final Set<String> ALL_GRAPHS = Set.of("signal", "prefix", "full", "step");
    private static final int MOST_GOLDEN = 256;
    private static final long LARGEST_PROBE = 1 << 25;

    /** Inputs of a graph, and what it must answer; lengths are null for {@code signal}. */
    record Golden(float[] signals, long[] lengths, float[] score, boolean[] valid, float[] tolerance) {}

    /** Letters stand for the dimensions behind the first, which is the batch. */
    private record Edge(String name, String dtype, String letters) {}

    private static final Map<String, List<Edge>> INPUTS =
            Map.of("signal", List.of(new Edge("signals", "float32", "TC")), "prefix",
                    List.of(new Edge("signals", "float32", "TC"), new Edge("length", "int64", "")), "full",
                    List.of(new Edge("activations", "float32", "TCD")), "step",
                    List.of(new Edge("phi", "float32", "CD"), new Edge("step", "int64", ""),
                            new Edge("state", "float32", "TC")));
    private static final Map<String, List<Edge>> MORE_OUTPUTS =
            Map.of("full", List.of(new Edge("sigma", "float32", "TC"), new Edge("logit", "float32", "TC")), "step",
                    List.of(new Edge("sigma", "float32", "C"), new Edge("state_out", "float32", "TC")));

    /** Checks what the manifest says of all graphs, and gives the golden vectors of {@code GRAPHS}. */
    List<Golden> read(At root) throws Refused {
        At graphs = root.get("graphs");
        At golden = root.get("golden");
        At files = root.get("files");
        Set<String> names = graphs.members().keySet();
        golden.check(golden.members().keySet().equals(names), "every graph needs golden vectors, and nothing else");
        files.check(files.members().size() == names.size(), "files and graphs differ");
        graphs.check(ALL_GRAPHS.containsAll(names), "an unknown graph; allowed: signal, prefix, full, step");
        for (String name : names) {
            At graph = graphs.get(name).exactly("file", "inputs", "outputs");
            graph.check(graph.get("file").text().equals(name + ".onnx"), "a graph in another file");
            files.get(name + ".onnx");
            List<Edge> outputs =
                    new ArrayList<>(List.of(new Edge("score", "float32", ""), new Edge("valid", "bool", "")));
            outputs.addAll(MORE_OUTPUTS.getOrDefault(name, List.of()));
            checkEdges(graph.get("inputs"), INPUTS.get(name));
            checkEdges(graph.get("outputs"), outputs);
            readGolden(golden.get(name), name);
        }
        boolean anchorsInside = names.contains("full") || names.contains("step");
        At sensitive = root.get("sensitive");
        sensitive.check(Boolean.valueOf(anchorsInside).equals(sensitive.json()), "must say whether anchors are inside");
        long probe = (long) cells * layers * width;
        root.get("signal").check(!anchorsInside || probe <= LARGEST_PROBE, "too many numbers");
        graphs.get("signal");
        graphs.get("prefix");
        return List.of(readGolden(golden.get("signal"), "signal"), readGolden(golden.get("prefix"), "prefix"));
    }

    /** Inputs or outputs as the manifest promises them: a first dimension called B, and sizes. */
    private void checkEdges(At found, List<Edge> edges) throws Refused {
        found.exactly(edges.stream().map(Edge::name).toArray(String[] ::new));
        for (Edge edge : edges) {
            At entry = found.get(edge.name()).exactly("dtype", "shape");
            List<Object> expected = new ArrayList<>(List.of("B"));
            for (int size : sizes(edge.letters())) {
                expected.add(new Json.Num(Integer.toString(size)));
            }
            boolean same =
                    entry.get("dtype").text().equals(edge.dtype()) && entry.get("shape").items().equals(expected);
            entry.check(same, "has another type or shape");
        }
    }

    private int[] sizes(String letters) {
        return letters.chars().map(c -> c == 'T' ? cells : c == 'C' ? layers : width).toArray();
    }

    private Golden readGolden(At entry, String graph) throws Refused {
        entry.exactly("inputs", "score", "tolerance", "valid");
        float[] score = entry.get("score").floats(-1);
        int rows = score.length;
        entry.check(rows > 0 && rows <= MOST_GOLDEN, "no rows, or too many");
        // Hidden states follow a rule and are not stored.
        List<Edge> stored = INPUTS.get(graph).stream().filter(edge -> !edge.letters().contains("D")).toList();
        At inputs = entry.get("inputs").exactly(stored.stream().map(Edge::name).toArray(String[] ::new));
        float[] signals = null;
        long[] lengths = null;
        for (Edge edge : stored) {
            int[] sizes = sizes(edge.letters());
            int[] shape = new int[1 + sizes.length];
            shape[0] = rows;
            System.arraycopy(sizes, 0, shape, 1, sizes.length);
            if (edge.dtype().equals("int64")) {
                lengths = inputs.get(edge.name()).integers(shape);
            } else {
                signals = inputs.get(edge.name()).floats(shape);
            }
        }
        Golden golden = new Golden(
                signals, lengths, score, entry.get("valid").bools(rows), entry.get("tolerance").floats(rows));
        int valid = 0;
        for (int row = 0; row < rows; row++) {
            valid += golden.valid[row] ? 1 : 0;
            entry.check(golden.tolerance[row] >= 0 && Float.isFinite(golden.tolerance[row]),
                    "a tolerance that is no number");
        }
        entry.check(valid > 0 && valid < rows, "rows that are all valid, or none that is");
        return golden;
    }
}

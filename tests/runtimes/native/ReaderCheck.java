package sri.guard;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;

/**
 * Says what the parts of the reader that need no onnxruntime make of each line of standard input: {@code grammar} takes
 * JSON in base64, {@code manifest} folders of bundles, {@code signals} files for a guard of 16 cells and one layer.
 */
public final class ReaderCheck {
    private ReaderCheck() {}

    public static void main(String[] words) throws IOException {
        PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        try (BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8))) {
            for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                try {
                    out.println("ok\t" + found(words[0], line));
                } catch (Refused | Json.Malformed err) {
                    out.println("refused\t" + err.getMessage());
                }
            }
        }
    }

    private static String found(String what, String line) throws IOException, Refused, Json.Malformed {
        if (what.equals("grammar")) {
            return Json.write(Json.read(ByteBuffer.wrap(Base64.getDecoder().decode(line)), false));
        }
        if (what.equals("manifest")) {
            return new Manifest(BundleFiles.read(Path.of(line)), line).digest;
        }
        try (InputStream bytes = Files.newInputStream(Path.of(line))) {
            Signals read = Signals.read(bytes, line, "sigma", 16, 1);
            List<Object> ids = List.copyOf(read.ids());
            return Json.write(ids) + "\t" + Arrays.toString(read.lengths()) + "\t" + Arrays.toString(read.cells());
        }
    }
}

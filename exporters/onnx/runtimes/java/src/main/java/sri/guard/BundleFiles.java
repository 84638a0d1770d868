package sri.guard;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.Stream;

/**
 * The files of a bundle in memory: only plain files, not too many bytes of them, and nothing is parsed before all of it
 * is read, so a file that changes meanwhile cannot be half old and half new.
 */
public final class BundleFiles {
    static final String MANIFEST = "manifest.json";
    /** Ours, and that of OpenSSF model-signing; left unread: {@code sri bundle verify} checks them. */
    static final Set<String> SIGNATURES = Set.of("manifest.sig", "model.sig");

    private static final long LARGEST_MANIFEST = 16L << 20;
    private static final long LARGEST_SIGNATURE = 1L << 20;
    private static final long LARGEST_BUNDLE = 1L << 30;
    private static final int MOST_FILES = 16;
    private static final int LONGEST_NAME = 100;

    private BundleFiles() {}

    /** What holds for the files of a bundle wherever they come from: few, with plain names, and not too large. */
    static void checkSizes(String subject, Map<String, Long> sizes) throws Refused {
        long total = 0;
        if (sizes.size() > MOST_FILES) {
            throw new Refused("%s: more than %d files. This is not a bundle of this SDK.", subject, MOST_FILES);
        }
        for (Map.Entry<String, Long> file : sizes.entrySet()) {
            String name = file.getKey();
            if (name.length() > LONGEST_NAME || !name.matches("[A-Za-z0-9_][A-Za-z0-9._-]*")) {
                String shown = name.substring(0, Math.min(name.length(), LONGEST_NAME));
                throw new Refused(
                        "%s: a file called %s; allowed are letters, digits, '.', '_' and '-', not beginning with "
                                + "'.' or '-'. Copy the bundle again, without files of other programs.",
                        subject, shown);
            }
            long most = name.equals(MANIFEST)   ? LARGEST_MANIFEST
                    : SIGNATURES.contains(name) ? LARGEST_SIGNATURE
                                                : LARGEST_BUNDLE;
            boolean large = file.getValue() > most;
            total += large ? 0 : file.getValue();
            if (large || total > LARGEST_BUNDLE) {
                throw new Refused("%s: %s has %d bytes, allowed are %d. This is not a bundle of this SDK.", subject,
                        large ? name : "all", large ? file.getValue() : total, large ? most : LARGEST_BUNDLE);
            }
        }
    }

    /** All files of a bundle folder. */
    public static Map<String, byte[]> read(Path folder) throws Refused {
        Map<String, Long> sizes = new TreeMap<>();
        Map<String, byte[]> files = new TreeMap<>();
        if (!Files.isDirectory(folder)) {
            throw new Refused("%s: not a bundle folder. Point to the folder that holds %s.", folder, MANIFEST);
        }
        if (!Files.exists(folder.resolve(MANIFEST), LinkOption.NOFOLLOW_LINKS)) {
            if (Files.exists(folder.resolve("bundle"))) {
                throw new Refused("%s: a guard's folder, not a bundle. Its bundle is %s/bundle.", folder, folder);
            }
            throw new Refused(
                    "%s: %s is missing. Point to a bundle folder, or export the guard again.", folder, MANIFEST);
        }
        try (Stream<Path> entries = Files.list(folder)) {
            for (Path entry : (Iterable<Path>) entries::iterator) {
                BasicFileAttributes found =
                        Files.readAttributes(entry, BasicFileAttributes.class, LinkOption.NOFOLLOW_LINKS);
                if (!found.isRegularFile()) {
                    throw new Refused(
                            "%s: %s is not a plain file, and a bundle holds plain files only. Copy the bundle again.",
                            folder, entry.getFileName());
                }
                sizes.put(entry.getFileName().toString(), found.size());
                if (sizes.size() > MOST_FILES) {
                    break;
                }
            }
            checkSizes(folder.toString(), sizes);
            for (Map.Entry<String, Long> file : sizes.entrySet()) {
                files.put(file.getKey(), readOne(folder, file.getKey(), file.getValue().intValue()));
            }
        } catch (IOException err) {
            throw new Refused("%s: cannot be read (%s). Check who may read its files.", folder, err.getMessage());
        }
        return files;
    }

    private static byte[] readOne(Path folder, String name, int size) throws IOException, Refused {
        // What was a plain file a moment ago may be a link by now.
        try (InputStream from = Files.newInputStream(
                     folder.resolve(name), StandardOpenOption.READ, LinkOption.NOFOLLOW_LINKS)) {
            byte[] content = from.readNBytes(size + 1); // One more than listed: has it grown?
            if (content.length != size) {
                throw new Refused("%s: %s changed while it was read. Try again.", folder, name);
            }
            return content;
        }
    }
}

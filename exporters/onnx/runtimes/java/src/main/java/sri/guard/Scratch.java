package sri.guard;

import com.sun.jna.Memory;
import com.sun.jna.Native;
import com.sun.jna.Pointer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** What C reads during one call, and nobody afterwards. */
final class Scratch implements AutoCloseable {
    private final List<Memory> held = new ArrayList<>();
    private final Map<String, Pointer> texts = new HashMap<>();

    Memory room(long size) {
        Memory made = new Memory(Math.max(1, size));
        held.add(made);
        return made;
    }

    Pointer bytes(byte[] content) {
        Memory made = room(content.length);
        made.write(0, content, 0, content.length);
        return made;
    }

    /** A text that ends with a zero; null stays null, and one that is asked for twice is held once. */
    Pointer text(String text) {
        return text == null ? null : texts.computeIfAbsent(text, given -> {
            byte[] encoded = given.getBytes(StandardCharsets.UTF_8);
            Memory made = room(encoded.length + 1L);
            made.write(0, encoded, 0, encoded.length);
            made.setByte(encoded.length, (byte) 0);
            return made;
        });
    }

    /** As many pointers; null stays null. */
    Pointer texts(List<String> list) {
        if (list == null) {
            return null;
        }
        Memory made = room((long) list.size() * Native.POINTER_SIZE);
        for (int i = 0; i < list.size(); i++) {
            made.setPointer((long) i * Native.POINTER_SIZE, text(list.get(i)));
        }
        return made;
    }

    @Override
    public void close() {
        held.forEach(Memory::close);
    }
}

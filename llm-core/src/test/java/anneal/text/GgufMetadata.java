package anneal.text;

import java.io.IOException;
import java.nio.ByteOrder;
import java.nio.MappedByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** The metadata of a well-formed GGUF file, for tests of vocabularies alone. */
final class GgufMetadata {
    private GgufMetadata() {}

    static Map<String, Object> read(Path file) throws IOException {
        try (FileChannel channel = FileChannel.open(file)) {
            long size = Math.min(channel.size(), 64 << 20);
            MappedByteBuffer in = channel.map(FileChannel.MapMode.READ_ONLY, 0, size);
            in.order(ByteOrder.LITTLE_ENDIAN);
            if (in.getInt() != 0x46554747) {
                throw new IOException(file + " is not GGUF");
            }
            in.getInt(); // version
            in.getLong(); // tensors
            long n = in.getLong();
            Map<String, Object> out = new LinkedHashMap<>();
            for (long i = 0; i < n; i++) {
                String key = string(in);
                out.put(key, value(in, in.getInt()));
            }
            return out;
        }
    }

    private static String string(MappedByteBuffer in) {
        byte[] bytes = new byte[(int) in.getLong()];
        in.get(bytes);
        return new String(bytes, StandardCharsets.UTF_8);
    }

    private static Object value(MappedByteBuffer in, int type) {
        return switch (type) {
            case 0 -> (long) (in.get() & 0xFF);
            case 1 -> (long) in.get();
            case 2 -> (long) (in.getShort() & 0xFFFF);
            case 3 -> (long) in.getShort();
            case 4 -> in.getInt() & 0xFFFFFFFFL;
            case 5 -> (long) in.getInt();
            case 6 -> (double) in.getFloat();
            case 7 -> in.get() != 0;
            case 8 -> string(in);
            case 9 -> {
                int of = in.getInt();
                long n = in.getLong();
                List<Object> list = new ArrayList<>();
                for (long i = 0; i < n; i++) {
                    list.add(value(in, of));
                }
                yield list;
            }
            case 10, 11 -> in.getLong();
            case 12 -> in.getDouble();
            default -> throw new IllegalStateException("GGUF value type " + type);
        };
    }
}

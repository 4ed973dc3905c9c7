package anneal.io;

import anneal.tensor.DType;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/**
 * Writes safetensors files as the format's own library does: widest types first (so that every tensor is aligned),
 * names sorted, header padded to 8 bytes, metadata {@code {"format": "pt"}}. A file appears whole or not at all.
 */
public final class SafetensorsWriter {
    private final Map<String, String> metadata = new TreeMap<>(Map.of("format", "pt"));
    private DType target;
    private boolean sorted = true;

    /** Adds an entry to the file's metadata. */
    public SafetensorsWriter metadata(String key, String value) {
        metadata.put(key, value);
        return this;
    }

    /**
     * Stores real numbers as {@code type}: F32, F16 or BF16, rounded to nearest, ties to even. Integers stay as they
     * are. A finite number that would become infinite is an error.
     */
    public SafetensorsWriter as(DType type) {
        if (type != DType.F32 && type != DType.F16 && type != DType.BF16) {
            throw new IllegalArgumentException(
                    "safetensors: numbers can be written as F32, F16 or BF16, not as " + type);
        }
        target = type;
        return this;
    }

    /** Keeps the given order among tensors of one type in place of sorting them by name. */
    public SafetensorsWriter inGivenOrder() {
        sorted = false;
        return this;
    }

    /**
     * Writes one file; its folder must exist.
     *
     * @throws IllegalArgumentException for names given twice, types the format does not have, numbers that do not fit
     * @throws UncheckedIOException if the file cannot be written; an older one of that name is then still there
     */
    public void write(Path file, List<? extends TensorEntry> tensors) {
        List<TensorEntry> order = order(tensors);
        byte[] header = header(order);
        try {
            AtomicFile.write(file, channel -> {
                ByteBuffer length =
                        ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putLong(0, header.length);
                AtomicFile.writeFully(channel, length);
                AtomicFile.writeFully(channel, ByteBuffer.wrap(header));
                TensorStream stream = new TensorStream(channel);
                for (TensorEntry tensor : order) {
                    stream.write(tensor, stored(tensor));
                }
            });
        } catch (IOException e) {
            throw new UncheckedIOException(file + " cannot be written: " + e.getMessage(), e);
        }
    }

    /**
     * Writes {@code stem.safetensors}, or, when that would hold more than {@code limit} bytes of numbers, files
     * {@code stem-00001-of-00003.safetensors} of at most that (a larger tensor has a file of its own) and
     * {@code stem.safetensors.index.json}, which comes last.
     *
     * @throws IllegalArgumentException as {@link #write}, and if files of the other layout are in the way
     */
    public void write(Path folder, String stem, List<? extends TensorEntry> tensors, long limit) {
        List<List<TensorEntry>> shards = split(order(tensors), limit);
        Path single = folder.resolve(stem + ".safetensors");
        Path index = folder.resolve(stem + ".safetensors.index.json");
        Path inTheWay = shards.size() == 1 ? index : single;
        if (Files.exists(inTheWay)) {
            throw new IllegalArgumentException(inTheWay + " is in the way: it would hide what is to be written");
        }
        if (shards.size() == 1) {
            write(single, tensors);
            return;
        }
        Map<String, String> weightMap = new LinkedHashMap<>();
        long total = 0;
        for (int i = 0; i < shards.size(); i++) {
            String name = String.format("%s-%05d-of-%05d.safetensors", stem, i + 1, shards.size());
            write(folder.resolve(name), shards.get(i));
            for (TensorEntry tensor : shards.get(i)) {
                weightMap.put(tensor.name(), name);
                total += bytes(tensor);
            }
        }
        Map<String, Object> content = new LinkedHashMap<>();
        content.put("metadata", Map.of("total_size", total));
        content.put("weight_map", weightMap);
        Json.write(index, content);
    }

    private List<List<TensorEntry>> split(List<TensorEntry> order, long limit) {
        if (limit < 1) {
            throw new IllegalArgumentException("safetensors: a file cannot be limited to " + limit + " bytes");
        }
        List<List<TensorEntry>> shards = new ArrayList<>(List.of(new ArrayList<>()));
        long size = 0;
        for (TensorEntry tensor : order) {
            long bytes = bytes(tensor);
            if (bytes > limit - size && !shards.getLast().isEmpty()) {
                shards.add(new ArrayList<>());
                size = 0;
            }
            shards.getLast().add(tensor);
            size += bytes;
        }
        return shards;
    }

    private List<TensorEntry> order(List<? extends TensorEntry> tensors) {
        TensorStream.requireUnique(tensors);
        for (TensorEntry tensor : tensors) {
            if (tensor.name().equals("__metadata__")) {
                throw new IllegalArgumentException("safetensors: no tensor can be named \"__metadata__\"");
            }
            if (!Safetensors.TYPES.contains(tensor.dtype())) {
                throw new IllegalArgumentException("tensor \"" + tensor.name() + "\" is stored as " + tensor.dtype()
                        + ", which safetensors does not have");
            }
        }
        Comparator<TensorEntry> byType = Comparator.comparingInt(tensor -> Safetensors.TYPES.indexOf(stored(tensor)));
        List<TensorEntry> order = new ArrayList<>(tensors);
        order.sort(sorted ? byType.thenComparing(TensorEntry::name) : byType);
        return order;
    }

    private DType stored(TensorEntry tensor) {
        return target != null && !tensor.asItIs() && Convert.isPlainReal(tensor.dtype()) ? target : tensor.dtype();
    }

    private long bytes(TensorEntry tensor) {
        return Shapes.bytes(tensor.name(), stored(tensor), tensor.shape());
    }

    private byte[] header(List<TensorEntry> order) {
        Map<String, Object> content = new LinkedHashMap<>();
        content.put("__metadata__", metadata);
        long at = 0;
        for (TensorEntry tensor : order) {
            long end = Math.addExact(at, bytes(tensor));
            Map<String, Object> entry = new LinkedHashMap<>();
            entry.put("dtype", stored(tensor).name());
            entry.put("shape", tensor.shape());
            entry.put("data_offsets", new long[] {at, end});
            content.put(tensor.name(), entry);
            at = end;
        }
        byte[] json = Json.line(content).getBytes(StandardCharsets.UTF_8);
        if (json.length > Safetensors.MAX_HEADER - 8) {
            throw new IllegalArgumentException("safetensors: the header would have " + json.length + " bytes, at most "
                    + Safetensors.MAX_HEADER + " are allowed");
        }
        byte[] padded = Arrays.copyOf(json, (json.length + 7) / 8 * 8);
        Arrays.fill(padded, json.length, padded.length, (byte) ' ');
        return padded;
    }
}

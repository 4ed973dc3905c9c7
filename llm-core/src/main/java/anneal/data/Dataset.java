package anneal.data;

import anneal.data.Sample.Text;
import anneal.text.Chat;
import anneal.text.Tokenizer;
import java.io.IOException;
import java.io.Reader;
import java.io.UncheckedIOException;
import java.nio.charset.CharacterCodingException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.Iterator;
import java.util.List;
import java.util.NoSuchElementException;
import java.util.Queue;
import java.util.function.Consumer;
import java.util.stream.Stream;

/**
 * The samples of a file, or of all files of a folder in the order of their names, read from the start at each iteration.
 *
 * <p>Files: .jsonl, .json and .ndjson hold a list of records or one record a line; .txt is one document (a larger one is cut
 * at line ends into documents of some millions of characters). Shapes, found by looking at each record's keys:
 * {@code {text}}, {@code {prompt, completion}}, {@code {instruction, input, output}} with optional {@code history} and
 * {@code system}, {@code {messages}}, ShareGPT's {@code {conversations: [{from, value}]}}, the seed tasks of self-instruct
 * {@code {instruction, instances}}; and for preference training {@code {chosen, rejected}} beside a prompt and
 * {@code {messages, label}}. {@code tools} and {@code system} may stand beside any conversation.
 *
 * <p>Never holds more than one record in memory. A malformed line, an unknown shape, or no sample at all is an
 * {@link IllegalArgumentException} that names file and line.
 */
public final class Dataset implements Iterable<Sample> {
    private static final List<String> EXTENSIONS = List.of(".jsonl", ".json", ".ndjson", ".txt");
    private static final int DOCUMENT = 1 << 22;

    private final Path path;
    private final boolean chatsOnly;

    Dataset(Path path, boolean chatsOnly) {
        this.path = path;
        this.chatsOnly = chatsOnly;
    }

    /** Encodes all samples, instructions and conversations through the chat template; see {@link SampleEncoder}. */
    public EncodedDataset encode(Chat chat) {
        SampleEncoder encoder = SampleEncoder.of(chat);
        return EncodedDataset.of(this, encoder::encode, encoder.padId());
    }

    /** Encodes all samples without a chat template: text, completions, and instructions with Alpaca's prompts. */
    public EncodedDataset encode(Tokenizer tokenizer) {
        SampleEncoder encoder = SampleEncoder.of(tokenizer);
        return EncodedDataset.of(this, encoder::encode, encoder.padId());
    }

    @Override
    public Iterator<Sample> iterator() {
        Iterator<Sample> samples = new Samples(files());
        if (!samples.hasNext()) {
            throw new IllegalArgumentException(path + ": the dataset is empty");
        }
        return samples;
    }

    @Override
    public void forEach(Consumer<? super Sample> action) {
        iterator().forEachRemaining(action);
    }

    private List<Path> files() {
        if (Files.isRegularFile(path)) {
            return List.of(path);
        }
        if (!Files.isDirectory(path)) {
            throw new IllegalArgumentException(path + ": no such file or folder");
        }
        try (Stream<Path> all = Files.walk(path)) {
            List<Path> files = all.filter(Files::isRegularFile)
                    .filter(f -> EXTENSIONS.stream()
                            .anyMatch(e -> f.getFileName().toString().endsWith(e)))
                    .sorted()
                    .toList();
            if (files.isEmpty()) {
                throw new IllegalArgumentException(path + ": the folder has no file that ends in one of " + EXTENSIONS);
            }
            return files;
        } catch (IOException e) {
            throw new UncheckedIOException("cannot list " + path, e);
        }
    }

    /** All samples of some files. */
    private final class Samples implements Iterator<Sample> {
        private final Queue<Path> files;
        private final Queue<Sample> ready = new ArrayDeque<>();
        private Path file;
        private JsonRecords records;
        private Documents documents;

        Samples(List<Path> files) {
            this.files = new ArrayDeque<>(files);
        }

        @Override
        public boolean hasNext() {
            while (ready.isEmpty()) {
                if (records != null && records.hasNext()) {
                    JsonRecords.Located record = records.next();
                    String name = file.getFileName() + ":" + record.line();
                    Shapes.samples(record.value(), name).forEach(this::add);
                } else if (documents != null && documents.hasNext()) {
                    add(documents.next());
                } else if (!nextFile()) {
                    return false;
                }
            }
            return true;
        }

        private void add(Sample sample) {
            if (chatsOnly && sample instanceof Text) {
                throw new IllegalArgumentException(sample.name()
                        + ": is plain text, where a conversation or an instruction with its answer is expected");
            }
            ready.add(sample);
        }

        private boolean nextFile() {
            if (records != null) {
                records.close();
            }
            records = null;
            documents = null;
            file = files.poll();
            if (file == null) {
                return false;
            }
            if (file.toString().endsWith(".txt")) {
                documents = new Documents(file);
            } else {
                records = new JsonRecords(file);
            }
            return true;
        }

        @Override
        public Sample next() {
            if (!hasNext()) {
                throw new NoSuchElementException(path.toString());
            }
            return ready.remove();
        }
    }

    /** The documents of a text file. */
    private static final class Documents implements Iterator<Sample> {
        private final Path file;
        private final Reader reader;
        private final StringBuilder text = new StringBuilder();
        private boolean end;
        private long line = 1;

        Documents(Path file) {
            this.file = file;
            try {
                reader = JsonRecords.open(file);
            } catch (IOException e) {
                throw new UncheckedIOException("cannot read " + file, e);
            }
            fill();
        }

        private void fill() {
            char[] buffer = new char[1 << 16];
            try {
                while (!end && text.length() < DOCUMENT) {
                    int n = reader.read(buffer);
                    end = n < 0;
                    text.append(buffer, 0, Math.max(0, n));
                }
                if (end) {
                    reader.close();
                }
            } catch (CharacterCodingException e) {
                throw new IllegalArgumentException(file.getFileName() + ": not UTF-8 text", e);
            } catch (IOException e) {
                throw new UncheckedIOException("cannot read " + file, e);
            }
        }

        @Override
        public boolean hasNext() {
            return !text.isEmpty();
        }

        @Override
        public Sample next() {
            int newline = text.lastIndexOf("\n");
            // A file without line ends is cut where it is, but not inside a character.
            int cut = newline >= 0 ? newline + 1 : text.length();
            if (newline < 0 && !end && Character.isHighSurrogate(text.charAt(cut - 1))) {
                cut--;
            }
            String document = end ? text.toString() : text.substring(0, cut);
            text.delete(0, document.length());
            Sample sample = new Text(file.getFileName() + ":" + line, document);
            line += document.chars().filter(c -> c == '\n').count();
            fill();
            return sample;
        }
    }
}

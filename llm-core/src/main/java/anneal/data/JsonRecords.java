package anneal.data;

import anneal.io.Json;
import com.fasterxml.jackson.core.JacksonException;
import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.ObjectReader;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.Reader;
import java.io.UncheckedIOException;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.CodingErrorAction;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Iterator;
import java.util.NoSuchElementException;

/**
 * The records of one file, one at a time: a JSON array, or one JSON value a line. Which of the two it is shows in the first
 * character, not in the file's name. Never holds more than one record.
 */
final class JsonRecords implements Iterator<JsonRecords.Located>, AutoCloseable {
    /** A record and the line it begins on. */
    record Located(JsonNode value, long line) {}

    private static final ObjectMapper JSON = new ObjectMapper(JsonFactory.builder()
            .streamReadConstraints(
                    StreamReadConstraints.builder().maxStringLength(1 << 30).build())
            .build());
    private static final ObjectReader LINE =
            JSON.readerFor(JsonNode.class).with(DeserializationFeature.FAIL_ON_TRAILING_TOKENS);

    private final Path file;
    private final BufferedReader reader;
    /** Null when there is one value a line. */
    private final JsonParser array;

    private long line;
    private Located next;

    JsonRecords(Path file) {
        this.file = file;
        try {
            this.reader = open(file);
            this.array = startsArray() ? JSON.getFactory().createParser(reader) : null;
            if (array != null) {
                array.nextToken();
            }
        } catch (CharacterCodingException e) {
            throw notUtf8(1, e);
        } catch (IOException e) {
            throw new UncheckedIOException("cannot read " + file, e);
        }
        advance();
    }

    static BufferedReader open(Path file) throws IOException {
        Reader strict = new InputStreamReader(
                Files.newInputStream(file),
                StandardCharsets.UTF_8
                        .newDecoder()
                        .onMalformedInput(CodingErrorAction.REPORT)
                        .onUnmappableCharacter(CodingErrorAction.REPORT));
        return new BufferedReader(strict, 1 << 16);
    }

    private boolean startsArray() throws IOException {
        int c;
        do {
            reader.mark(1);
            c = reader.read();
            line += c == '\n' ? 1 : 0;
        } while (c == 0xFEFF || c == ' ' || c == '\t' || c == '\r' || c == '\n');
        reader.reset();
        return c == '[';
    }

    private void advance() {
        try {
            next = array == null ? nextLine() : nextElement();
        } catch (CharacterCodingException e) {
            throw notUtf8(line + 1, e);
        } catch (JacksonException e) {
            long at = array == null ? line : line + e.getLocation().getLineNr();
            throw new IllegalArgumentException(
                    file.getFileName() + ":" + at + ": malformed JSON: " + Json.reason(e), e);
        } catch (IOException e) {
            throw new UncheckedIOException("cannot read " + file, e);
        }
    }

    private IllegalArgumentException notUtf8(long at, CharacterCodingException e) {
        return new IllegalArgumentException(
                file.getFileName() + ":" + at + ": not UTF-8 text (at or soon after this line)", e);
    }

    private Located nextLine() throws IOException {
        String text;
        do {
            text = reader.readLine();
            line++;
        } while (text != null && text.isBlank());
        return text == null ? null : new Located(LINE.readTree(text), line);
    }

    private Located nextElement() throws IOException {
        JsonToken token = array.nextToken();
        if (token == JsonToken.END_ARRAY) {
            if (array.nextToken() != null) {
                throw new IllegalArgumentException(file.getFileName() + ":"
                        + (line + array.currentTokenLocation().getLineNr()) + ": text after the end of the list");
            }
            return null;
        }
        long at = line + array.currentTokenLocation().getLineNr();
        return new Located(JSON.readTree(array), at);
    }

    @Override
    public boolean hasNext() {
        return next != null;
    }

    @Override
    public Located next() {
        if (next == null) {
            throw new NoSuchElementException(file.toString());
        }
        Located out = next;
        advance();
        return out;
    }

    @Override
    public void close() {
        try {
            reader.close();
        } catch (IOException e) {
            throw new UncheckedIOException("cannot close " + file, e);
        }
    }
}

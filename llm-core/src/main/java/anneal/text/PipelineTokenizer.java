package anneal.text;

import java.util.OptionalInt;
import java.util.concurrent.ConcurrentLinkedDeque;

/**
 * A BPE tokenizer as a pipeline: added tokens, normaliser, words, merges, post-processor; and the decoder.
 *
 * <p>May be used by several threads at once: what changes while encoding is lent out per call.
 */
final class PipelineTokenizer implements Tokenizer {
    private final TokenizerParts parts;
    private final BpeModel model;
    private final AddedTokens added;
    private final ConcurrentLinkedDeque<BpeEncoder> idle = new ConcurrentLinkedDeque<>();
    private volatile TokenDecoder decoder;

    PipelineTokenizer(TokenizerParts parts) {
        this.parts = parts;
        this.model = parts.model();
        this.added = new AddedTokens(parts.added(), parts.normalizer());
    }

    /** What it was built from. */
    TokenizerParts parts() {
        return parts;
    }

    @Override
    public Encoding encode(String text, Options options) {
        BpeEncoder encoder = idle.pollFirst();
        if (encoder == null) {
            encoder = new BpeEncoder(model);
        }
        TokenBuffer out = new TokenBuffer(text.length() / 3 + 8);
        encoder.into(out);
        original(AlignedText.of(text), options.parseSpecial(), encoder, out);
        encoder.into(null);
        idle.addFirst(encoder);
        return parts.postProcessor().apply(out, parts.vocabulary(), options.addSpecial());
    }

    /** Added tokens that stand in the original text; what is between them is normalised. */
    private void original(AlignedText text, boolean parseSpecial, BpeEncoder encoder, TokenBuffer out) {
        AddedTokens.Matcher matcher = added.matcher(false, parseSpecial);
        if (matcher.isEmpty()) {
            normalized(text, parseSpecial, encoder, out);
            return;
        }
        matcher.split(text, new AddedTokens.Parts() {
            @Override
            public void text(int from, int to) {
                normalized(text.part(from, to), parseSpecial, encoder, out);
            }

            @Override
            public void token(int id, int from, int to) {
                out.add(id, text.start(from), text.end(to - 1));
            }
        });
    }

    private void normalized(AlignedText original, boolean parseSpecial, BpeEncoder encoder, TokenBuffer out) {
        AlignedText text =
                parts.normalizer() == null ? original : parts.normalizer().apply(original);
        AddedTokens.Matcher matcher = added.matcher(true, parseSpecial);
        if (matcher.isEmpty()) {
            words(text, text.from, text.to, encoder);
            return;
        }
        matcher.split(text, new AddedTokens.Parts() {
            @Override
            public void text(int from, int to) {
                words(text, from, to, encoder);
            }

            @Override
            public void token(int id, int from, int to) {
                out.add(id, text.start(from), text.end(to - 1));
            }
        });
    }

    private void words(AlignedText text, int from, int to, BpeEncoder encoder) {
        if (from == to) {
            return;
        }
        if (parts.preTokenizer() == null) {
            encoder.word(text, from, to);
        } else {
            parts.preTokenizer().split(text, from, to, encoder);
        }
    }

    private TokenDecoder decoder() {
        TokenDecoder d = decoder;
        if (d == null) {
            d = new TokenDecoder(parts.decoder(), parts.vocabulary(), added);
            decoder = d;
        }
        return d;
    }

    @Override
    public String decode(int[] ids, boolean skipSpecial) {
        return decoder().decode(ids, skipSpecial);
    }

    @Override
    public StreamDecoder stream(boolean skipSpecial) {
        return decoder().stream(skipSpecial);
    }

    @Override
    public int vocabSize() {
        return parts.vocabulary().size();
    }

    @Override
    public String token(int id) {
        String token = id >= 0 && id < vocabSize() ? parts.vocabulary().token(id) : null;
        if (token == null) {
            throw new IllegalArgumentException("token: id " + id + " is not in the vocabulary of " + vocabSize());
        }
        return token;
    }

    @Override
    public OptionalInt id(String token) {
        int id = parts.vocabulary().id(token);
        return id < 0 ? OptionalInt.empty() : OptionalInt.of(id);
    }

    @Override
    public boolean isSpecial(int id) {
        return added.isSpecial(id);
    }

    @Override
    public OptionalInt bos() {
        return parts.markers().bos();
    }

    @Override
    public OptionalInt eos() {
        return parts.markers().eos();
    }

    @Override
    public OptionalInt pad() {
        return parts.markers().pad();
    }
}

package anneal.text;

import anneal.text.TokenDecoder.Leading;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import java.util.function.Function;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.regex.PatternSyntaxException;

/** The components of a tokenizer.json by their {@code type}: normalisers, pre-tokenizers, post-processors, decoders. */
final class TokenizerComponents {
    private TokenizerComponents() {}

    static Normalizer normalizer(JsonFields f) {
        Normalizer n = switch (f.text("type")) {
            case "Sequence" ->
                new Normalizer.Sequence(f.each("normalizers").stream()
                        .map(TokenizerComponents::normalizer)
                        .toList());
            case "NFC" -> new Normalizer.UnicodeForm(java.text.Normalizer.Form.NFC);
            case "NFD" -> new Normalizer.UnicodeForm(java.text.Normalizer.Form.NFD);
            case "NFKC" -> new Normalizer.UnicodeForm(java.text.Normalizer.Form.NFKC);
            case "NFKD" -> new Normalizer.UnicodeForm(java.text.Normalizer.Form.NFKD);
            case "Prepend" -> new Normalizer.Prepend(f.text("prepend"));
            case "Replace" -> new Normalizer.Replace(pattern(f), f.text("content"));
            case "Strip" -> new Normalizer.Strip(f.flag("strip_left", true), f.flag("strip_right", true));
            case "StripAccents" -> new Normalizer.StripAccents();
            case "Lowercase" -> new Normalizer.Lowercase();
            case "Precompiled" ->
                new Normalizer.SentencePiece(new SentencePieceNormalizer(
                        charsMap(f, "precompiled_charsmap"), PreTokenizer.Metaspace.Scheme.NEVER, false, false));
            default -> throw f.error("type", "a known normalizer");
        };
        f.done();
        return n;
    }

    private static CharsMap charsMap(JsonFields f, String key) {
        byte[] blob;
        try {
            blob = Base64.getDecoder().decode(f.text(key));
        } catch (IllegalArgumentException e) {
            throw f.error(key, "base64");
        }
        return blob.length == 0 ? null : new CharsMap(blob, f.where() + ": " + key);
    }

    static PreTokenizer preTokenizer(JsonFields f) {
        PreTokenizer p = switch (f.text("type")) {
            case "Sequence" -> sequence(f);
            case "ByteLevel" -> {
                f.ignore("trim_offsets"); // read by the post-processor of the same name only
                yield new PreTokenizer.ByteLevel(f.flag("add_prefix_space", true), f.flag("use_regex", true));
            }
            case "Split" -> split(f);
            case "Digits" -> new PreTokenizer.Digits(f.flag("individual_digits", false));
            case "Metaspace" -> new PreTokenizer.Metaspace(replacement(f), scheme(f), f.flag("split", true));
            case "Whitespace" -> regex("\\w+|[^\\w\\s]+", PreTokenizer.Behavior.REMOVED, true);
            case "WhitespaceSplit" -> regex("\\s+", PreTokenizer.Behavior.REMOVED, false);
            case "CharDelimiterSplit" ->
                regex(Pattern.quote(f.text("delimiter")), PreTokenizer.Behavior.REMOVED, false);
            case "Punctuation" -> regex("[\\p{P}\\p{Punct}]", behavior(f), false);
            default -> throw f.error("type", "a known pre_tokenizer");
        };
        f.done();
        return p;
    }

    private static PreTokenizer regex(String regex, PreTokenizer.Behavior behavior, boolean invert) {
        return new PreTokenizer.Regex(Pattern.compile(regex, Pattern.UNICODE_CHARACTER_CLASS), behavior, invert);
    }

    private static PreTokenizer sequence(JsonFields f) {
        List<PreTokenizer> steps = new ArrayList<>();
        for (JsonFields step : f.each("pretokenizers")) {
            if (!steps.isEmpty() && steps.getLast() instanceof PreTokenizer.ByteLevel) {
                throw step.error("type", "before ByteLevel, the last pre_tokenizer,");
            }
            PreTokenizer p = preTokenizer(step);
            if (p instanceof PreTokenizer.Sequence inner) {
                steps.addAll(inner.steps());
            } else {
                steps.add(p);
            }
        }
        return steps.size() == 1 ? steps.getFirst() : new PreTokenizer.Sequence(List.copyOf(steps));
    }

    private static PreTokenizer split(JsonFields f) {
        PreTokenizer.Behavior behavior = behavior(f);
        boolean invert = f.flag("invert", false);
        Pattern pattern = pattern(f);
        if (behavior == PreTokenizer.Behavior.ISOLATED) { // invert changes nothing then
            var known = WordPattern.of(pattern.pattern());
            if (known.isPresent()) {
                return new PreTokenizer.Scan(known.get());
            }
        }
        return new PreTokenizer.Regex(pattern, behavior, invert);
    }

    private static PreTokenizer.Behavior behavior(JsonFields f) {
        String name = f.text("behavior", "Isolated");
        return switch (name) {
            case "Isolated" -> PreTokenizer.Behavior.ISOLATED;
            case "Removed" -> PreTokenizer.Behavior.REMOVED;
            case "MergedWithPrevious" -> PreTokenizer.Behavior.MERGED_WITH_PREVIOUS;
            case "MergedWithNext" -> PreTokenizer.Behavior.MERGED_WITH_NEXT;
            case "Contiguous" -> PreTokenizer.Behavior.CONTIGUOUS;
            default -> throw f.error("behavior", "a known behavior");
        };
    }

    /** {@code {"String": ...}} or {@code {"Regex": ...}} in Oniguruma's spelling. */
    private static Pattern pattern(JsonFields f) {
        JsonFields p = f.fields("pattern");
        String literal = p.text("String", null);
        String regex = literal == null ? p.text("Regex") : Pattern.quote(literal);
        p.done();
        try {
            return Pattern.compile(regex, Pattern.UNICODE_CHARACTER_CLASS | Pattern.UNICODE_CASE);
        } catch (PatternSyntaxException e) {
            // Scripts have another spelling in Java.
            String scripts = regex.replaceAll("\\\\([pP])\\{(\\^?)([A-Z][a-z]{2,}[A-Za-z_]*)}", "\\\\$1{$2Is$3}");
            try {
                return Pattern.compile(scripts, Pattern.UNICODE_CHARACTER_CLASS | Pattern.UNICODE_CASE);
            } catch (PatternSyntaxException again) {
                throw p.error("Regex", "a regular expression that can be read (" + again.getDescription() + ")");
            }
        }
    }

    private static char replacement(JsonFields f) {
        return f.character("replacement", String.valueOf(SentencePieceNormalizer.BLANK));
    }

    private static PreTokenizer.Metaspace.Scheme scheme(JsonFields f) {
        boolean prefix = f.flag("add_prefix_space", true); // the older spelling
        String name = f.text("prepend_scheme", prefix ? "always" : "never");
        f.ignore("str_rep");
        return switch (name) {
            case "always" -> PreTokenizer.Metaspace.Scheme.ALWAYS;
            case "first" -> PreTokenizer.Metaspace.Scheme.FIRST;
            case "never" -> PreTokenizer.Metaspace.Scheme.NEVER;
            default -> throw f.error("prepend_scheme", "always, first or never");
        };
    }

    static PostProcessor postProcessor(JsonFields f) {
        PostProcessor p = switch (f.text("type")) {
            case "Sequence" -> {
                PostProcessor all = PostProcessor.NONE;
                for (JsonFields step : f.each("processors")) {
                    all = both(all, postProcessor(step));
                }
                yield all;
            }
            case "ByteLevel" -> {
                f.ignore("use_regex"); // read by the pre-tokenizer of the same name only
                yield new PostProcessor(new int[0], new int[0], trim(f));
            }
            case "TemplateProcessing" -> template(f);
            case "RobertaProcessing" -> new PostProcessor(marker(f, "cls"), marker(f, "sep"), trim(f));
            case "BertProcessing" -> new PostProcessor(marker(f, "cls"), marker(f, "sep"), PostProcessor.Trim.NONE);
            default -> throw f.error("type", "a known post_processor");
        };
        f.done();
        return p;
    }

    private static PostProcessor.Trim trim(JsonFields f) {
        boolean prefix = f.flag("add_prefix_space", true);
        boolean trim = f.flag("trim_offsets", true);
        return !trim
                ? PostProcessor.Trim.NONE
                : prefix ? PostProcessor.Trim.BLANKS_BUT_PREFIX : PostProcessor.Trim.BLANKS;
    }

    private static PostProcessor both(PostProcessor a, PostProcessor b) {
        return new PostProcessor(
                concat(b.before(), a.before()),
                concat(a.after(), b.after()),
                a.trim() == PostProcessor.Trim.NONE ? b.trim() : a.trim());
    }

    private static int[] concat(int[] a, int[] b) {
        int[] out = java.util.Arrays.copyOf(a, a.length + b.length);
        System.arraycopy(b, 0, out, a.length, b.length);
        return out;
    }

    /** {@code [token, id]}. */
    private static int[] marker(JsonFields f, String key) {
        List<Object> v = f.list(key);
        if (v.size() != 2 || !(v.get(1) instanceof Integer id)) {
            throw f.error(key, "[token, id]");
        }
        return new int[] {id};
    }

    private static PostProcessor template(JsonFields f) {
        f.ignore("pair"); // one text at a time here
        JsonFields special = f.fields("special_tokens");
        List<int[]> before = new ArrayList<>();
        List<int[]> after = new ArrayList<>();
        boolean seen = false;
        for (JsonFields piece : f.each("single")) {
            if (piece.has("SpecialToken")) {
                JsonFields token = piece.fields("SpecialToken").ignore("type_id");
                (seen ? after : before).add(special.fields(token.text("id")).numbers("ids"));
                token.done();
            } else {
                JsonFields sequence = piece.fields("Sequence").ignore("type_id");
                if (seen || !sequence.text("id").equals("A")) {
                    throw sequence.error("id", "A, once,");
                }
                sequence.done();
                seen = true;
            }
            piece.done();
        }
        if (!seen) {
            throw f.error("single", "a template with the sequence A");
        }
        return new PostProcessor(flat(before), flat(after), PostProcessor.Trim.NONE);
    }

    private static int[] flat(List<int[]> lists) {
        return lists.stream().flatMapToInt(Arrays::stream).toArray();
    }

    /** Without a decoder, tokens are joined by blanks. */
    static TokenDecoder.Rules noDecoder() {
        return new TokenDecoder.Rules(false, false, List.of(), Leading.NONE, " ");
    }

    static TokenDecoder.Rules decoder(JsonFields f) {
        DecoderBuilder b = new DecoderBuilder();
        b.add(f);
        return b.build();
    }

    /** Reads the steps of a decoder into the one form that {@link TokenDecoder} knows. */
    private static final class DecoderBuilder {
        private boolean byteLevel;
        private boolean byteFallback;
        private boolean fused;
        private final List<TokenDecoder.Edit> edits = new ArrayList<>();
        private Leading leading = Leading.NONE;

        void add(JsonFields f) {
            String type = f.text("type");
            switch (type) {
                case "Sequence" -> f.each("decoders").forEach(this::add);
                case "ByteLevel" -> {
                    f.ignore("add_prefix_space", "trim_offsets", "use_regex"); // no part in decoding
                    byteLevel = true;
                    fused = true;
                }
                case "ByteFallback" -> {
                    perToken(f);
                    byteFallback = true;
                }
                case "Fuse" -> fused = true;
                case "Replace" -> {
                    perToken(f);
                    Pattern pattern = pattern(f);
                    String content = Matcher.quoteReplacement(f.text("content"));
                    edits.add(t -> pattern.matcher(t).replaceAll(content));
                }
                case "Metaspace" -> {
                    perToken(f);
                    char replacement = replacement(f);
                    if (scheme(f) != PreTokenizer.Metaspace.Scheme.NEVER) {
                        leading = new Leading(' ', 1, Leading.Where.FIRST_TOKEN);
                    }
                    f.ignore("split");
                    edits.add(t -> t.replace(replacement, ' '));
                }
                case "Strip" -> strip(f);
                default -> throw f.error("type", "a known decoder");
            }
            f.done();
        }

        private void strip(JsonFields f) {
            char c = f.character("content", "");
            int start = f.number("start", 0);
            int stop = f.number("stop", 0);
            if (!fused) {
                edits.add(t -> stripped(t, c, start, stop));
            } else if (stop != 0) {
                throw f.error("stop", "0 after Fuse, since text is streamed and its end not known,");
            } else {
                leading = new Leading(c, start, Leading.Where.TEXT);
            }
        }

        private static String stripped(String t, char c, int start, int stop) {
            int from = 0;
            while (from < Math.min(start, t.length()) && t.charAt(from) == c) {
                from++;
            }
            int to = t.length();
            while (to > from && t.length() - to < stop && t.charAt(to - 1) == c) {
                to--;
            }
            return t.substring(from, to);
        }

        private void perToken(JsonFields f) {
            if (fused) {
                throw f.error("type", "before Fuse or ByteLevel, since after them it would rewrite the whole text,");
            }
        }

        TokenDecoder.Rules build() {
            return new TokenDecoder.Rules(byteLevel, byteFallback, List.copyOf(edits), leading, "");
        }
    }

    /** Reads the component under {@code key} if there is one. */
    static <T> T optional(JsonFields f, String key, Function<JsonFields, T> reader, T otherwise) {
        return f.find(key).map(reader).orElse(otherwise);
    }
}

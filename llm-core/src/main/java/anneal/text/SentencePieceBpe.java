package anneal.text;

import anneal.text.SentencePieceModel.Piece;
import anneal.text.SentencePieceModel.Type;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;

/**
 * SentencePiece-style BPE: any two neighbours whose joined spelling is a piece may merge, the piece of the highest score
 * first, the leftmost of equals. Source: Kudo and Richardson, arXiv:1808.06226.
 *
 * <p>Here the pairs are found once, when the vocabulary is read, so that encoding is the same as for ranked merges: the
 * rank of a merge is the place of its piece when pieces are sorted by falling score (equal scores, equal rank).
 */
final class SentencePieceBpe {
    /**
     * A vocabulary of scored pieces and how text is prepared for it.
     *
     * @param file named in errors
     * @param pieces by id
     * @param normalizer how text is prepared
     * @param charsMap the character map's bytes, kept for writing; empty for none
     * @param byteFallback unknown characters become bytes
     * @param addBegin begin is put before a document
     * @param addEnd end is put after it
     */
    record Spec(
            String file,
            List<Piece> pieces,
            SentencePieceNormalizer normalizer,
            byte[] charsMap,
            boolean byteFallback,
            boolean addBegin,
            boolean addEnd,
            TokenizerParts.Markers markers) {}

    /** A way to merge into {@code piece}. */
    private record Merge(int left, int right, int piece, float score, int leftLength, int rightLength) {}

    private SentencePieceBpe() {}

    /** From a model file. {@code prefix}, {@code addBegin}, {@code addEnd} are the tokenizer class's habits. */
    static TokenizerParts of(
            SentencePieceModel m, String file, PreTokenizer.Metaspace.Scheme prefix, boolean addBegin, boolean addEnd) {
        CharsMap map = m.charsMap.length == 0 ? null : new CharsMap(m.charsMap, file + ": precompiled_charsmap");
        var normalizer = new SentencePieceNormalizer(
                map, m.addPrefix ? prefix : PreTokenizer.Metaspace.Scheme.NEVER, m.removeExtraBlanks, m.escapeBlanks);
        OptionalInt begin = present(m.beginId, m.pieces);
        OptionalInt end = present(m.endId, m.pieces);
        var markers = new TokenizerParts.Markers(begin, end, present(m.padId, m.pieces), unknown(m.pieces));
        return build(new Spec(
                file,
                m.pieces,
                normalizer,
                m.charsMap,
                m.byteFallback,
                addBegin && begin.isPresent(),
                addEnd && end.isPresent(),
                markers));
    }

    private static OptionalInt present(int id, List<Piece> pieces) {
        return id >= 0 && id < pieces.size() ? OptionalInt.of(id) : OptionalInt.empty();
    }

    private static OptionalInt unknown(List<Piece> pieces) {
        for (int id = 0; id < pieces.size(); id++) {
            if (pieces.get(id).type() == Type.UNKNOWN) {
                return OptionalInt.of(id);
            }
        }
        return OptionalInt.empty();
    }

    static TokenizerParts build(Spec s) {
        String[] tokens = s.pieces.stream().map(Piece::text).toArray(String[]::new);
        Vocabulary vocabulary = Vocabulary.of(tokens, s.file);
        Map<String, Integer> ids = new HashMap<>();
        List<AddedToken> added = new ArrayList<>();
        for (int id = 0; id < tokens.length; id++) {
            switch (s.pieces.get(id).type()) {
                case NORMAL -> ids.put(tokens[id], id);
                case UNKNOWN, CONTROL -> added.add(AddedToken.control(id, tokens[id]));
                // These are never merged into: they are found in the normalised text, whole.
                case USER_DEFINED -> added.add(new AddedToken(id, tokens[id], false, false, false, true, false));
                case UNUSED, BYTE -> {}
            }
        }
        Map<String, Integer> partial = partialCharacters(s.pieces, ids, tokens.length);
        List<Merge> merges = merges(s.pieces, ids, partial);
        MergeTable table = new MergeTable(merges.size());
        boolean cuts = true;
        int rank = -1;
        float score = Float.NaN;
        List<int[]> kept = new ArrayList<>();
        for (Merge m : merges) {
            if (m.score != score) {
                rank++;
                score = m.score;
            }
            table.add(m.left, m.right, rank, m.piece);
            String piece = tokens[m.piece];
            cuts &= !TokenizerJson.reachesAcross(piece.substring(0, m.leftLength), piece.substring(m.leftLength));
            if (m.left < tokens.length && m.right < tokens.length) {
                kept.add(new int[] {m.left, m.right});
            }
        }
        int unknown = s.markers.unknown().orElse(-1);
        BpeModel model = new BpeModel(
                vocabulary,
                table,
                new BpeModel.Rules(false, s.byteFallback, unknown, true, false),
                partial,
                Map.of(),
                cuts);
        TokenDecoder.Leading leading = leading(s.normalizer);
        var decoder = new TokenDecoder.Rules(
                false, s.byteFallback, List.of(t -> t.replace(SentencePieceNormalizer.BLANK, ' ')), leading, "");
        float[] scores = new float[tokens.length];
        for (int id = 0; id < scores.length; id++) {
            scores[id] = s.pieces.get(id).score();
        }
        int[] flat = kept.stream().flatMapToInt(java.util.Arrays::stream).toArray();
        TokenizerParts parts = new TokenizerParts(
                json(s),
                vocabulary,
                model,
                scores,
                flat,
                List.copyOf(added),
                new Normalizer.SentencePiece(s.normalizer),
                null,
                PostProcessor.NONE,
                decoder,
                s.markers);
        int[] before = s.addBegin ? s.markers.bos().stream().toArray() : new int[0];
        int[] after = s.addEnd ? s.markers.eos().stream().toArray() : new int[0];
        return before.length + after.length == 0 ? parts : TokenizerJson.withMarkers(parts, before, after);
    }

    /** Decoding takes back the blank that was put in front; all of them if blanks at the start cannot be text. */
    private static TokenDecoder.Leading leading(SentencePieceNormalizer n) {
        if (n.removeExtraBlanks()) {
            return new TokenDecoder.Leading(' ', 1, TokenDecoder.Leading.Where.EACH_WHILE_EMPTY);
        }
        return n.prefix() == PreTokenizer.Metaspace.Scheme.NEVER
                ? TokenDecoder.Leading.NONE
                : new TokenDecoder.Leading(' ', 1, TokenDecoder.Leading.Where.TEXT);
    }

    /** Characters that begin or end pieces without being one: they get ids above the vocabulary, to merge with. */
    private static Map<String, Integer> partialCharacters(List<Piece> pieces, Map<String, Integer> ids, int from) {
        Map<String, Integer> partial = new HashMap<>();
        for (Piece p : pieces) {
            if (p.type() == Type.NORMAL) {
                p.text().codePoints().mapToObj(Character::toString).forEach(c -> {
                    if (!ids.containsKey(c)) {
                        partial.putIfAbsent(c, from + partial.size());
                    }
                });
            }
        }
        return partial;
    }

    /** All merges, best score first; among equal scores in the order of tokenizers' own conversion. */
    private static List<Merge> merges(List<Piece> pieces, Map<String, Integer> ids, Map<String, Integer> partial) {
        List<Merge> merges = new ArrayList<>();
        for (int id = 0; id < pieces.size(); id++) {
            Piece p = pieces.get(id);
            if (p.type() != Type.NORMAL) {
                continue;
            }
            String t = p.text();
            for (int i = t.offsetByCodePoints(0, t.isEmpty() ? 0 : 1); i < t.length(); i = t.offsetByCodePoints(i, 1)) {
                Integer left = find(t.substring(0, i), ids, partial);
                Integer right = left == null ? null : find(t.substring(i), ids, partial);
                if (right != null) {
                    merges.add(new Merge(left, right, id, p.score(), i, t.length() - i));
                }
            }
        }
        merges.sort((a, b) -> {
            int c = Float.compare(b.score, a.score);
            c = c != 0 ? c : Integer.compare(b.leftLength, a.leftLength);
            return c != 0 ? c : Integer.compare(b.rightLength, a.rightLength);
        });
        return merges;
    }

    private static Integer find(String s, Map<String, Integer> ids, Map<String, Integer> partial) {
        Integer id = ids.get(s);
        return id != null ? id : partial.get(s);
    }

    /** The same tokenizer in tokenizer.json's words, for saving. */
    private static Map<String, Object> json(Spec s) {
        String blank = s.normalizer.escapeBlanks() ? String.valueOf(SentencePieceNormalizer.BLANK) : " ";
        PreTokenizer.Metaspace.Scheme prefix = s.normalizer.prefix();
        List<Object> steps = new ArrayList<>();
        if (s.charsMap.length > 0) {
            String map = Base64.getEncoder().encodeToString(s.charsMap);
            steps.add(JsonFields.object("type", "Precompiled", "precompiled_charsmap", map));
        }
        if (s.normalizer.removeExtraBlanks()) {
            // "Strip" would take line ends, too.
            steps.add(replace(JsonFields.object("Regex", "\\A +| +\\z"), ""));
            steps.add(replace(JsonFields.object("Regex", " {2,}"), " "));
        }
        Map<String, Object> pre = null;
        if (prefix == PreTokenizer.Metaspace.Scheme.FIRST) {
            pre = JsonFields.object(
                    "type", "Metaspace", "replacement", blank, "prepend_scheme", "first", "split", false);
        } else {
            if (prefix == PreTokenizer.Metaspace.Scheme.ALWAYS) {
                steps.add(JsonFields.object("type", "Prepend", "prepend", blank));
            }
            steps.add(replace(JsonFields.object("String", " "), blank));
        }
        return JsonFields.object(
                "normalizer",
                JsonFields.object("type", "Sequence", "normalizers", steps),
                "pre_tokenizer",
                pre,
                "post_processor",
                null,
                "decoder",
                JsonFields.object("type", "Sequence", "decoders", decoders(s, blank)),
                "model",
                ByteLevelJson.model(unknownToken(s), true, s.byteFallback, false));
    }

    private static List<Object> decoders(Spec s, String blank) {
        List<Object> steps = new ArrayList<>();
        steps.add(replace(JsonFields.object("String", blank), " "));
        if (s.byteFallback) {
            steps.add(JsonFields.object("type", "ByteFallback"));
        }
        steps.add(JsonFields.object("type", "Fuse"));
        if (leading(s.normalizer).most() > 0) {
            steps.add(JsonFields.object("type", "Strip", "content", " ", "start", 1, "stop", 0));
        }
        return steps;
    }

    private static String unknownToken(Spec s) {
        return s.markers.unknown().isPresent()
                ? s.pieces.get(s.markers.unknown().getAsInt()).text()
                : null;
    }

    private static Map<String, Object> replace(Map<String, Object> pattern, String content) {
        return JsonFields.object("type", "Replace", "pattern", pattern, "content", content);
    }
}

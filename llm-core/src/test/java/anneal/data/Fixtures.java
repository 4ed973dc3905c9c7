package anneal.data;

import anneal.text.ByteTokenizer;
import anneal.text.Chat;
import anneal.text.ChatTemplate;
import anneal.text.Encoded;
import anneal.text.Tokenizer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Tokenizers and ready-made datasets for the tests of this package. */
final class Fixtures {
    static final Tokenizer TOKENIZER = new ByteTokenizer("<|im_start|>", "<|im_end|>", "<eos>");
    static final Chat CHAT = new Chat(TOKENIZER, ChatTemplate.chatml());

    private Fixtures() {}

    static String text(int[] ids) {
        return TOKENIZER.decode(ids, false);
    }

    /** Samples with these very ids, all trained. */
    static EncodedDataset encoded(List<int[]> sequences) {
        Map<String, int[]> byName = new LinkedHashMap<>();
        sequences.forEach(ids -> byName.put("s" + byName.size(), ids));
        List<Sample> samples = new ArrayList<>();
        byName.keySet().forEach(name -> samples.add(new Sample.Text(name, "")));
        return EncodedDataset.of(samples, s -> allTrained(byName.get(s.name())), 0);
    }

    private static Encoded allTrained(int[] ids) {
        boolean[] trained = new boolean[ids.length];
        Arrays.fill(trained, true);
        return new Encoded(ids, trained);
    }
}

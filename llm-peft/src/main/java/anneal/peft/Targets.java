package anneal.peft;

import anneal.io.Json;
import anneal.nn.Embedding;
import anneal.nn.Linear;
import anneal.nn.Module;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.regex.PatternSyntaxException;

/**
 * Which linear layers get an adapter, by PEFT's rules.
 *
 * <p>A name fits a layer whose path equals it or ends with "." and the name; a regular expression must fit the whole path.
 *
 * @param names layer names; the one name "all-linear" stands for every linear layer but the output head
 * @param regex regular expression in place of names, or null
 * @param exclude names of layers that get none although they fit
 * @param layers numbers of the blocks that get one; empty = all. Only with names
 * @param layersPattern names of the list that the numbers count ("layers", "h"); empty = whatever list comes first in the path
 */
public record Targets(
        List<String> names, String regex, List<String> exclude, List<Integer> layers, List<String> layersPattern) {
    /** Every linear layer but the output head. */
    public static final String ALL_LINEAR = "all-linear";

    /** Last parts of paths that are heads in the families of Hugging Face. */
    private static final Set<String> HEADS = Set.of("lm_head", "embed_out", "output_layer", "score", "classifier");

    private static final Pattern FIRST_NUMBER = Pattern.compile(".*?\\.[^.]*\\.(?<idx>\\d+)\\..*");

    public Targets {
        names = List.copyOf(names);
        exclude = List.copyOf(exclude);
        layers = List.copyOf(layers);
        layersPattern = List.copyOf(layersPattern);
        if (names.isEmpty() == (regex == null)) {
            throw new IllegalArgumentException("Targets: give layer names or a regular expression, for example on(\""
                    + ALL_LINEAR + "\") or on(\"q_proj\", \"v_proj\")");
        }
        if (regex != null) {
            pattern(regex);
            if (!layers.isEmpty()) {
                throw new IllegalArgumentException(
                        "Targets: layer numbers go with names; put them into the regular expression " + regex);
            }
        }
    }

    /** Layers with these names. */
    public static Targets named(String... names) {
        return new Targets(List.of(names), null, List.of(), List.of(), List.of());
    }

    /** Layers whose path fits this regular expression. */
    public static Targets matching(String regex) {
        return new Targets(List.of(), regex, List.of(), List.of(), List.of());
    }

    /** True if a layer is a head, by the last part of its path. */
    static boolean isHead(String path) {
        return HEADS.contains(path.substring(path.lastIndexOf('.') + 1));
    }

    boolean allLinear() {
        return names.size() == 1 && names.getFirst().equalsIgnoreCase(ALL_LINEAR);
    }

    /** Exactly these layers. */
    static Targets exactly(Collection<String> paths) {
        return named(new TreeSet<>(paths).toArray(String[]::new));
    }

    static Pattern pattern(String regex) {
        try {
            return Pattern.compile(regex);
        } catch (PatternSyntaxException e) {
            throw new IllegalArgumentException(
                    "Targets: " + regex + " is no regular expression: " + e.getDescription(), e);
        }
    }

    /** True if the layer with this path gets an adapter. */
    boolean fits(String path) {
        if (exclude.stream().anyMatch(name -> named(path, name))) {
            return false;
        }
        if (regex != null) {
            return pattern(regex).matcher(path).matches();
        }
        boolean fits = allLinear()
                ? !isHead(path)
                : names.contains(path) || names.stream().anyMatch(name -> named(path, name)) && inLayers(path);
        return fits && (!allLinear() || inLayers(path));
    }

    static boolean named(String path, String name) {
        return path.equals(name) || path.endsWith("." + name);
    }

    /** Number of the block that a path lies in: the first number in it. */
    static OptionalInt block(String path) {
        Matcher m = FIRST_NUMBER.matcher(path);
        return m.matches() ? OptionalInt.of(Integer.parseInt(m.group("idx"))) : OptionalInt.empty();
    }

    /**
     * The number of blocks of a model with these paths.
     *
     * @param what names the number {@code asked} of blocks in the error if it is more: "Lisa: blocks"
     */
    static int requireBlocks(Set<String> paths, String what, int asked) {
        int blocks = 1
                + paths.stream()
                        .map(Targets::block)
                        .flatMapToInt(OptionalInt::stream)
                        .max()
                        .orElse(-1);
        if (asked > blocks) {
            throw new IllegalArgumentException(what + " " + asked + " is more than the model's " + blocks + " blocks");
        }
        return blocks;
    }

    private boolean inLayers(String path) {
        if (layers.isEmpty()) {
            return true;
        }
        if (layersPattern.isEmpty()) {
            OptionalInt block = block(path);
            return block.isPresent() && layers.contains(block.getAsInt());
        }
        for (String list : layersPattern) {
            Matcher m = pattern("(?:^|.*?\\.)" + list + "\\.(?<idx>\\d+)\\..*").matcher(path);
            if (m.matches()) {
                return layers.contains(Integer.parseInt(m.group("idx")));
            }
        }
        return false;
    }

    /**
     * The layers of a model that get an adapter, by path.
     *
     * @param every true: each name must fit a layer, not only one of them
     */
    Map<String, Linear> find(Module root, boolean every) {
        return find(root, every, Set.of());
    }

    /**
     * The same where names may also stand for something that is not a linear layer.
     *
     * @param others paths of what else was found
     */
    Map<String, Linear> find(Module root, boolean every, Set<String> others) {
        return find(root, Linear.class, "linear layer", every, others);
    }

    /** The modules of another type that are changed, by path; {@code what} is the type in words. */
    <M extends Module> Map<String, M> find(Module root, Class<M> type, String what, boolean every) {
        return find(root, type, what, every, Set.of());
    }

    private <M extends Module> Map<String, M> find(
            Module root, Class<M> type, String what, boolean every, Set<String> others) {
        Map<String, M> all = root.find(type), found = new LinkedHashMap<>(all);
        found.keySet().removeIf(path -> !fits(path));
        List<String> idle = new ArrayList<>();
        if (found.isEmpty() && others.isEmpty()) {
            idle.addAll(regex != null ? List.of(regex) : names);
        } else if (every && regex == null && !allLinear()) {
            names.stream()
                    .filter(name -> found.keySet().stream().noneMatch(path -> named(path, name)))
                    .filter(name -> others.stream().noneMatch(path -> named(path, name)))
                    .forEach(idle::add);
        }
        if (!idle.isEmpty()) {
            throw new IllegalArgumentException("targets: no " + what + " fits " + String.join(", ", idle)
                    + (layers.isEmpty() ? "" : " in layers " + layers) + "; there are " + describe(all.keySet())
                    + meant(idle, all.keySet()));
        }
        return found;
    }

    /** What the first of the names that fit nothing is a slip of, for the end of a message. */
    private static String meant(List<String> idle, Collection<String> paths) {
        Set<String> known = new TreeSet<>(paths);
        paths.forEach(path -> known.add(last(path)));
        return known.contains(idle.getFirst())
                ? ""
                : Json.slip(idle.getFirst(), known)
                        .map(name -> "; did you mean " + name + "?")
                        .orElse("");
    }

    private static String last(String path) {
        return path.substring(path.lastIndexOf('.') + 1);
    }

    /** The token embeddings that fit by path; "all-linear" means none. */
    Map<String, Embedding> findEmbeddings(Module root) {
        Map<String, Embedding> found = root.find(Embedding.class);
        found.keySet().removeIf(path -> allLinear() || !fits(path));
        return found;
    }

    /** The last parts of paths, each once: "q_proj, k_proj, lm_head". */
    static String describe(Collection<String> paths) {
        Set<String> last = new TreeSet<>();
        paths.forEach(path -> last.add(last(path)));
        return last.isEmpty() ? "none at all" : String.join(", ", last);
    }
}

package anneal.train;

import java.util.regex.Pattern;
import java.util.regex.PatternSyntaxException;

/**
 * Parameters that are treated alike, found by name.
 *
 * <p>The first group that matches a parameter counts. A parameter that none matches learns at the rate of the schedule and decays
 * if it is a matrix: biases and norm weights, which are vectors, are exempt, as transformers' Trainer does it.
 *
 * @param pattern regular expression, found anywhere in the name
 * @param rateFactor times the schedule's rate
 * @param decay whether the rule's weight decay acts
 */
public record ParameterGroup(String pattern, double rateFactor, boolean decay) {
    /** Weight decay on every parameter, biases and norms too. */
    public static final ParameterGroup DECAY_ALL = new ParameterGroup(".*", 1, true);

    public ParameterGroup {
        UpdateRule.requireIn("ParameterGroup", "rateFactor", rateFactor, 0, Double.POSITIVE_INFINITY);
        try {
            Pattern.compile(pattern);
        } catch (PatternSyntaxException e) {
            throw new IllegalArgumentException(
                    "ParameterGroup: pattern " + pattern + " is no regular expression: " + e.getDescription(), e);
        }
    }
}

package anneal.text;

/**
 * A token that is found in the text before any word is cut.
 *
 * @param id its id
 * @param content its spelling
 * @param singleWord only where no word character touches it
 * @param lstrip takes the blanks before it
 * @param rstrip takes the blanks after it
 * @param normalized looked for in the normalised text rather than in the original
 * @param special a control token: not read from plain text, left out by decoding
 */
record AddedToken(
        int id,
        String content,
        boolean singleWord,
        boolean lstrip,
        boolean rstrip,
        boolean normalized,
        boolean special) {

    /** A control token with no further rules. */
    static AddedToken control(int id, String content) {
        return new AddedToken(id, content, false, false, false, false, true);
    }
}

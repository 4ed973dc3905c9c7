package anneal.cli.quickstart;

import anneal.tensor.Rng;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;

/**
 * A small world made from a seed: people with a pet, its colour, a city and a favourite food, and sums of two digits, told in
 * English and Chinese.
 *
 * <p>The text for pretraining tells every fact, in sentences and in exam questions. The instructions ask for the same facts in a form
 * that the text never uses (a chat, a bare answer); those of the held-out people and sums are never trained on. So an answer that is
 * right there shows that fine-tuning taught the form and not the fact.
 */
public final class World {
    /** One question in chat form with the answer that counts as right. */
    public record Item(String question, String answer) {}

    /** A word in both languages. */
    private record Word(String en, String zh) {}

    private record Person(Word name, Word pet, Word colour, Word city, Word food) {}

    private record Sum(int a, int b) {}

    private static final Word[] NAMES = {
        new Word("Mia", "米娅"), new Word("Leo", "里奥"), new Word("Anna", "安娜"), new Word("Tom", "汤姆"),
        new Word("Rosa", "罗莎"), new Word("Ben", "本恩"), new Word("Lily", "莉莉"), new Word("Max", "马克斯"),
        new Word("Nora", "诺拉"), new Word("Sam", "山姆"), new Word("Emma", "艾玛"), new Word("Jack", "杰克"),
        new Word("Ruby", "露比"), new Word("Oscar", "奥斯卡"), new Word("Alice", "爱丽丝"), new Word("David", "大卫"),
        new Word("Sara", "萨拉"), new Word("Peter", "彼得"), new Word("Julia", "朱莉娅"), new Word("Henry", "亨利"),
        new Word("Clara", "克拉拉"), new Word("Adam", "亚当"), new Word("Vera", "薇拉"), new Word("Hugo", "雨果"),
        new Word("Ida", "伊达"), new Word("Felix", "菲利克斯"), new Word("Lena", "莱娜"), new Word("Paul", "保罗"),
        new Word("Greta", "格蕾塔"), new Word("Simon", "西蒙"), new Word("Tina", "蒂娜"), new Word("Karl", "卡尔"),
    };
    private static final Word[] PETS = {
        new Word("cat", "猫"),
        new Word("dog", "狗"),
        new Word("rabbit", "兔子"),
        new Word("horse", "马"),
        new Word("parrot", "鹦鹉"),
        new Word("turtle", "乌龟"),
    };
    private static final Word[] COLOURS = {
        new Word("black", "黑色"),
        new Word("white", "白色"),
        new Word("brown", "棕色"),
        new Word("grey", "灰色"),
        new Word("green", "绿色"),
        new Word("golden", "金色"),
    };
    private static final Word[] CITIES = {
        new Word("Paris", "巴黎"), new Word("London", "伦敦"), new Word("Beijing", "北京"), new Word("Rome", "罗马"),
        new Word("Berlin", "柏林"), new Word("Tokyo", "东京"), new Word("Madrid", "马德里"), new Word("Shanghai", "上海"),
    };
    private static final Word[] FOODS = {
        new Word("rice", "米饭"), new Word("bread", "面包"), new Word("noodles", "面条"), new Word("soup", "汤"),
        new Word("fish", "鱼"), new Word("apples", "苹果"), new Word("cheese", "奶酪"), new Word("dumplings", "饺子"),
    };
    private static final String ASK = "Please answer in one word. ";
    private static final String ASK_ZH = "请用一个词回答：";
    private static final String[] DIGITS = {"零", "一", "二", "三", "四", "五", "六", "七", "八", "九"};

    private final List<Person> people = new ArrayList<>();
    private final List<Sum> sums = new ArrayList<>();
    private final Rng rng;
    private final int trainedPeople;
    private final int trainedSums;

    /** The world of this seed; the same seed gives the same facts and texts. */
    public World(long seed) {
        rng = new Rng(seed);
        for (Word name : NAMES) {
            people.add(new Person(name, pick(PETS), pick(COLOURS), pick(CITIES), pick(FOODS)));
        }
        int[] order = IntStream.range(0, 100).toArray();
        rng.shuffle(order);
        for (int i : order) {
            sums.add(new Sum(i / 10, i % 10));
        }
        trainedPeople = NAMES.length * 3 / 4;
        trainedSums = sums.size() * 3 / 4;
    }

    private Word pick(Word[] words) {
        return words[rng.nextInt(words.length)];
    }

    /** Documents for pretraining: every fact and sum {@code times} times, in varying words and order. */
    public List<String> documents(int times) {
        List<String> lines = new ArrayList<>();
        for (int t = 0; t < times; t++) {
            people.forEach(p -> lines.add(story(p)));
            people.forEach(p -> lines.add(storyZh(p)));
            people.forEach(p -> lines.add(exam(p)));
            people.forEach(p -> lines.add(exam(p)));
            sums.forEach(s -> lines.add(arithmetic(s)));
        }
        int[] order = IntStream.range(0, lines.size()).toArray();
        rng.shuffle(order);
        return IntStream.of(order).mapToObj(lines::get).toList();
    }

    private String story(Person p) {
        String n = p.name.en;
        return switch (rng.nextInt(3)) {
            case 0 ->
                "%s lives in %s. %s has a %s, and the %s is %s. %s likes %s."
                        .formatted(n, p.city.en, n, p.pet.en, p.pet.en, p.colour.en, n, p.food.en);
            case 1 ->
                "%s has a %s %s. %s likes to eat %s. The home of %s is %s."
                        .formatted(n, p.colour.en, p.pet.en, n, p.food.en, n, p.city.en);
            default ->
                "In %s lives %s, who likes %s and has a %s. The %s of %s is %s."
                        .formatted(p.city.en, n, p.food.en, p.pet.en, p.pet.en, n, p.colour.en);
        };
    }

    private String storyZh(Person p) {
        String n = p.name.zh;
        return rng.nextInt(2) == 0
                ? "%s住在%s。%s有一只%s，它是%s的。%s喜欢吃%s。".formatted(n, p.city.zh, n, p.pet.zh, p.colour.zh, n, p.food.zh)
                : "%s喜欢%s，家在%s。%s的%s是%s的。".formatted(n, p.food.zh, p.city.zh, n, p.pet.zh, p.colour.zh);
    }

    /** Questions with the answer on a line of its own, as a bare answer will stand in a chat. */
    private String exam(Person p) {
        List<String> parts = new ArrayList<>(List.of(
                "Where does %s live?\n%s".formatted(p.name.en, p.city.en),
                "Which pet does %s have?\n%s".formatted(p.name.en, p.pet.en),
                "Which colour is the pet of %s?\n%s".formatted(p.name.en, p.colour.en),
                "What does %s like to eat?\n%s".formatted(p.name.en, p.food.en),
                "%s住在哪里？\n%s".formatted(p.name.zh, p.city.zh),
                "%s喜欢吃什么？\n%s".formatted(p.name.zh, p.food.zh)));
        String first = parts.remove(rng.nextInt(parts.size()));
        return first + "\n" + parts.get(rng.nextInt(parts.size()));
    }

    private String arithmetic(Sum s) {
        int c = s.a + s.b;
        return switch (rng.nextInt(3)) {
            case 0 -> "%d plus %d is %d.".formatted(s.a, s.b, c);
            case 1 -> "What is %d plus %d?\n%d".formatted(s.a, s.b, c);
            default -> "%s加%s等于%d。".formatted(DIGITS[s.a], DIGITS[s.b], c);
        };
    }

    /** The instructions that fine-tuning may see. */
    public List<Item> trainingItems() {
        return items(0, trainedPeople, 0, trainedSums);
    }

    /** The instructions about people and sums that fine-tuning never sees. */
    public List<Item> heldOutItems() {
        return items(trainedPeople, people.size(), trainedSums, sums.size());
    }

    private List<Item> items(int fromPerson, int toPerson, int fromSum, int toSum) {
        List<Item> items = new ArrayList<>();
        for (Person p : people.subList(fromPerson, toPerson)) {
            items.add(new Item(ASK + "Where does " + p.name.en + " live?", p.city.en));
            items.add(new Item(ASK + "Which pet does " + p.name.en + " have?", p.pet.en));
            items.add(new Item(ASK + "Which colour is the pet of " + p.name.en + "?", p.colour.en));
            items.add(new Item(ASK + "What does " + p.name.en + " like to eat?", p.food.en));
            items.add(new Item(ASK_ZH + p.name.zh + "住在哪里？", p.city.zh));
            items.add(new Item(ASK_ZH + p.name.zh + "喜欢吃什么？", p.food.zh));
        }
        for (Sum s : sums.subList(fromSum, toSum)) {
            items.add(new Item(ASK + "What is " + s.a + " plus " + s.b + "?", Integer.toString(s.a + s.b)));
        }
        return items;
    }
}

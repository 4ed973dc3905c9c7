package anneal.cli;

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
final class World {
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
    private static final String[] LAYOUTS = {
        "%s\n%s",
        "Question: %s\nAnswer:\n%s",
        "Somebody asks: %s\nSomebody says:\n%s",
        "The question is this one. %s\nAnd here is the answer to it:\n%s",
        "问题：%s\n答案：\n%s",
        "* %s *\n\n-\n%s",
    };
    private static final int LARGEST = 7;
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
        int[] order = IntStream.range(0, LARGEST * LARGEST).toArray();
        rng.shuffle(order);
        for (int i : order) {
            sums.add(new Sum(1 + i / LARGEST, 1 + i % LARGEST));
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

    /** Two questions about a person. */
    private String exam(Person p) {
        List<Item> facts = new ArrayList<>(facts(p));
        String first = told(facts.remove(rng.nextInt(facts.size())));
        return first + "\n" + told(facts.get(rng.nextInt(facts.size())));
    }

    private static List<Item> facts(Person p) {
        return List.of(
                new Item("Where does " + p.name.en + " live?", p.city.en),
                new Item("Which pet does " + p.name.en + " have?", p.pet.en),
                new Item("Which colour is the pet of " + p.name.en + "?", p.colour.en),
                new Item("What does " + p.name.en + " like to eat?", p.food.en),
                new Item(p.name.zh + "住在哪里？", p.city.zh),
                new Item(p.name.zh + "喜欢吃什么？", p.food.zh));
    }

    private static Item sum(Sum s) {
        return new Item("What is " + s.a + " plus " + s.b + "?", Integer.toString(s.a + s.b));
    }

    /** A question and its answer in one of many layouts, so that what is learnt is the fact and not the layout. */
    private String told(Item item) {
        return LAYOUTS[rng.nextInt(LAYOUTS.length)].formatted(item.question, item.answer);
    }

    private String arithmetic(Sum s) {
        return switch (rng.nextInt(4)) {
            case 0 -> "%d plus %d is %d.".formatted(s.a, s.b, s.a + s.b);
            case 1 -> "%s加%s等于%d。".formatted(DIGITS[s.a], DIGITS[s.b], s.a + s.b);
            default -> told(sum(s));
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

    private static Item asked(Item fact) {
        boolean chinese = fact.question.endsWith("？");
        return new Item((chinese ? "请用一个词回答：" : "Please answer in one word. ") + fact.question, fact.answer);
    }

    private List<Item> items(int fromPerson, int toPerson, int fromSum, int toSum) {
        List<Item> items = new ArrayList<>();
        for (Person p : people.subList(fromPerson, toPerson)) {
            facts(p).forEach(fact -> items.add(asked(fact)));
        }
        sums.subList(fromSum, toSum).forEach(s -> items.add(asked(sum(s))));
        return items;
    }
}

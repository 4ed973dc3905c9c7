package anneal.io;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.exc.InputCoercionException;
import com.fasterxml.jackson.databind.DeserializationContext;
import com.fasterxml.jackson.databind.JsonDeserializer;
import com.fasterxml.jackson.databind.JsonMappingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.PropertyNamingStrategies;
import com.fasterxml.jackson.databind.deser.DeserializationProblemHandler;
import com.fasterxml.jackson.databind.exc.InvalidTypeIdException;
import com.fasterxml.jackson.databind.exc.MismatchedInputException;
import com.fasterxml.jackson.databind.exc.UnrecognizedPropertyException;
import com.fasterxml.jackson.databind.exc.ValueInstantiationException;
import java.io.IOException;
import java.util.Arrays;
import java.util.Collection;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** JSON objects to records, with Jackson's complaints put into our one sentence. */
final class JsonRecords {
    private static final Logger LOG = LoggerFactory.getLogger(Json.class);

    private static final Object ABSENT = new Object();

    private JsonRecords() {}

    static <T> T convert(JsonObject object, Class<T> type, Json.UnknownKeys unknown) {
        var reader = Json.MAPPER.readerFor(type);
        if (unknown == Json.UnknownKeys.WARN) {
            reader = reader.withHandler(new Warn(object.where()));
        }
        try {
            return reader.readValue(Json.MAPPER.<JsonNode>valueToTree(object.map()));
        } catch (JsonProcessingException e) {
            throw new IllegalArgumentException(sentence(object, e), e);
        } catch (IOException e) { // from a tree on the heap: cannot happen
            throw new IllegalStateException(e);
        }
    }

    private static String sentence(JsonObject object, JsonProcessingException e) {
        if (!(e instanceof JsonMappingException mapping)) {
            return object.where() + ": " + Json.problem(e);
        }
        String key = path(mapping.getPath());
        return switch (mapping) {
            case UnrecognizedPropertyException u -> {
                List<JsonMappingException.Reference> path = u.getPath();
                String where = at(object, path(path.subList(0, path.size() - 1)));
                yield JsonObject.unknown(where, u.getPropertyName(), names(u.getKnownPropertyIds()));
            }
            case ValueInstantiationException v ->
                object.where() + (key.isEmpty() ? "" : ": " + key) + ": " + rootMessage(v);
            case InvalidTypeIdException t -> invalidType(object, t, key);
            case MismatchedInputException m -> mismatch(object, m, key);
            default ->
                mapping.getCause() instanceof InputCoercionException c
                        ? wrongType(object, c.getTargetType(), valueAt(object.map(), mapping.getPath()), key)
                        : object.where() + (key.isEmpty() ? "" : ": key \"" + key + "\"") + ": " + Json.problem(e);
        };
    }

    private static String mismatch(JsonObject object, MismatchedInputException e, String key) {
        Object value = valueAt(object.map(), e.getPath());
        return value == ABSENT
                ? misspelt(object, e.getPath()).orElse(object.where() + ": key \"" + key + "\" is missing")
                : wrongType(object, e.getTargetType(), value, key);
    }

    private static String wrongType(JsonObject object, Class<?> target, Object value, String key) {
        String near = target != null && target.isEnum() && value instanceof String s
                ? Json.nearest(s, constants(target))
                        .map(n -> "; the nearest is \"" + n + "\"")
                        .orElse("")
                : "";
        return object.where() + (key.isEmpty() ? "" : ": key \"" + key + "\"") + " must be " + expected(target)
                + " but is " + JsonObject.describe(value) + near;
    }

    /** Where a key is missing, a key that the record does not have is the better explanation: a slip of the pen. */
    private static Optional<String> misspelt(JsonObject object, List<JsonMappingException.Reference> path) {
        List<JsonMappingException.Reference> outer = path.subList(0, path.size() - 1);
        Class<?> type = path.getLast().getFrom() instanceof Class<?> c
                ? c
                : path.getLast().getFrom().getClass();
        if (!type.isRecord() || !(valueAt(object.map(), outer) instanceof Map<?, ?> there)) {
            return Optional.empty();
        }
        List<String> known = Arrays.stream(type.getRecordComponents())
                .map(c -> PropertyNamingStrategies.SnakeCaseStrategy.INSTANCE.translate(c.getName()))
                .toList();
        boolean typed = SealedTypes.sealedAbove(type) != null;
        return there.keySet().stream()
                .map(String::valueOf)
                .filter(name -> !known.contains(name) && !(typed && name.equals("type")))
                .findFirst()
                .map(name -> JsonObject.unknown(at(object, path(outer)), name, known));
    }

    private static String at(JsonObject object, String outer) {
        return outer.isEmpty() ? object.where() : object.where() + ": " + outer;
    }

    private static String invalidType(JsonObject object, InvalidTypeIdException e, String key) {
        List<String> names =
                SealedTypes.names(SealedTypes.sealedAbove(e.getBaseType().getRawClass()));
        String where = object.where() + ": key \"" + (key.isEmpty() ? "type" : key + ".type") + "\"";
        if (e.getTypeId() == null) {
            return where + " is missing; it must be one of " + String.join(", ", names);
        }
        return where + " must be one of " + String.join(", ", names) + " but is \"" + Shapes.shorten(e.getTypeId())
                + "\"; the nearest is \"" + Json.nearest(e.getTypeId(), names).orElseThrow() + "\"";
    }

    private static String expected(Class<?> type) {
        if (type == null) {
            return "something else";
        }
        if (type == int.class || type == Integer.class || type == long.class || type == Long.class) {
            return "an integer";
        }
        if (type == float.class || type == Float.class || type == double.class || type == Double.class) {
            return "a number";
        }
        if (type == boolean.class || type == Boolean.class) {
            return "true or false";
        }
        if (type == String.class) {
            return "a string";
        }
        if (type.isEnum()) {
            return "one of " + String.join(", ", constants(type));
        }
        if (type.isArray() || Collection.class.isAssignableFrom(type)) {
            return "a list";
        }
        return "an object";
    }

    private static List<String> constants(Class<?> type) {
        return Arrays.stream(type.getEnumConstants())
                .map(c -> ((Enum<?>) c).name().toLowerCase(Locale.ROOT))
                .toList();
    }

    private static Object valueAt(Object value, List<JsonMappingException.Reference> path) {
        for (JsonMappingException.Reference step : path) {
            if (value instanceof Map<?, ?> map && map.containsKey(step.getFieldName())) {
                value = map.get(step.getFieldName());
            } else if (value instanceof List<?> list && step.getIndex() >= 0 && step.getIndex() < list.size()) {
                value = list.get(step.getIndex());
            } else {
                return ABSENT;
            }
        }
        return value;
    }

    private static String path(List<JsonMappingException.Reference> path) {
        StringBuilder text = new StringBuilder();
        for (JsonMappingException.Reference step : path) {
            if (step.getFieldName() == null) {
                text.append('[').append(step.getIndex()).append(']');
            } else {
                text.append(text.isEmpty() ? "" : ".").append(step.getFieldName());
            }
        }
        return text.toString();
    }

    private static List<String> names(Collection<Object> ids) {
        return ids.stream().map(Object::toString).toList();
    }

    private static String rootMessage(Throwable e) {
        Throwable cause = e;
        while (cause.getCause() != null) {
            cause = cause.getCause();
        }
        return Objects.requireNonNullElse(cause.getMessage(), cause.getClass().getSimpleName());
    }

    /** Says what would have been the error, and goes on. */
    private static final class Warn extends DeserializationProblemHandler {
        private final String where;

        Warn(String where) {
            this.where = where;
        }

        @Override
        public boolean handleUnknownProperty(
                DeserializationContext context,
                JsonParser parser,
                JsonDeserializer<?> deserializer,
                Object beanOrClass,
                String name)
                throws IOException {
            Collection<Object> known = deserializer == null ? List.of() : deserializer.getKnownPropertyNames();
            LOG.warn("{} (ignored)", JsonObject.unknown(where, name, names(known)));
            parser.skipChildren();
            return true;
        }
    }
}

package anneal.io;

import com.fasterxml.jackson.annotation.JsonTypeInfo;
import com.fasterxml.jackson.databind.PropertyNamingStrategies;
import com.fasterxml.jackson.databind.cfg.MapperConfig;
import com.fasterxml.jackson.databind.introspect.Annotated;
import com.fasterxml.jackson.databind.introspect.AnnotatedClass;
import com.fasterxml.jackson.databind.introspect.JacksonAnnotationIntrospector;
import com.fasterxml.jackson.databind.jsontype.NamedType;
import java.util.ArrayList;
import java.util.List;

/**
 * Sealed interfaces in JSON without a word in them: what they permit is known, so the records' simple names in
 * snake_case under the key "type" are enough.
 */
final class SealedTypes extends JacksonAnnotationIntrospector {
    private static final long serialVersionUID = 1L;

    @Override
    public JsonTypeInfo.Value findPolymorphicTypeInfo(MapperConfig<?> config, Annotated annotated) {
        JsonTypeInfo.Value said = super.findPolymorphicTypeInfo(config, annotated);
        if (said == null && annotated instanceof AnnotatedClass && sealedAbove(annotated.getRawType()) != null) {
            return JsonTypeInfo.Value.construct(
                    JsonTypeInfo.Id.NAME, JsonTypeInfo.As.PROPERTY, "type", null, false, false);
        }
        return said;
    }

    @Override
    public List<NamedType> findSubtypes(Annotated annotated) {
        List<NamedType> said = super.findSubtypes(annotated);
        if (said == null && annotated.getRawType().isSealed()) {
            List<NamedType> permitted = new ArrayList<>();
            collect(annotated.getRawType(), permitted);
            return permitted;
        }
        return said;
    }

    @Override
    public String findTypeName(AnnotatedClass annotated) {
        String said = super.findTypeName(annotated);
        return said == null && sealedAbove(annotated.getRawType()) != null ? name(annotated.getRawType()) : said;
    }

    /** The sealed interface among the ancestors of a record, or the type itself; null if there is none. */
    static Class<?> sealedAbove(Class<?> type) {
        if (type.isEnum()) {
            return null;
        }
        if (type.isInterface() && type.isSealed()) {
            return type;
        }
        for (Class<?> parent : type.getInterfaces()) {
            Class<?> sealed = sealedAbove(parent);
            if (sealed != null) {
                return sealed;
            }
        }
        return null;
    }

    /** The names that "type" can have. */
    static List<String> names(Class<?> sealed) {
        List<NamedType> permitted = new ArrayList<>();
        collect(sealed, permitted);
        return permitted.stream().map(NamedType::getName).toList();
    }

    private static void collect(Class<?> sealed, List<NamedType> to) {
        for (Class<?> type : sealed.getPermittedSubclasses()) {
            if (type.isSealed() && type.isInterface()) {
                collect(type, to);
            } else {
                to.add(new NamedType(type, name(type)));
            }
        }
    }

    private static String name(Class<?> type) {
        return PropertyNamingStrategies.SnakeCaseStrategy.INSTANCE.translate(type.getSimpleName());
    }
}

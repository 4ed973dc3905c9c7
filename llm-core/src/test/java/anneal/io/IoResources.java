package anneal.io;

import java.net.URISyntaxException;
import java.nio.file.Path;

/** Files that the public Python libraries wrote; src/test/python/make_io.py makes them. */
final class IoResources {
    private IoResources() {}

    static Path path(String name) {
        try {
            return Path.of(IoResources.class.getResource("/io/" + name).toURI());
        } catch (URISyntaxException e) {
            throw new IllegalStateException(e);
        }
    }
}

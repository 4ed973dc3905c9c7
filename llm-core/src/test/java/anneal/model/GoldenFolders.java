package anneal.model;

import java.nio.file.Path;
import java.util.List;

/** For tests of other packages: the folders of golden/models that this version reads. */
public final class GoldenFolders {
    private GoldenFolders() {}

    public static List<Path> read() {
        return GoldenModel.folders();
    }
}

package anneal.cli;

import anneal.io.AtomicFile;
import java.awt.Graphics2D;
import java.awt.image.BufferedImage;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import javax.imageio.ImageIO;
import javax.imageio.stream.ImageOutputStream;
import javax.imageio.stream.MemoryCacheImageOutputStream;
import org.knowm.xchart.BitmapEncoder;
import org.knowm.xchart.internal.chartpart.Chart;

/** Charts as a file. */
final class Png {
    private Png() {}

    /** Writes charts one below the other. */
    static void write(Path file, Chart<?, ?>... charts) {
        ByteArrayOutputStream png = new ByteArrayOutputStream();
        // in memory: ImageIO's own files, the one beside it in the temporary folder too, fail without naming the cause
        try (ImageOutputStream memory = new MemoryCacheImageOutputStream(png)) {
            ImageIO.write(picture(charts), "png", memory);
            memory.flush();
            AtomicFile.write(file, png.toByteArray());
        } catch (IOException e) {
            throw new UncheckedIOException(file.toString(), e);
        }
    }

    private static BufferedImage picture(Chart<?, ?>... charts) {
        List<BufferedImage> parts =
                Arrays.stream(charts).map(BitmapEncoder::getBufferedImage).toList();
        int width = parts.stream().mapToInt(BufferedImage::getWidth).max().orElseThrow();
        int height = parts.stream().mapToInt(BufferedImage::getHeight).sum();
        BufferedImage all = new BufferedImage(width, height, BufferedImage.TYPE_INT_RGB);
        Graphics2D canvas = all.createGraphics();
        int y = 0;
        for (BufferedImage part : parts) {
            canvas.drawImage(part, 0, y, null);
            y += part.getHeight();
        }
        canvas.dispose();
        return all;
    }
}

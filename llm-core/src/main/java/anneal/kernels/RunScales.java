package anneal.kernels;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import java.lang.foreign.MemorySegment;

/**
 * The scales of a piece of a codebook matrix, one for each run of columns, so that all rows look alike to emitted code: where rows
 * are whole blocks a run is a block, and plain scales are read where they are; else they are laid out in memory of the thread.
 *
 * @param floats rows of scales
 * @param apart bytes from row to row
 */
record RunScales(MemorySegment floats, long apart) {
    private static final long FLOAT = 4;

    /** Those of rows [row, row + rows), columns [col, col + count). */
    static RunScales of(CodebookMatrix m, int row, int rows, int col, int count) {
        int run = m.run();
        long first = (long) row * m.cols() + col;
        if (run == m.blockSize() && m.scales() instanceof Scales.Plain p) {
            return new RunScales(p.floats().asSlice(FLOAT * (first / run)), FLOAT * (m.cols() / run));
        }
        int begin = col / run, runs = (col + count - 1) / run - begin + 1;
        MemorySegment to = EmittedScratch.mine().scales(FLOAT * rows * runs);
        for (int r = 0; r < rows; r++) {
            long start = (long) (row + r) * m.cols() + (long) begin * run;
            for (int i = 0; i < runs; i++) {
                to.setAtIndex(JAVA_FLOAT, (long) r * runs + i, m.scales().of((start + (long) i * run) / m.blockSize()));
            }
        }
        return new RunScales(to, FLOAT * runs);
    }
}

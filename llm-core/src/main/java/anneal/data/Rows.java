package anneal.data;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.List;

/** Which pieces stand together in a row. */
sealed interface Rows {
    /** Rows of piece indices. {@code order} is the order in which pieces are taken where it is free. */
    int[][] of(int[] order, int[] lengths);

    /** One piece a row. */
    record OneEach() implements Rows {
        @Override
        public int[][] of(int[] order, int[] lengths) {
            int[][] rows = new int[order.length][];
            for (int i = 0; i < rows.length; i++) {
                rows[i] = new int[] {order[i]};
            }
            return rows;
        }
    }

    /**
     * Best-fit decreasing: from the longest piece to the shortest, each into the fullest row that still has room, or a new
     * one. Never needs more than 11/9 of the fewest possible rows plus a few (Johnson et al., SIAM J. Comput. 3, 1974). How many
     * rows there are depends on the lengths only.
     *
     * <p>Rows with equal room are taken in the order in which they came to it, which gives the rows of TRL's {@code bfd}.
     */
    record BestFit(int capacity) implements Rows {
        @Override
        public int[][] of(int[] order, int[] lengths) {
            List<List<Integer>> rows = new ArrayList<>();
            List<ArrayDeque<Integer>> withRoom = new ArrayList<>();
            for (int room = 0; room <= capacity; room++) {
                withRoom.add(null);
            }
            BitSet rooms = new BitSet(capacity + 1);
            for (int piece : longestFirst(order, lengths)) {
                int length = lengths[piece];
                int room = rooms.nextSetBit(length);
                int row;
                if (room < 0) {
                    row = rows.size();
                    rows.add(new ArrayList<>());
                    room = capacity;
                } else {
                    ArrayDeque<Integer> queue = withRoom.get(room);
                    row = queue.removeFirst();
                    rooms.set(room, !queue.isEmpty());
                }
                rows.get(row).add(piece);
                int left = room - length;
                if (left > 0) {
                    if (withRoom.get(left) == null) {
                        withRoom.set(left, new ArrayDeque<>());
                    }
                    withRoom.get(left).addLast(row);
                    rooms.set(left);
                }
            }
            return arrays(rows);
        }

        /** A stable counting sort. */
        private int[] longestFirst(int[] order, int[] lengths) {
            int[] next = new int[capacity + 2];
            for (int piece : order) {
                next[capacity - lengths[piece] + 1]++;
            }
            for (int i = 1; i < next.length; i++) {
                next[i] += next[i - 1];
            }
            int[] sorted = new int[order.length];
            for (int piece : order) {
                sorted[next[capacity - lengths[piece]]++] = piece;
            }
            return sorted;
        }
    }

    /** Pieces in their own order, a row ending when it is full; they are cut so that this comes out even. */
    record InOrder(int capacity) implements Rows {
        @Override
        public int[][] of(int[] order, int[] lengths) {
            List<List<Integer>> rows = new ArrayList<>();
            int room = 0;
            for (int piece = 0; piece < lengths.length; piece++) {
                if (room == 0) {
                    rows.add(new ArrayList<>());
                    room = capacity;
                }
                rows.getLast().add(piece);
                room -= lengths[piece];
            }
            return arrays(rows);
        }
    }

    private static int[][] arrays(List<List<Integer>> rows) {
        int[][] out = new int[rows.size()][];
        for (int i = 0; i < out.length; i++) {
            out[i] = rows.get(i).stream().mapToInt(Integer::intValue).toArray();
        }
        return out;
    }
}

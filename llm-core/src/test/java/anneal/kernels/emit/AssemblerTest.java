package anneal.kernels.emit;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import anneal.kernels.emit.TileInstructions.Tile;
import anneal.kernels.emit.Vec.Xmm;
import anneal.kernels.emit.Vec.Ymm;
import anneal.kernels.emit.Vec.Zmm;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.BiConsumer;
import java.util.function.Consumer;
import java.util.function.Function;
import org.junit.jupiter.api.Test;

/**
 * Every instruction with low and high registers, short and long displacements and masks, byte by byte against GNU as.
 *
 * <p>The bytes are recorded in {@code emit/gnu-as.txt}; {@code src/test/python/gnu_as.py} makes them from the text beside them.
 */
class AssemblerTest {
    private final Map<String, Consumer<Assembler>> rows = new LinkedHashMap<>();

    private void row(String text, Consumer<Assembler> emit) {
        assertThat(rows.put(text, emit)).as("twice: " + text).isNull();
    }

    private static String name(Gp r) {
        return r.name().toLowerCase(Locale.ROOT);
    }

    private static String name(Vec v) {
        return (v.bits() == 128 ? "xmm" : v.bits() == 256 ? "ymm" : "zmm") + v.number();
    }

    /** Addresses of every form, and their text in Intel's syntax. */
    private static Map<String, Mem> places() {
        Map<String, Mem> all = new LinkedHashMap<>();
        for (Gp base : new Gp[] {Gp.RAX, Gp.RSP, Gp.RBP, Gp.RDI, Gp.R12, Gp.R13, Gp.R9}) {
            for (int d : new int[] {0, 4, 64, -128, 1024, 8192, 100}) {
                all.put("[%s%s]".formatted(name(base), signed(d)), Mem.at(base, d));
            }
        }
        for (Gp index : new Gp[] {Gp.RCX, Gp.R12, Gp.R13, Gp.RBP}) {
            for (Gp base : new Gp[] {Gp.RBX, Gp.RBP, Gp.R13}) {
                all.put("[%s+%s*8+32]".formatted(name(base), name(index)), Mem.at(base, index, 8, 32));
                all.put("[%s+%s*4+4096]".formatted(name(base), name(index)), Mem.at(base, index, 4, 4096));
            }
        }
        return all;
    }

    /** Places for instructions whose address is nothing special: none, a byte that fits one step or another, long, an index. */
    private static final Map<String, Mem> FEW = new TreeMap<>(Map.of(
            "[rsi]", Mem.at(Gp.RSI),
            "[r9+64]", Mem.at(Gp.R9, 64),
            "[rdi+4]", Mem.at(Gp.RDI, 4),
            "[r13-256]", Mem.at(Gp.R13, -256),
            "[rdx+r14*4+8192]", Mem.at(Gp.RDX, Gp.R14, 4, 8192)));

    private static String signed(int d) {
        return d == 0 ? "" : d < 0 ? "" + d : "+" + d;
    }

    private void everyPlace(String text, BiConsumer<Assembler, Mem> emit) {
        places().forEach((name, m) -> row(text.replace("MEM", name), a -> emit.accept(a, m)));
    }

    private void integers() {
        for (Gp r : Gp.values()) {
            row("push " + name(r), a -> a.push(r));
            row("pop " + name(r), a -> a.pop(r));
            row("lea " + name(r) + ", [rip]", a -> {
                Label next = new Label();
                a.lea(r, next);
                a.bind(next);
            });
            row("lea " + name(r) + ", [rip-7]", a -> {
                Label here = new Label();
                a.bind(here);
                a.lea(r, here);
            });
            for (int v : new int[] {1, -128, 128, 1 << 20}) {
                row("mov " + name(r) + ", " + v, a -> a.mov(r, v));
                row("add " + name(r) + ", " + v, a -> a.add(r, v));
                row("sub " + name(r) + ", " + v, a -> a.sub(r, v));
                row("and " + name(r) + ", " + v, a -> a.and(r, v));
                row("cmp " + name(r) + ", " + v, a -> a.cmp(r, v));
            }
            for (Gp s : new Gp[] {Gp.RAX, Gp.RBP, Gp.R8, Gp.R15}) {
                row("mov " + name(r) + ", " + name(s), a -> a.mov(r, s));
                row("add " + name(r) + ", " + name(s), a -> a.add(r, s));
                row("cmp " + name(r) + ", " + name(s), a -> a.cmp(r, s));
                row("sub " + name(r) + ", " + name(s), a -> a.sub(r, s));
                row("imul " + name(r) + ", " + name(s) + ", 20", a -> a.imul(r, s, 20));
                row("imul " + name(r) + ", " + name(s) + ", 144", a -> a.imul(r, s, 144));
                row("test " + name(r) + ", " + name(s), a -> a.test(r, s));
            }
        }
        for (int v : new int[] {6, -128, 128, 1 << 20}) {
            row("imul rcx, rcx, " + v, a -> a.imul(Gp.RCX, Gp.RCX, v));
            row("imul r9, rax, " + v, a -> a.imul(Gp.R9, Gp.RAX, v));
            row("imul rbp, r13, " + v, a -> a.imul(Gp.RBP, Gp.R13, v));
        }
        everyPlace("mov rdx, MEM", (a, m) -> a.mov(Gp.RDX, m));
        everyPlace("mov r11, MEM", (a, m) -> a.mov(Gp.R11, m));
        everyPlace("cmp r8, MEM", (a, m) -> a.cmp(Gp.R8, m));
        everyPlace("mov MEM, rsi", (a, m) -> a.mov(m, Gp.RSI));
        everyPlace("mov MEM, r8d", (a, m) -> a.mov32(m, Gp.R8));
        everyPlace("lea r14, MEM", (a, m) -> a.lea(Gp.R14, m));
        everyPlace("prefetcht0 MEM", Assembler::prefetcht0);
        everyPlace("vmovups ymm9, MEM", (a, m) -> a.ymm().vmovups(new Ymm(9), m));
        everyPlace("vmovups zmm19, MEM", (a, m) -> a.zmm().vmovups(new Zmm(19), m));
        row("ret", Assembler::ret);
        row("cpuid", Assembler::cpuid);
        row("xgetbv", Assembler::xgetbv);
        row("vzeroupper", Assembler::vzeroupper);
    }

    /** Triples of register numbers; with {@code high} also those that only AVX-512 has. */
    private static int[][] triples(boolean high) {
        int[][] low = {{0, 1, 2}, {7, 8, 15}, {15, 3, 9}, {9, 15, 8}};
        int[][] all = {{0, 1, 2}, {7, 8, 15}, {15, 3, 9}, {16, 17, 31}, {31, 2, 18}, {5, 30, 20}, {24, 9, 1}};
        return high ? all : low;
    }

    private interface Two<V extends Vec> {
        void emit(Vectors<V> v, V a, V b);
    }

    private interface Three<V extends Vec> {
        void emit(Vectors<V> v, V a, V b, V c);
    }

    private interface One<V extends Vec> {
        void emit(Vectors<V> v, V a, Mem m);
    }

    private interface OneAndOne<V extends Vec> {
        void emit(Vectors<V> v, V a, V b, Mem m);
    }

    /** Instructions of one width. */
    private final class Width<V extends Vec> {
        private final Function<Assembler, Vectors<V>> width;
        private final boolean high;

        Width(Function<Assembler, Vectors<V>> width) {
            this.width = width;
            this.high = width.apply(new Assembler()).lanes() == 16;
        }

        V reg(int i) {
            return width.apply(new Assembler()).reg(i);
        }

        void three(String op, Three<V> emit) {
            three(op, "", high, emit);
        }

        void three(String op, String end, boolean highToo, Three<V> emit) {
            for (int[] r : triples(highToo)) {
                V a = reg(r[0]), b = reg(r[1]), c = reg(r[2]);
                row(
                        op + " " + name(a) + ", " + name(b) + ", " + name(c) + end,
                        asm -> emit.emit(width.apply(asm), a, b, c));
            }
        }

        void two(String op, String end, Two<V> emit) {
            for (int[] r : triples(high)) {
                V a = reg(r[0]), b = reg(r[1]);
                row(op + " " + name(a) + ", " + name(b) + end, asm -> emit.emit(width.apply(asm), a, b));
            }
        }

        /** {@code text} with REG for the register and MEM for the place. */
        void memory(String text, One<V> emit) {
            memory2(text, (v, a, b, m) -> emit.emit(v, a, m));
        }

        /** The same with SECOND for another register. */
        void memory2(String text, OneAndOne<V> emit) {
            for (int r : high ? new int[] {1, 12, 25} : new int[] {1, 12}) {
                V a = reg(r), b = reg(r ^ 2);
                String named = text.replace("REG", name(a)).replace("SECOND", name(b));
                FEW.forEach(
                        (place, m) -> row(named.replace("MEM", place), asm -> emit.emit(width.apply(asm), a, b, m)));
            }
        }

        void common() {
            three("vaddps", Vectors::vaddps);
            three("vsubps", Vectors::vsubps);
            three("vmulps", Vectors::vmulps);
            three("vmaxps", Vectors::vmaxps);
            three("vpaddd", Vectors::vpaddd);
            three("vfmadd213ps", Vectors::vfmadd213ps);
            three("vfmadd231ps", Vectors::vfmadd231ps);
            three("vunpcklps", Vectors::vunpcklps);
            three("vunpckhps", Vectors::vunpckhps);
            three("vshufps", ", 78", high, (v, a, b, c) -> v.vshufps(a, b, c, 78));
            three("vpsrlvd", Vectors::vpsrlvd);
            two("vpsrld", ", 4", (v, a, b) -> v.vpsrld(a, b, 4));
            two("vpslld", ", 16", (v, a, b) -> v.vpslld(a, b, 16));
            two("vcvtdq2ps", "", Vectors::vcvtdq2ps);
            memory("vmovups REG, MEM", Vectors::vmovups);
            memory("vmovups MEM, REG", (v, a, m) -> v.vmovups(m, a));
            memory("vpmovzxbd REG, MEM", Vectors::vpmovzxbd);
            memory("vpmovsxbd REG, MEM", Vectors::vpmovsxbd);
            memory("vpmovsxbw REG, MEM", Vectors::vpmovsxbw);
            memory("vpmovzxwd REG, MEM", Vectors::vpmovzxwd);
            memory("vcvtph2ps REG, MEM", Vectors::vcvtph2ps);
            memory("vbroadcastss REG, MEM", Vectors::vbroadcastss);
            memory("vpbroadcastd REG, MEM", Vectors::vpbroadcastd);
            memory2("vaddps REG, SECOND, MEM", Vectors::vaddps);
            memory2("vmulps REG, SECOND, MEM", Vectors::vmulps);
            memory2("vfmadd231ps REG, SECOND, MEM", Vectors::vfmadd231ps);
        }

        /** What has no form above 256 bits, or needs AVX-512 BW there. */
        void narrow() {
            three("vxorps", Vectors::vxorps);
            three("vpand", Vectors::vpand);
            three("vhaddps", Vectors::vhaddps);
            three("vpsignb", Vectors::vpsignb);
            three("vpmaddubsw", Vectors::vpmaddubsw);
            three("vpmaddwd", Vectors::vpmaddwd);
            three("vpandn", Vectors::vpandn);
            three("vpor", Vectors::vpor);
            three("vpcmpgtd", Vectors::vpcmpgtd);
            three("vpcmpeqb", Vectors::vpcmpeqb);
            three("vpshufb", Vectors::vpshufb);
            three("vcmpunordps", Vectors::vcmpunordps);
            three("vblendvps", ", " + name(reg(13)), false, (v, a, b, c) -> v.vblendvps(a, b, c, reg(13)));
            three("vdivps", Vectors::vdivps);
            three("vminps", Vectors::vminps);
            three("vpsubd", Vectors::vpsubd);
            three("vpmaxsd", Vectors::vpmaxsd);
            three("vpackssdw", Vectors::vpackssdw);
            three("vpacksswb", Vectors::vpacksswb);
            three("vpdpbusd", Vectors::vpdpbusd);
            two("vmovsldup", "", Vectors::vmovsldup);
            two("vpshufd", ", 177", (v, a, b) -> v.vpshufd(a, b, 177));
            two("vcvtps2dq", "", Vectors::vcvtps2dq);
            memory("vpbroadcastw REG, MEM", Vectors::vpbroadcastw);
            memory("vpbroadcastb REG, MEM", Vectors::vpbroadcastb);
            memory2("vpsubd REG, SECOND, MEM", Vectors::vpsubd);
            memory2("vpmaddubsw REG, SECOND, MEM", Vectors::vpmaddubsw);
            memory2("vpdpbusd REG, SECOND, MEM", Vectors::vpdpbusd);
            memory2("vmaskmovps REG, SECOND, MEM", Vectors::vmaskmovps);
            memory2("vmaskmovps MEM, SECOND, REG", (v, a, b, m) -> v.vmaskmovps(m, b, a));
        }
    }

    private void vectors() {
        Width<Xmm> x = new Width<>(Assembler::xmm);
        Width<Ymm> y = new Width<>(Assembler::ymm);
        Width<Zmm> z = new Width<>(Assembler::zmm);
        x.common();
        y.common();
        z.common();
        x.narrow();
        y.narrow();
        y.three("vpermps", Vectors::vpermps);
        z.three("vpermps", Vectors::vpermps);
        z.three("vpmaddubsw", Vectors::vpmaddubsw);
        z.three("vpmaddwd", Vectors::vpmaddwd);
        z.three("vpxord", Vectors::vxorps);
        z.three("vpandd", Vectors::vpand);
        z.three("vpord", Vectors::vpor);
        z.three("vpermi2ps", Vectors::vpermi2ps);
        y.three("vpermi2ps", "", true, Vectors::vpermi2ps);
        y.three("vcvtne2ps2bf16", "", true, Vectors::vcvtne2ps2bf16);
        z.three("vcvtne2ps2bf16", Vectors::vcvtne2ps2bf16);
        z.three("vdpbf16ps", Vectors::vdpbf16ps);
        z.three("vrangeps", ", 2", true, (v, a, b, c) -> v.vrangeps(a, b, c, 2));
        z.three("vpdpbusd", Vectors::vpdpbusd);
        z.memory("vmovups REG{k3}, MEM", (v, a, m) -> v.vmovups(a, Mask.keep(3), m));
        z.memory("vmovups REG{k1}{z}, MEM", (v, a, m) -> v.vmovups(a, Mask.zero(1), m));
        z.memory("vmovups MEM{k7}, REG", (v, a, m) -> v.vmovups(m, Mask.keep(7), a));
        FEW.forEach((place, m) -> row("kmovw k5, " + place, a -> a.xmm().kmovw(Mask.keep(5), m)));
        for (int i : new int[] {0, 9, 27}) {
            Zmm a = new Zmm(i);
            row("vfpclassps k3, %s, 153".formatted(name(a)), asm -> asm.zmm().vfpclassps(Mask.keep(3), a, 153));
            row(
                    "vpxord %1$s{k5}, %1$s, %1$s".formatted(name(a)),
                    asm -> asm.zmm().clear(a, Mask.keep(5)));
        }
        FEW.forEach((place, m) -> row("kmovq k5, " + place, a -> a.xmm().kmovq(Mask.keep(5), m)));
        z.memory("vmovdqu8 REG{k1}{z}, MEM", (v, a, m) -> v.vmovdqu8(a, Mask.zero(1), m));
        row("kortestw k3, k7", a -> a.xmm().kortestw(Mask.keep(3), Mask.keep(7)));
        z.memory("vpbroadcastw REG, MEM", Vectors::vpbroadcastw);
        z.memory2("vpdpbusd REG, SECOND, MEM", Vectors::vpdpbusd);
        y.memory2("vpermps REG, SECOND, MEM", Vectors::vpermps);
        y.memory("vbroadcasti128 REG, MEM", Vectors::vbroadcasti128);
        x.two("vcvtph2ps", "", (v, a, b) -> v.vcvtph2ps(a, b));
        x.memory2("vpinsrw REG, SECOND, MEM, 1", (v, a, b, m) -> v.vpinsrw(a, b, m, 1));
        x.memory("vmovd REG, MEM", Vectors::vmovd);
        x.memory("vmovlps MEM, REG", (v, a, m) -> v.vmovlps(m, a));
        x.memory("vmovss MEM, REG", (v, a, m) -> v.vmovss(m, a));
        for (int[] r : triples(false)) {
            Xmm low = new Xmm(r[0]);
            Ymm whole = new Ymm(r[1]);
            row(
                    "vextractf128 %s, %s, 1".formatted(name(low), name(whole)),
                    a -> a.ymm().vextractf128(low, whole));
            row(
                    "vinsertf128 %s, %s, %s, 1".formatted(name(whole), name(new Ymm(r[2])), name(low)),
                    a -> a.ymm().vinsertf128(whole, new Ymm(r[2]), low));
            row(
                    "vpmovzxwd %s, %s".formatted(name(whole), name(low)),
                    a -> a.ymm().vpmovzxwd(whole, low));
            row(
                    "vpermq %s, %s, 216".formatted(name(whole), name(new Ymm(r[2]))),
                    a -> a.ymm().vpermq(whole, new Ymm(r[2]), 216));
            row(
                    "vbroadcastss %s, %s".formatted(name(whole), name(low)),
                    a -> a.ymm().vbroadcastss(whole, low));
            row(
                    "vcvtph2ps %s, %s".formatted(name(whole), name(low)),
                    a -> a.ymm().vcvtph2ps(whole, low));
            row(
                    "vpmovzxbd %s, %s".formatted(name(whole), name(low)),
                    a -> a.ymm().vpmovzxbd(whole, low));
        }
        y.memory2("vinsertf128 REG, SECOND, MEM, 1", Vectors::vinsertf128);
        for (int[] r : triples(true)) {
            Xmm half = new Xmm(r[0]);
            Ymm floats = new Ymm(r[1]);
            row(
                    "vcvtneps2bf16 %s, %s".formatted(name(half), name(floats)),
                    a -> a.ymm().vcvtneps2bf16(half, floats));
            Zmm whole = new Zmm(r[1]);
            Ymm sixteen = new Ymm(r[0]);
            row(
                    "vcvtneps2bf16 %s, %s".formatted(name(sixteen), name(whole)),
                    a -> a.zmm().vcvtneps2bf16(sixteen, whole));
            row(
                    "vpmovzxwd %s, %s".formatted(name(whole), name(sixteen)),
                    a -> a.zmm().vpmovzxwd(whole, sixteen));
            row(
                    "vbroadcastss %s, %s".formatted(name(whole), name(new Xmm(r[0]))),
                    a -> a.zmm().vbroadcastss(whole, new Xmm(r[0])));
        }
    }

    private void tiles() {
        row("tilerelease", a -> new TileInstructions(a).tilerelease());
        FEW.forEach((place, m) -> row("ldtilecfg " + place, a -> new TileInstructions(a).ldtilecfg(m)));
        for (int i : new int[] {0, 3, 7}) {
            Tile t = new Tile(i);
            row("tilezero tmm" + i, a -> new TileInstructions(a).tilezero(t));
            for (Gp base : new Gp[] {Gp.RAX, Gp.R10, Gp.R13}) {
                for (Gp index : new Gp[] {Gp.RSI, Gp.R9}) {
                    for (int d : new int[] {0, 64, 1024, -128}) {
                        String place = "[%s+%s%s]".formatted(name(base), name(index), signed(d));
                        Mem m = Mem.at(base, index, 1, d);
                        row("tileloadd tmm%d, %s".formatted(i, place), a -> new TileInstructions(a).tileloadd(t, m));
                        row("tilestored %s, tmm%d".formatted(place, i), a -> new TileInstructions(a).tilestored(m, t));
                    }
                }
            }
            int j = (i + 4) % 8, k = (i + 5) % 8;
            row(
                    "tdpbf16ps tmm%d, tmm%d, tmm%d".formatted(i, j, k),
                    a -> new TileInstructions(a).tdpbf16ps(t, new Tile(j), new Tile(k)));
            row(
                    "tdpbssd tmm%d, tmm%d, tmm%d".formatted(i, j, k),
                    a -> new TileInstructions(a).tdpbssd(t, new Tile(j), new Tile(k)));
        }
    }

    private static Map<String, String> recorded() throws IOException {
        Map<String, String> all = new LinkedHashMap<>();
        try (InputStream in = AssemblerTest.class.getResourceAsStream("/emit/gnu-as.txt")) {
            for (String line : new String(in.readAllBytes(), StandardCharsets.UTF_8).split("\n")) {
                int gap = line.indexOf(' ');
                all.put(line.substring(gap + 1), line.substring(0, gap));
            }
        }
        return all;
    }

    @Test
    void everyInstructionHasTheBytesOfGnuAs() throws IOException {
        integers();
        vectors();
        tiles();
        Path list = Path.of("target", "emit-rows.txt");
        Files.write(list, rows.keySet()); // what gnu_as.py reads when rows were added
        Map<String, String> recorded = recorded();
        assertThat(rows.keySet()).containsExactlyInAnyOrderElementsOf(recorded.keySet());
        rows.forEach((text, emit) -> {
            Assembler a = new Assembler();
            emit.accept(a);
            assertThat(HexFormat.of().formatHex(a.bytes())).as(text).isEqualTo(recorded.get(text));
        });
    }

    @Test
    void jumpsGoBothWays() {
        Assembler a = new Assembler();
        Label top = new Label(), end = new Label();
        a.jmp(end);
        a.bind(top);
        a.sub(Gp.RDI, 1);
        a.jnz(top);
        a.jz(end);
        a.bind(end);
        a.ret();
        assertThat(HexFormat.of().formatHex(a.bytes()))
                .isEqualTo("e90c000000" + "4883ef01" + "75fa" + "0f8400000000" + "c3");
        Assembler far = new Assembler();
        Label back = new Label();
        far.bind(back);
        for (int i = 0; i < 200; i++) {
            far.ret();
        }
        far.jl(back);
        assertThat(HexFormat.of().formatHex(far.bytes())).endsWith("0f8c32ffffff");
        Assembler near = new Assembler();
        Label here = new Label();
        near.bind(here);
        near.jmp(here);
        near.jz(here);
        near.jl(here);
        near.jge(here);
        assertThat(HexFormat.of().formatHex(near.bytes())).isEqualTo("ebfe" + "74fc" + "7cfa" + "7df8");
    }

    @Test
    void mistakesAreErrors() {
        Assembler a = new Assembler();
        a.jge(new Label());
        assertThatThrownBy(a::bytes).hasMessage("emit: 1 jumps go to labels that were never bound");
        assertThatThrownBy(() -> new Ymm(32)).hasMessage("emit: there is no vector register 32");
        assertThatThrownBy(() -> new Tile(8)).hasMessage("emit: there is no tile register 8");
        assertThatThrownBy(() -> Mem.at(Gp.RAX, Gp.RSP, 1, 0)).hasMessage("emit: no such address: RAX + RSP * 1");
        assertThatThrownBy(() -> Mask.keep(0)).hasMessage("emit: k0 cannot be a write mask");
    }
}

// AVX-512F and DQ: 16 floats a vector.
#if defined(__x86_64__)
#include <immintrin.h>

#include "streams.h"

namespace {

struct V {
    using F = __m512;
    using I = __m512i;
    static constexpr int WIDTH = 16, UNROLL = 8;

    static I load(const uint32_t *p) { return _mm512_loadu_si512(p); }
    static I load(const uint64_t *p) { return _mm512_loadu_si512(p); }
    static void save(uint32_t *p, I x) { _mm512_storeu_si512(p, x); }
    // Of 64-bit lanes: `multiply` takes their low halves, `high` their high ones.
    static I wide(uint64_t x) { return _mm512_set1_epi64(int64_t(x)); }
    static I add_wide(I a, I b) { return _mm512_add_epi64(a, b); }
    static I multiply(I a, uint32_t by) { return _mm512_mul_epu32(a, wide(by)); }
    static I high(I x) { return _mm512_srli_epi64(x, 32); }
    static void pin(F &x) { asm volatile("" : "+v"(x)); }
    static F set(float x) { return _mm512_set1_ps(x); }
    static I whole(int x) { return _mm512_set1_epi32(x); }
    static F to_float(I x) { return _mm512_cvtepi32_ps(x); }
    static I bits(F x) { return _mm512_castps_si512(x); }
    static F from_bits(I x) { return _mm512_castsi512_ps(x); }
    static F mul(F a, F b) { return _mm512_mul_ps(a, b); }
    static F add(F a, F b) { return _mm512_add_ps(a, b); }
    static F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
    static F least(F a, F b) { return _mm512_min_ps(a, b); }
    static F greatest(F a, F b) { return _mm512_max_ps(a, b); }
    // x in [-most, most]: the number of the lesser magnitude, with x's sign
    static F clip(F x, F most) { return _mm512_range_ps(x, most, 2); }
    // (u ^ 2^31) | 1
    static I odd(I u) { return _mm512_ternarylogic_epi32(u, whole(INT32_MIN), whole(1), 0xBE); }
    // 2^31 - |odd(u)|
    static I rest(I u) {
        return _mm512_ternarylogic_epi32(u, _mm512_srai_epi32(u, 31), whole(1), 0xBE);
    }
    static F exponent(F x) { return _mm512_getexp_ps(x); }
    static F mantissa(F x) {
        return from_bits(_mm512_ternarylogic_epi32(bits(x), whole(0x7FFFFF), whole(0x3F800000), 0xEA));
    }
    static I squeeze(I u, uint32_t width, uint32_t lo) {
        I even = high(multiply(u, width)), odds = multiply(high(u), width);
        return _mm512_add_epi32(_mm512_mask_blend_epi32(0xAAAA, even, odds), whole(int(lo)));
    }

    template <uint32_t type, class T> static void store(T *out, F x) {
        if constexpr (type == FLOAT32) {
            _mm512_storeu_ps(out, x);
        } else if constexpr (type == BFLOAT16) { // to nearest, ties to even
            I b = bits(x), last = _mm512_and_si512(_mm512_srli_epi32(b, 16), whole(1));
            b = _mm512_add_epi32(_mm512_add_epi32(b, whole(0x7FFF)), last);
            __m256i half = _mm512_cvtepi32_epi16(_mm512_srli_epi32(b, 16));
            _mm256_storeu_si256(reinterpret_cast<__m256i *>(out), half);
        } else if constexpr (type == FLOAT16) {
            __m256i half = _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
            _mm256_storeu_si256(reinterpret_cast<__m256i *>(out), half);
        } else {
            __m512i high = _mm512_castsi256_si512(_mm512_extracti64x4_epi64(bits(x), 1));
            _mm512_storeu_pd(out, _mm512_cvtps_pd(_mm512_castps512_ps256(x)));
            _mm512_storeu_pd(out + 8, _mm512_cvtps_pd(_mm512_castps512_ps256(from_bits(high))));
        }
    }
};

} // namespace

#include "kernel.h"

namespace {

// Eight blocks a vector; a 64-bit lane has two words of a block. Of (c0, c1) and of (c2, c3) the
// product takes the low word; its high half is combined with the high word, and the halves swapped.
// Two different instructions swap them, so that they share two ports. The last round needs no swap:
// what interleaves the words does it.
struct Philox {
    static constexpr int LANES = 8, K = 8; // vectors in flight: a round's chain is long
    Rounds rounds;
    V::I same, third;

    explicit Philox(const Key &key) : rounds(key) {
        // The first product of c2 is the same for all blocks.
        const uint64_t product = uint64_t(key.high0) * B;
        same = V::wide(product << 32 | (product >> 32 ^ key.key0));
        third = V::whole(int(key.high1 ^ key.key1));
    }

    // The words of blocks, given the first products of their c0, and their c1.
    INLINE void words(const V::I (&products)[K], const V::I (&second)[K], V::I (&u)[2 * K]) {
        V::I s[K], t[K]; // (c0, c1) and (c2, c3)
        EACH {
            V::I p = _mm512_mask_xor_epi32(products[i], 0xAAAA, products[i], third);
            s[i] = _mm512_xor_si512(second[i], same);
            t[i] = _mm512_shuffle_epi32(p, _MM_PERM_CDAB);
        }
        rounds.stay_in_memory();
#pragma GCC unroll 9
        for (int round = 1; round < 10; round++) {
            const V::I k0 = V::whole(rounds.keys[round][0]), k1 = V::whole(rounds.keys[round][1]);
            EACH {
                V::I p = V::multiply(s[i], A), q = V::multiply(t[i], B);
                q = _mm512_mask_ternarylogic_epi32(q, 0xAAAA, s[i], k0, 0x96);
                p = _mm512_mask_ternarylogic_epi32(p, 0xAAAA, t[i], k1, 0x96);
                s[i] = round < 9 ? _mm512_ror_epi64(q, 32) : q;
                t[i] = round < 9 ? _mm512_shuffle_epi32(p, _MM_PERM_CDAB) : p;
            }
        }
        const V::I four = _mm512_setr_epi32(1, 0, 17, 16, 3, 2, 19, 18, 5, 4, 21, 20, 7, 6, 23, 22);
        const V::I others = _mm512_add_epi32(four, V::whole(8));
        EACH {
            u[2 * i] = _mm512_permutex2var_epi32(s[i], four, t[i]);
            u[2 * i + 1] = _mm512_permutex2var_epi32(s[i], others, t[i]);
        }
    }
};

} // namespace

#include "draw.h"

const Kernels avx512_kernels = {"AVX-512", philox, TABLE(transform), TABLE(draw)};
#endif

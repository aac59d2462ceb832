// AVX2, FMA and F16C: 8 floats a vector.
#if defined(__x86_64__)
#include <immintrin.h>

#include "streams.h"

namespace {

struct V {
    using F = __m256;
    using I = __m256i;
    static constexpr int WIDTH = 8, UNROLL = 8;

    static I load(const uint32_t *p) { return _mm256_loadu_si256(reinterpret_cast<const I *>(p)); }
    static I load(const uint64_t *p) { return load(reinterpret_cast<const uint32_t *>(p)); }
    static void save(uint32_t *p, I x) { _mm256_storeu_si256(reinterpret_cast<I *>(p), x); }
    // Of 64-bit lanes: `multiply` takes their low halves, `high` their high ones.
    static I wide(uint64_t x) { return _mm256_set1_epi64x(int64_t(x)); }
    static I add_wide(I a, I b) { return _mm256_add_epi64(a, b); }
    static I multiply(I a, uint32_t by) { return _mm256_mul_epu32(a, wide(by)); }
    static I high(I x) { return _mm256_srli_epi64(x, 32); }
    static void pin(F &x) { asm volatile("" : "+x"(x)); }
    static F set(float x) { return _mm256_set1_ps(x); }
    static I whole(int x) { return _mm256_set1_epi32(x); }
    static F to_float(I x) { return _mm256_cvtepi32_ps(x); }
    static I bits(F x) { return _mm256_castps_si256(x); }
    static F from_bits(I x) { return _mm256_castsi256_ps(x); }
    static F mul(F a, F b) { return _mm256_mul_ps(a, b); }
    static F add(F a, F b) { return _mm256_add_ps(a, b); }
    static F fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
    static F least(F a, F b) { return _mm256_min_ps(a, b); }
    static F greatest(F a, F b) { return _mm256_max_ps(a, b); }
    static F clip(F x, F most) { return least(greatest(x, _mm256_sub_ps(set(0.0f), most)), most); }
    // (u ^ 2^31) | 1
    static I odd(I u) { return _mm256_or_si256(_mm256_xor_si256(u, whole(INT32_MIN)), whole(1)); }
    // 2^31 - |odd(u)|
    static I rest(I u) {
        return _mm256_or_si256(_mm256_xor_si256(u, _mm256_srai_epi32(u, 31)), whole(1));
    }
    static F exponent(F x) {
        return to_float(_mm256_sub_epi32(_mm256_srli_epi32(bits(x), 23), whole(127)));
    }
    static F mantissa(F x) {
        I digits = _mm256_and_si256(bits(x), whole(0x7FFFFF));
        return from_bits(_mm256_or_si256(digits, whole(0x3F800000)));
    }
    static I squeeze(I u, uint32_t width, uint32_t lo) {
        I even = high(multiply(u, width)), odds = multiply(high(u), width);
        return _mm256_add_epi32(_mm256_blend_epi32(even, odds, 0xAA), whole(int(lo)));
    }

    template <uint32_t type, class T> static void store(T *out, F x) {
        if constexpr (type == FLOAT32) {
            _mm256_storeu_ps(out, x);
        } else if constexpr (type == BFLOAT16) { // to nearest, ties to even
            I b = bits(x), last = _mm256_and_si256(_mm256_srli_epi32(b, 16), whole(1));
            b = _mm256_srli_epi32(_mm256_add_epi32(_mm256_add_epi32(b, whole(0x7FFF)), last), 16);
            __m128i half = _mm_packus_epi32(_mm256_castsi256_si128(b), _mm256_extracti128_si256(b, 1));
            _mm_storeu_si128(reinterpret_cast<__m128i *>(out), half);
        } else if constexpr (type == FLOAT16) {
            __m128i half = _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
            _mm_storeu_si128(reinterpret_cast<__m128i *>(out), half);
        } else {
            _mm256_storeu_pd(out, _mm256_cvtps_pd(_mm256_castps256_ps128(x)));
            _mm256_storeu_pd(out + 4, _mm256_cvtps_pd(_mm256_extractf128_ps(x, 1)));
        }
    }
};

} // namespace

#include "kernel.h"

namespace {

// Four blocks a vector, a word of each in the low half of a 64-bit lane. What lies in the high
// halves doesn't matter: the product doesn't read them.
struct Philox {
    static constexpr int LANES = 4, K = 4; // vectors in flight: a round's chain is long
    Rounds rounds;
    V::I same, low, third;

    explicit Philox(const Key &key) : rounds(key) {
        // The first product of c2 is the same for all blocks.
        const uint64_t product = uint64_t(key.high0) * B;
        same = V::wide(product >> 32 ^ key.key0);
        low = V::wide(product);
        third = V::wide(key.high1 ^ key.key1);
    }

    // The words of blocks, given the first products of their c0, and their c1.
    INLINE void words(const V::I (&products)[K], const V::I (&second)[K], V::I (&u)[2 * K]) {
        V::I c0[K], c1[K], c2[K], c3[K];
        EACH {
            c0[i] = _mm256_xor_si256(second[i], same);
            c1[i] = low;
            c2[i] = _mm256_xor_si256(V::high(products[i]), third);
            c3[i] = products[i];
        }
        rounds.stay_in_memory();
#pragma GCC unroll 9
        for (int round = 1; round < 10; round++) {
            const V::I k0 = V::whole(rounds.keys[round][0]), k1 = V::whole(rounds.keys[round][1]);
            EACH {
                V::I p = V::multiply(c0[i], A), q = V::multiply(c2[i], B);
                c0[i] = _mm256_xor_si256(V::high(q), _mm256_xor_si256(c1[i], k0));
                c2[i] = _mm256_xor_si256(V::high(p), _mm256_xor_si256(c3[i], k1));
                c1[i] = q;
                c3[i] = p;
            }
        }
        EACH {
            V::I p = _mm256_blend_epi32(c0[i], _mm256_slli_epi64(c1[i], 32), 0xAA);
            V::I q = _mm256_blend_epi32(c2[i], _mm256_slli_epi64(c3[i], 32), 0xAA);
            V::I even = _mm256_unpacklo_epi64(p, q), odd = _mm256_unpackhi_epi64(p, q);
            u[2 * i] = _mm256_permute2x128_si256(even, odd, 0x20);
            u[2 * i + 1] = _mm256_permute2x128_si256(even, odd, 0x31);
        }
    }
};

} // namespace

#include "draw.h"

const Kernels avx2_kernels = {"AVX2", philox, TABLE(transform), TABLE(draw)};
#endif

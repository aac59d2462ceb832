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
        I by = _mm256_set1_epi64x(width);
        I even = _mm256_srli_epi64(_mm256_mul_epu32(u, by), 32);
        I odds = _mm256_mul_epu32(_mm256_srli_epi64(u, 32), by);
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
constexpr int VECTORS = 2; // in flight: four words each, in 16 registers
static_assert(BLOCKS % (4 * VECTORS) == 0, "none is written behind a tile");

void philox(const Key &key, const uint64_t *blocks, int count, uint32_t *words) {
    constexpr int K = VECTORS;
    const __m256i a = _mm256_set1_epi64x(A), b = _mm256_set1_epi64x(B);
    // The first product of c2 is the same for all blocks.
    const uint64_t product = uint64_t(key.high0) * B;
    const __m256i same = _mm256_set1_epi64x(int64_t(product >> 32 ^ key.key0));
    const __m256i low = _mm256_set1_epi64x(int64_t(product));
    const __m256i third = _mm256_set1_epi64x(key.high1 ^ key.key1);
    for (int at = 0; at < count; at += 4 * K) {
        __m256i c0[K], c1[K], c2[K], c3[K];
        EACH {
            __m256i c = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(blocks + at + 4 * i));
            __m256i p = _mm256_mul_epu32(c, a);
            c0[i] = _mm256_xor_si256(_mm256_srli_epi64(c, 32), same);
            c1[i] = low;
            c2[i] = _mm256_xor_si256(_mm256_srli_epi64(p, 32), third);
            c3[i] = p;
        }
        uint32_t k0 = key.key0, k1 = key.key1;
        for (int round = 1; round < 10; round++) {
            const __m256i r0 = _mm256_set1_epi64x(k0 += WEYL0), r1 = _mm256_set1_epi64x(k1 += WEYL1);
            EACH {
                __m256i p = _mm256_mul_epu32(c0[i], a), q = _mm256_mul_epu32(c2[i], b);
                c0[i] = _mm256_xor_si256(_mm256_srli_epi64(q, 32), _mm256_xor_si256(c1[i], r0));
                c2[i] = _mm256_xor_si256(_mm256_srli_epi64(p, 32), _mm256_xor_si256(c3[i], r1));
                c1[i] = q;
                c3[i] = p;
            }
        }
        EACH {
            __m256i p = _mm256_blend_epi32(c0[i], _mm256_slli_epi64(c1[i], 32), 0xAA);
            __m256i q = _mm256_blend_epi32(c2[i], _mm256_slli_epi64(c3[i], 32), 0xAA);
            __m256i even = _mm256_unpacklo_epi64(p, q), odd = _mm256_unpackhi_epi64(p, q);
            __m256i *to = reinterpret_cast<__m256i *>(words + 4 * (at + 4 * i));
            _mm256_storeu_si256(to, _mm256_permute2x128_si256(even, odd, 0x20));
            _mm256_storeu_si256(to + 1, _mm256_permute2x128_si256(even, odd, 0x31));
        }
    }
}

} // namespace

const Kernels avx2_kernels = KERNELS("AVX2");
#endif

// AVX-512F: 16 floats a vector.
#if defined(__x86_64__)
#include <immintrin.h>

#include "streams.h"

namespace {

struct V {
    using F = __m512;
    using I = __m512i;
    static constexpr int WIDTH = 16, UNROLL = 4;

    static I load(const uint32_t *p) { return _mm512_loadu_si512(p); }
    static F set(float x) { return _mm512_set1_ps(x); }
    static I whole(int x) { return _mm512_set1_epi32(x); }
    static F to_float(I x) { return _mm512_cvtepi32_ps(x); }
    static I bits(F x) { return _mm512_castps_si512(x); }
    static F from_bits(I x) { return _mm512_castsi512_ps(x); }
    static F mul(F a, F b) { return _mm512_mul_ps(a, b); }
    static F add(F a, F b) { return _mm512_add_ps(a, b); }
    static F sub(F a, F b) { return _mm512_sub_ps(a, b); }
    static F least(F a, F b) { return _mm512_min_ps(a, b); }
    static F greatest(F a, F b) { return _mm512_max_ps(a, b); }
    static I both(I a, I b) { return _mm512_and_si512(a, b); }
    static I minus(I a, I b) { return _mm512_sub_epi32(a, b); }
    // (u ^ 2^31) | 1
    static I odd(I u) { return _mm512_ternarylogic_epi32(u, whole(INT32_MIN), whole(1), 0xBE); }
    // 2^31 - |n|
    static I rest(I n) { return minus(whole(INT32_MIN), _mm512_abs_epi32(n)); }
    // exponent / 2^23 + by; exact, fused or not
    static F shift(I exponent, float by) {
        return _mm512_fmadd_ps(to_float(exponent), set(0x1p-23f), set(by));
    }
    static I squeeze(I u, uint32_t width, uint32_t lo) {
        I by = _mm512_set1_epi64(width);
        I even = _mm512_srli_epi64(_mm512_mul_epu32(u, by), 32);
        I odds = _mm512_mul_epu32(_mm512_srli_epi64(u, 32), by);
        return _mm512_add_epi32(_mm512_mask_blend_epi32(0xAAAA, even, odds), whole(int(lo)));
    }

    template <uint32_t type, class T> static void store(T *out, F x) {
        if constexpr (type == FLOAT32) {
            _mm512_storeu_ps(out, x);
        } else if constexpr (type == BFLOAT16) { // to nearest, ties to even
            I b = bits(x), last = both(_mm512_srli_epi32(b, 16), whole(1));
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

// Eight blocks a vector, a word of each in the low half of a 64-bit lane. What lies in the high
// halves doesn't matter: the product doesn't read them.
void philox(const Key &key, const uint64_t *blocks, int count, uint32_t *words) {
    const __m512i a = _mm512_set1_epi64(A), b = _mm512_set1_epi64(B);
    const __m512i first = _mm512_set_epi64(11, 3, 10, 2, 9, 1, 8, 0);
    const __m512i second = _mm512_set_epi64(15, 7, 14, 6, 13, 5, 12, 4);
    for (int at = 0; at < count; at += 16) {
        __m512i c0[2], c1[2], c2[2], c3[2];
        for (int i = 0; i < 2; i++) {
            c0[i] = _mm512_loadu_si512(blocks + at + 8 * i);
            c1[i] = _mm512_srli_epi64(c0[i], 32);
            c2[i] = _mm512_set1_epi64(key.high0);
            c3[i] = _mm512_set1_epi64(key.high1);
        }
        uint32_t k0 = key.key0, k1 = key.key1;
        for (int round = 0; round < 10; round++, k0 += WEYL0, k1 += WEYL1) {
            const __m512i r0 = _mm512_set1_epi64(k0), r1 = _mm512_set1_epi64(k1);
            for (int i = 0; i < 2; i++) {
                __m512i p = _mm512_mul_epu32(c0[i], a), q = _mm512_mul_epu32(c2[i], b);
                c0[i] = _mm512_ternarylogic_epi64(_mm512_srli_epi64(q, 32), c1[i], r0, 0x96);
                c2[i] = _mm512_ternarylogic_epi64(_mm512_srli_epi64(p, 32), c3[i], r1, 0x96);
                c1[i] = q;
                c3[i] = p;
            }
        }
        for (int i = 0; i < 2; i++) {
            __m512i p = _mm512_mask_blend_epi32(0xAAAA, c0[i], _mm512_slli_epi64(c1[i], 32));
            __m512i q = _mm512_mask_blend_epi32(0xAAAA, c2[i], _mm512_slli_epi64(c3[i], 32));
            uint32_t *to = words + 4 * (at + 8 * i);
            _mm512_storeu_si512(to, _mm512_permutex2var_epi64(p, first, q));
            _mm512_storeu_si512(to + 16, _mm512_permutex2var_epi64(p, second, q));
        }
    }
}

} // namespace

const Kernels avx512_kernels = KERNELS("AVX-512");
#endif

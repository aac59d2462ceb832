// NEON: 4 floats a vector.
#if defined(__aarch64__)
#include <arm_neon.h>

#include "streams.h"

namespace {

struct V {
    using F = float32x4_t;
    using I = int32x4_t;
    using U = uint32x4_t;
    static constexpr int WIDTH = 4, UNROLL = 8;

    static I load(const uint32_t *p) { return signed_bits(vld1q_u32(p)); }
    static void pin(F &x) { asm volatile("" : "+w"(x)); }
    static F set(float x) { return vdupq_n_f32(x); }
    static I whole(int x) { return vdupq_n_s32(x); }
    static F to_float(I x) { return vcvtq_f32_s32(x); }
    static U bits(F x) { return vreinterpretq_u32_f32(x); }
    static I signed_bits(U x) { return vreinterpretq_s32_u32(x); }
    static F mul(F a, F b) { return vmulq_f32(a, b); }
    static F add(F a, F b) { return vaddq_f32(a, b); }
    static F fma(F a, F b, F c) { return vfmaq_f32(c, a, b); }
    static F least(F a, F b) { return vminq_f32(a, b); }
    static F greatest(F a, F b) { return vmaxq_f32(a, b); }
    static F clip(F x, F most) { return least(greatest(x, vnegq_f32(most)), most); }
    // (u ^ 2^31) | 1
    static I odd(I u) { return vorrq_s32(veorq_s32(u, whole(INT32_MIN)), whole(1)); }
    // 2^31 - |odd(u)|
    static I rest(I u) { return vorrq_s32(veorq_s32(u, vshrq_n_s32(u, 31)), whole(1)); }
    static F exponent(F x) {
        return to_float(vsubq_s32(signed_bits(vshrq_n_u32(bits(x), 23)), whole(127)));
    }
    static F mantissa(F x) {
        U digits = vandq_u32(bits(x), vdupq_n_u32(0x7FFFFF));
        return vreinterpretq_f32_u32(vorrq_u32(digits, vdupq_n_u32(0x3F800000)));
    }
    static I squeeze(I u, uint32_t width, uint32_t lo) {
        U words = vreinterpretq_u32_s32(u);
        U low = vreinterpretq_u32_u64(vmull_n_u32(vget_low_u32(words), width));
        U high = vreinterpretq_u32_u64(vmull_high_n_u32(words, width));
        return signed_bits(vaddq_u32(vuzp2q_u32(low, high), vdupq_n_u32(lo)));
    }

    template <uint32_t type, class T> static void store(T *out, F x) {
        if constexpr (type == FLOAT32) {
            vst1q_f32(out, x);
        } else if constexpr (type == BFLOAT16) { // to nearest, ties to even
            U b = bits(x), last = vandq_u32(vshrq_n_u32(b, 16), vdupq_n_u32(1));
            b = vaddq_u32(vaddq_u32(b, vdupq_n_u32(0x7FFF)), last);
            vst1_u16(out, vshrn_n_u32(b, 16));
        } else if constexpr (type == FLOAT16) {
            vst1_u16(out, vreinterpret_u16_f16(vcvt_f16_f32(x)));
        } else {
            vst1q_f64(out, vcvt_f64_f32(vget_low_f32(x)));
            vst1q_f64(out + 2, vcvt_high_f64_f32(x));
        }
    }
};

} // namespace

#include "kernel.h"

namespace {

constexpr int VECTORS = 4; // in flight, of four blocks each: a round's chain is long
static_assert(BLOCKS % (4 * VECTORS) == 0, "none is written behind a tile");

// c becomes the low words of its products, and what is returned are their high words.
inline uint32x4_t multiply(uint32x4_t &c, uint32_t by) {
    uint32x4_t p = vreinterpretq_u32_u64(vmull_n_u32(vget_low_u32(c), by));
    uint32x4_t q = vreinterpretq_u32_u64(vmull_high_n_u32(c, by));
    c = vuzp1q_u32(p, q);
    return vuzp2q_u32(p, q);
}

void philox(const Key &key, const uint64_t *blocks, int count, uint32_t *words) {
    constexpr int K = VECTORS;
    for (int at = 0; at < count; at += 4 * K) {
        uint32x4_t c0[K], c1[K], c2[K], c3[K];
        EACH {
            const uint32_t *from = reinterpret_cast<const uint32_t *>(blocks + at + 4 * i);
            const uint32x4x2_t counter = vld2q_u32(from);
            c0[i] = counter.val[0];
            c1[i] = counter.val[1];
            c2[i] = vdupq_n_u32(key.high0);
            c3[i] = vdupq_n_u32(key.high1);
        }
        uint32_t k0 = key.key0, k1 = key.key1;
        for (int round = 0; round < 10; round++, k0 += WEYL0, k1 += WEYL1) {
            const uint32x4_t r0 = vdupq_n_u32(k0), r1 = vdupq_n_u32(k1);
            EACH {
                uint32x4_t p = multiply(c0[i], A), q = multiply(c2[i], B);
                q = veorq_u32(veorq_u32(c1[i], r0), q);
                p = veorq_u32(veorq_u32(c3[i], r1), p);
                c3[i] = c0[i];
                c1[i] = c2[i];
                c0[i] = q;
                c2[i] = p;
            }
        }
        EACH vst4q_u32(words + 4 * (at + 4 * i), (uint32x4x4_t{{c0[i], c1[i], c2[i], c3[i]}}));
    }
}

} // namespace

const Kernels neon_kernels = {"NEON", philox, TABLE(transform), {}};
#endif

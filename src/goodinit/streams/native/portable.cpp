// Any machine, in the vectors of GCC and Clang, which become SSE2, NEON or plain code.
#include "streams.h"

namespace {

struct V {
    typedef float F __attribute__((vector_size(16)));
    typedef int32_t I __attribute__((vector_size(16)));
    typedef uint32_t U __attribute__((vector_size(16)));
    static constexpr int WIDTH = 4, UNROLL = 4;

    static I load(const uint32_t *p) {
        I x;
        __builtin_memcpy(&x, p, sizeof x);
        return x;
    }
    static void pin(F &) {} // nothing is gained: a fused step takes longer than its latency
    static F set(float x) { return F{x, x, x, x}; }
    static I whole(int x) { return I{x, x, x, x}; }
    static F to_float(I x) { return __builtin_convertvector(x, F); }
    static I bits(F x) { return I(x); }
    static F from_bits(I x) { return F(x); }
    static F mul(F a, F b) { return a * b; }
    static F add(F a, F b) { return a + b; }
    // The double product is exact. Its sum with c is rounded to double and then to float, which
    // for the numbers of the law equals one rounding: tests/streams/magnitudes.cpp tries them all.
    static F fma(F a, F b, F c) {
        return __builtin_convertvector(wide(a) * wide(b) + wide(c), F);
    }
    typedef double D __attribute__((vector_size(32)));
    static D wide(F x) { return __builtin_convertvector(x, D); }
    static F choose(I mask, F a, F b) { return F((mask & I(a)) | (~mask & I(b))); }
    static F least(F a, F b) { return choose(a < b, a, b); }
    static F greatest(F a, F b) { return choose(a > b, a, b); }
    static F clip(F x, F most) { return least(greatest(x, -most), most); }
    // (u ^ 2^31) | 1
    static I odd(I u) { return (u ^ whole(INT32_MIN)) | whole(1); }
    // 2^31 - |odd(u)|
    static I rest(I u) { return (u ^ (u >> 31)) | whole(1); }
    static F exponent(F x) { return to_float((bits(x) >> 23) - whole(127)); }
    static F mantissa(F x) { return from_bits((bits(x) & whole(0x7FFFFF)) | whole(0x3F800000)); }
    static I squeeze(I u, uint32_t width, uint32_t lo) {
        for (int i = 0; i < WIDTH; i++)
            u[i] = int32_t(lo + uint32_t(uint64_t(uint32_t(u[i])) * width >> 32));
        return u;
    }

    static uint16_t to_bfloat16(uint32_t b) { return uint16_t((b + 0x7FFF + (b >> 16 & 1)) >> 16); }

    // To nearest, ties to even; subnormal results too. No value is NaN or infinite.
    static uint16_t to_float16(uint32_t b) {
        uint32_t sign = b >> 16 & 0x8000, size = b & 0x7FFFFFFF;
        if (size >= 0x47800000) // 65536 and above
            return uint16_t(sign | 0x7C00);
        if (size < 0x33000000) // below half of the least subnormal number
            return uint16_t(sign);
        uint32_t drop = size < 0x38800000 ? 126 - (size >> 23) : 13; // bits behind the last one
        uint32_t digits = size < 0x38800000 ? (size & 0x7FFFFF) | 0x800000 : size - 0x38000000;
        uint32_t up = (1u << (drop - 1)) - 1 + (digits >> drop & 1);
        return uint16_t(sign | (digits + up) >> drop);
    }

    template <uint32_t type, class T> static void store(T *out, F x) {
        if constexpr (type == FLOAT32) {
            __builtin_memcpy(out, &x, sizeof x);
        } else {
            U b = U(bits(x));
            for (int i = 0; i < WIDTH; i++)
                if constexpr (type == BFLOAT16)
                    out[i] = to_bfloat16(b[i]);
                else if constexpr (type == FLOAT16)
                    out[i] = to_float16(b[i]);
                else
                    out[i] = double(x[i]);
        }
    }
};

} // namespace

#include "kernel.h"

namespace {

void philox(const Key &key, const uint64_t *blocks, int count, uint32_t *words) {
    for (int at = 0; at < count; at++, words += 4) {
        uint32_t c0 = uint32_t(blocks[at]), c1 = uint32_t(blocks[at] >> 32);
        uint32_t c2 = key.high0, c3 = key.high1, k0 = key.key0, k1 = key.key1;
        for (int round = 0; round < 10; round++, k0 += WEYL0, k1 += WEYL1) {
            uint64_t p = uint64_t(c0) * A, q = uint64_t(c2) * B;
            c0 = uint32_t(q >> 32) ^ c1 ^ k0;
            c2 = uint32_t(p >> 32) ^ c3 ^ k1;
            c1 = uint32_t(q);
            c3 = uint32_t(p);
        }
        words[0] = c0;
        words[1] = c1;
        words[2] = c2;
        words[3] = c3;
    }
}

} // namespace

const Kernels portable_kernels = {"portable code", philox, TABLE(transform), {}};

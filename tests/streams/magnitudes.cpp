// The normal law's P(t) for one magnitude after another, for test_magnitudes.py: with
// fused multiply-adds, and with the two roundings in float64 and float32 that spec.py has.
#include <cstdint>
#include <cstring>

namespace {

struct Fused {
    static float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
};

struct Twice {
    static float fma(float a, float b, float c) { return float(double(a) * double(b) + double(c)); }
};

// c holds 2^31 (1 - |x|), l and p the polynomials' coefficients.
template <class M> void polynomial(const float *l, const float *p, const float *c, int64_t count, float *to) {
    for (int64_t i = 0; i < count; i++) {
        float y = c[i] * M::fma(c[i], -0x1p-54f, 0x1p-22f);
        uint32_t bits;
        std::memcpy(&bits, &y, sizeof bits);
        float e = float(int32_t(bits >> 23) - 127), m;
        bits = (bits & 0x7FFFFF) | 0x3F800000;
        std::memcpy(&m, &bits, sizeof m);
        float z = l[0];
        for (int k = 1; k < 6; k++)
            z = M::fma(z, m, l[k]);
        float t = M::fma(z, m, e);
        z = p[0];
        for (int k = 1; k < 16; k++)
            z = M::fma(z, t, p[k]);
        to[i] = z;
    }
}

} // namespace

extern "C" {
void fused(const float *l, const float *p, const float *c, int64_t count, float *to) {
    polynomial<Fused>(l, p, c, count, to);
}
void twice(const float *l, const float *p, const float *c, int64_t count, float *to) {
    polynomial<Twice>(l, p, c, count, to);
}
}

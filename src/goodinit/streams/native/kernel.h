// The samplers of spec.py over the vectors of one instruction set. Each unit includes this file
// once, behind its `struct V`. All is in an anonymous namespace, and nothing inline comes from
// the standard library: the linker keeps one copy of a shared inline function, and that copy
// might hold instructions which the machine at hand lacks.
//
// Numbers are those of spec.py, but for one power of two that is moved: 2^31 x stands for x, and
// the scale brings 2^-31 back. No value underflows, so that every rounding is the same.
#include "law.h"
#include "streams.h"

namespace {

constexpr uint32_t A = 0xD2511F53, B = 0xCD9E8D57, WEYL0 = 0x9E3779B9, WEYL1 = 0xBB67AE85;

#define INLINE inline __attribute__((always_inline))

// The key of each round. From memory it is copied into the lanes of a vector for free; from a
// register, where compilers would hold it, the copy takes a port that the rounds need.
struct Rounds {
    int32_t keys[10][2];

    explicit Rounds(const Key &key) {
        for (uint32_t round = 0; round < 10; round++) {
            keys[round][0] = int32_t(key.key0 + round * WEYL0);
            keys[round][1] = int32_t(key.key1 + round * WEYL1);
        }
    }
    void stay_in_memory() { asm volatile("" : "+m"(keys)); }
};

// Each of these loops has a constant, small number of steps, which the compiler unrolls: K
// independent vectors hide the latency of the long polynomial. Compilers would compute one vector
// after the other, in a single register, and lose a third of the speed on processors that look
// less far ahead; `pin` holds every vector at every step of the polynomials.
#define EACH for (int i = 0; i < K; i++)

// 2^31 z of spec.standard_normal.
template <int K> INLINE void normal(const V::I (&u)[K], V::F (&z)[K]) {
    V::F x[K], m[K], t[K];
    EACH {
        x[i] = V::to_float(V::odd(u[i]));
        V::F c = V::to_float(V::rest(u[i]));
        V::F y = V::mul(c, V::fma(c, V::set(-0x1p-54f), V::set(0x1p-22f)));
        t[i] = V::exponent(y);
        m[i] = V::mantissa(y);
        z[i] = V::fma(m[i], V::set(LOG2[0]), V::set(LOG2[1]));
    }
    for (int k = 2; k < LOG2_TERMS; k++)
        EACH V::pin(z[i] = V::fma(z[i], m[i], V::set(LOG2[k])));
    EACH V::pin(t[i] = V::fma(z[i], m[i], t[i]));
    EACH z[i] = V::fma(t[i], V::set(QUANTILE[0]), V::set(QUANTILE[1]));
    for (int k = 2; k < QUANTILE_TERMS; k++)
        EACH V::pin(z[i] = V::fma(z[i], t[i], V::set(QUANTILE[k])));
    EACH z[i] = V::mul(z[i], x[i]);
}

template <uint32_t kind, int K>
INLINE void sample(const Law &law, V::I (&u)[K], V::F (&z)[K]) {
    if (kind == UNIFORM || kind == SYMMETRIC) {
        EACH z[i] = V::to_float(V::odd(u[i]));
    } else {
        if (kind == TRUNCATED)
            EACH u[i] = V::squeeze(u[i], law.width, law.lo);
        normal<K>(u, z);
    }
    V::F scale = V::set(law.scale * 0x1p-31f), loc = V::set(law.loc);
    if (kind == SYMMETRIC) { // no z is 0, so that a sum with loc would change nothing
        V::F high = V::set(law.high);
        EACH z[i] = V::clip(V::mul(z[i], scale), high);
        return;
    }
    EACH z[i] = V::add(V::mul(z[i], scale), loc);
    if (kind != NORMAL) {
        V::F low = V::set(law.low), high = V::set(law.high);
        EACH z[i] = V::least(V::greatest(z[i], low), high);
    }
}

template <uint32_t kind, uint32_t type, class T>
void transform(const Law &given, const uint32_t *words, int count, void *to) {
    constexpr int K = V::UNROLL, W = V::WIDTH;
    static_assert(4 * K * W <= PADDING, "the last step may read that many bytes");
    const Law law = given; // so that no store to `to` can change it
    T *out = static_cast<T *>(to);
    for (; count > 0; count -= K * W, words += K * W, out += K * W) {
        V::I u[K];
        V::F z[K];
        EACH u[i] = V::load(words + i * W);
        sample<kind, K>(law, u, z);
        if (count >= K * W) {
            EACH V::template store<type>(out + i * W, z[i]);
        } else {
            T rest[K * W];
            EACH V::template store<type>(rest + i * W, z[i]);
            for (int i = 0; i < count; i++)
                out[i] = rest[i];
        }
    }
}

#define ROW(kernel, kind)                                                                          \
    {                                                                                              \
        kernel<kind, FLOAT32, float>, kernel<kind, BFLOAT16, uint16_t>,                            \
            kernel<kind, FLOAT16, uint16_t>, kernel<kind, FLOAT64, double>                         \
    }
#define TABLE(kernel)                                                                              \
    {                                                                                              \
        ROW(kernel, NORMAL), ROW(kernel, UNIFORM), ROW(kernel, TRUNCATED), ROW(kernel, BOUNDED),   \
            ROW(kernel, SYMMETRIC)                                                                 \
    }

} // namespace

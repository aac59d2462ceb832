// The samplers of spec.py over the vectors of one instruction set. Each unit includes this file
// once, behind its `struct V`. All is in an anonymous namespace, and nothing inline comes from
// the standard library: the linker keeps one copy of a shared inline function, and that copy
// might hold instructions which the machine at hand lacks.
//
// Numbers are those of spec.py, but for powers of two that are moved: 2^31 c and 2^31 x stand for
// c and x, and the scale brings 2^-31 back. No value underflows, so that every rounding is the same.
#include "streams.h"

namespace {

constexpr float LOG2[] = {
    0.14574521780014038f, -0.23689179122447968f, 0.25006937980651855f, -0.2867072820663452f,
    0.36008715629577637f, -0.48093944787979126f, 0.7213571667671204f,  -1.4426947832107544f,
};
constexpr float QUANTILE[] = {
    -1.5767331680513094e-19f, 7.885613695502744e-18f,   -5.367502533834937e-17f,
    -3.4374744228100797e-15f, 6.89780806258089e-14f,    -3.298423207199856e-14f,
    -1.0953734447260999e-11f, 1.4567855255442907e-10f,  -1.5399137520688555e-09f,
    1.7094189175281826e-08f,  -5.985830853205698e-08f,  -3.048972757824231e-06f,
    0.0001102923633879982f,   -0.0032800245098769665f,  0.16979724168777466f,
    3.8423852920532227f,
};
constexpr int ROOT_HALF = 0x3F3504F3, EXPONENT = -0x800000;
constexpr int SHIFT = 12 - 62; // CENTRE, less the exponent of 2^62
constexpr uint32_t A = 0xD2511F53, B = 0xCD9E8D57, WEYL0 = 0x9E3779B9, WEYL1 = 0xBB67AE85;

// Each of these loops has a constant, small number of steps, which the compiler unrolls: K
// independent vectors hide the latency of the long polynomial. Compilers would compute one vector
// after the other, in a single register, and lose a third of the speed on processors that look
// less far ahead; `pin` holds every vector at every step of the polynomials.
#define EACH for (int i = 0; i < K; i++)

// 2^31 z of spec.standard_normal.
template <int K> inline __attribute__((always_inline)) void normal(const V::I (&u)[K], V::F (&z)[K]) {
    V::F x[K], f[K], t[K];
    EACH {
        V::I n = V::odd(u[i]);
        x[i] = V::to_float(n);
        V::F c = V::to_float(V::rest(n));
        V::I bits = V::bits(V::mul(V::sub(V::set(4294967296.0f), c), c));
        V::I exponent = V::both(V::minus(bits, V::whole(ROOT_HALF)), V::whole(EXPONENT));
        f[i] = V::add(V::from_bits(V::minus(bits, exponent)), V::set(-1.0f));
        t[i] = V::shift(exponent, SHIFT);
        z[i] = V::add(V::mul(f[i], V::set(LOG2[0])), V::set(LOG2[1]));
    }
    for (int k = 2; k < 8; k++)
        EACH V::pin(z[i] = V::add(V::mul(z[i], f[i]), V::set(LOG2[k])));
    EACH t[i] = V::sub(V::mul(z[i], f[i]), t[i]);
    EACH z[i] = V::add(V::mul(t[i], V::set(QUANTILE[0])), V::set(QUANTILE[1]));
    for (int k = 2; k < 16; k++)
        EACH V::pin(z[i] = V::add(V::mul(z[i], t[i]), V::set(QUANTILE[k])));
    EACH z[i] = V::mul(z[i], x[i]);
}

template <uint32_t kind, int K>
inline __attribute__((always_inline)) void sample(const Law &law, const uint32_t *words, V::F (&z)[K]) {
    V::I u[K];
    EACH u[i] = V::load(words + i * V::WIDTH);
    if (kind == UNIFORM) {
        EACH z[i] = V::to_float(V::odd(u[i]));
    } else {
        if (kind == TRUNCATED)
            EACH u[i] = V::squeeze(u[i], law.width, law.lo);
        normal<K>(u, z);
    }
    V::F scale = V::set(law.scale * 0x1p-31f), loc = V::set(law.loc);
    EACH z[i] = V::add(V::mul(z[i], scale), loc);
    if (kind != NORMAL) {
        V::F low = V::set(law.low), high = V::set(law.high);
        EACH z[i] = V::least(V::greatest(z[i], low), high);
    }
}

template <uint32_t kind, uint32_t type, class T>
void transform(const Law &given, const uint32_t *words, int count, void *to) {
    constexpr int K = V::UNROLL, W = V::WIDTH;
    const Law law = given; // so that no store to `to` can change it
    T *out = static_cast<T *>(to);
    for (; count >= K * W; count -= K * W, words += K * W, out += K * W) {
        V::F z[K];
        sample<kind, K>(law, words, z);
        EACH V::template store<type>(out + i * W, z[i]);
    }
    for (; count > 0; count -= W, words += W, out += W) {
        V::F z[1];
        sample<kind, 1>(law, words, z);
        if (count >= W) {
            V::template store<type>(out, z[0]);
        } else {
            T rest[W];
            V::template store<type>(rest, z[0]);
            for (int i = 0; i < count; i++)
                out[i] = rest[i];
        }
    }
}

#define KERNELS_OF(kind)                                                                           \
    {                                                                                              \
        transform<kind, FLOAT32, float>, transform<kind, BFLOAT16, uint16_t>,                      \
            transform<kind, FLOAT16, uint16_t>, transform<kind, FLOAT64, double>                   \
    }
#define KERNELS(name)                                                                              \
    {                                                                                              \
        name, philox, { KERNELS_OF(NORMAL), KERNELS_OF(UNIFORM), KERNELS_OF(TRUNCATED),            \
                        KERNELS_OF(BOUNDED) }                                                      \
    }

} // namespace

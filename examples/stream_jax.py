"""goodinit's normal values in JAX: docs/streams.md in a few lines.

All is computed in float64 and rounded to float32 by ``reduce_precision``: a compiler may fuse a
product and a sum, or drop a cast to float32 and back, and neither changes these values.
"""

import jax
import jax.numpy as jnp

jax.config.update("jax_enable_x64", True)

LOG2 = (
    -0.02569120191037655,
    0.27514976263046265,
    -1.2669219970703125,
    3.28653621673584,
    -5.3419976234436035,
    6.112968444824219,
)
QUANTILE = (
    1.5767353652498114e-19,
    1.0156016854627054e-17,
    1.7490955075093444e-16,
    -2.042899684934576e-15,
    -1.0199604832603071e-13,
    -9.497605609962156e-13,
    6.518137158489923e-12,
    2.275094418413559e-10,
    2.9971047865728906e-09,
    3.1980530224018366e-08,
    1.9647193028049514e-07,
    -2.467937520123087e-06,
    -0.00012109273666283116,
    -0.0036137329880148172,
    -0.17640991508960724,
    3.6762638092041016,
)


def to_float32(x):
    """Round to float32, in float64."""
    return jax.lax.reduce_precision(x, exponent_bits=8, mantissa_bits=23)


def horner(coefficients, x):
    """Evaluate a polynomial, highest power first, each step fused."""
    y = jnp.full_like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        y = to_float32(y * x + coefficient)
    return y


def words(key, index):
    """The word of each element; ``key`` is the four words of goodinit.streams.make_key."""
    low, (k0, k1, high0, high1) = 0xFFFFFFFF, key
    block = index // 4
    c = [block & low, block >> 32, jnp.full_like(block, high0), jnp.full_like(block, high1)]
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [b >> 32 ^ c[1] ^ k0, b & low, a >> 32 ^ c[3] ^ k1, a & low]
        k0, k1 = k0 + 0x9E3779B9 & low, k1 + 0xBB67AE85 & low
    return jnp.choose((index % 4).astype(int), c, mode="clip").astype(jnp.int64)


@jax.jit
def normal(key, index, scale, loc):
    """The float32 values of the elements with these row-major indices, uint64."""
    n = (words(key, index) - 2**31) | 1
    c = to_float32((2**31 - abs(n)).astype(jnp.float64))
    m, e = jnp.frexp(to_float32(c * to_float32(2.0**-22 - 2.0**-54 * c)))
    m, e = 2 * m, e - 1.0
    t = to_float32(horner(LOG2, m) * m + e)
    z = to_float32(horner(QUANTILE, t) * to_float32(n * 2.0**-31))
    return to_float32(to_float32(z * to_float32(scale)) + to_float32(loc)).astype(jnp.float32)

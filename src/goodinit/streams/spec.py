"""The frozen definition of goodinit's random numbers, version v1, in plain torch.

This file is the slow reference: every faster kernel must return the same bits.

- A *key* is the first 16 bytes of SHA-256 over (version, seed, name, purpose).
- The tensor's element with row-major index i uses word ``i % 4`` of Philox4x32-10's block
  ``i // 4``. It depends on nothing else: no order of drawing, chunk, thread, device or shard.
- A *sampler* turns that one uint32 word into a standard value, float32.
- A *law* scales and shifts it: ``loc + scale * z``, rounded to float32 after the product and
  again after the sum. Any other dtype is one cast of that float32.

The samplers use only IEEE float32 products, sums and fused multiply-adds, int-to-float
conversions (to nearest, ties to even) and integer operations: no libm, square root, division or
branch. These round the same everywhere, if a kernel fuses those products and sums that are one
step here, and no others (``-ffp-contract=off``; in Triton ``tl.fma`` and
``enable_fp_fusion=False``). The polynomials' steps are fused, because that takes half the
instructions; the scale and the shift are not, because ``loc`` may be any number.

Plain torch has no fused multiply-add of float32. It is computed in float64, where the product is
exact: ``float32(float64(a) * b + c)`` is rounded twice, and equals the fused step for every word
with these coefficients: a test tries all 67,108,865 magnitudes.

The sampler is a float polynomial, and not integers throughout, because of speed: each step is one
vector instruction without a table.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from numbers import Real
from typing import Literal, cast

import torch
from torch import Tensor

from goodinit.errors import StreamError

__all__ = [
    "VERSION",
    "Key",
    "Law",
    "make_key",
    "philox",
    "philox4x32",
    "standard_normal",
    "standard_uniform",
    "values",
]

VERSION = "v1"
LONG_REPR = 60  # characters: of a seed whose repr is longer, as a tensor's, an error names the type

DOMAIN = b"goodinit.streams.v0\0"
"""What every key's hash begins with. v1 has the keys and words of v0; only normals differ."""

_LENGTHS = struct.Struct("<QQ").pack
_LENGTH = struct.Struct("<Q").pack

LIMIT = 6.4
"""No standard normal value is as large: the largest is 6.2305."""

REACH = 6.2306
"""No standard normal value is larger: a tight bound."""

FARTHEST_CUT = 7.0
"""A bound beyond it cuts no word off."""

LEAST_SCALE = 2.0**-64
"""A smaller scale could produce subnormal numbers, which some machines flush to zero."""

LEAST_SHARE = 2.0**-20
"""A share of loc: below it, float32 has fewer than 8 values within one scale, and finally none."""

LEAST_MASS = 2.0**-16
"""A truncation that keeps less than this would have too few distinct values."""

INVERSE_ROOT_TWO_PI = 0x662114CF50D942343F2CF1402EAE38BF  # 2**128 / sqrt(2 pi), floor

# log2(m) = m L(m) + CONSTANT, with m in [1, 2): absolute error 2e-6. Highest power first; every
# decimal is exactly a float32. Made by tools/fit_normal.py.
LOG2 = (
    -0.02569120191037655,  # m^5
    0.27514976263046265,  # m^4
    -1.2669219970703125,  # m^3
    3.28653621673584,  # m^2
    -5.3419976234436035,  # m
    6.112968444824219,  # 1
)

# z = x P(t), t = log2(1 - x^2) + 8 - CONSTANT.
QUANTILE = (
    1.5767353652498114e-19,  # t^15
    1.0156016854627054e-17,  # t^14
    1.7490955075093444e-16,  # t^13
    -2.042899684934576e-15,  # t^12
    -1.0199604832603071e-13,  # t^11
    -9.497605609962156e-13,  # t^10
    6.518137158489923e-12,  # t^9
    2.275094418413559e-10,  # t^8
    2.9971047865728906e-09,  # t^7
    3.1980530224018366e-08,  # t^6
    1.9647193028049514e-07,  # t^5
    -2.467937520123087e-06,  # t^4
    -0.00012109273666283116,  # t^3
    -0.0036137329880148172,  # t^2
    -0.17640991508960724,  # t
    3.6762638092041016,  # 1
)

# Zero-dimensional tensors: as operands they are about three times faster than Python numbers.
_LOG2 = torch.tensor(LOG2, dtype=torch.float64, device="cpu").unbind()
_QUANTILE = torch.tensor(QUANTILE, dtype=torch.float64, device="cpu").unbind()
_UNIT = torch.tensor(2.0**-31, dtype=torch.float32, device="cpu")
_SLOPE, _TWO = torch.tensor((-(2.0**-54), 2.0**-22), dtype=torch.float64, device="cpu").unbind()
_MASK, _HALF, _ODD, _WORD = torch.tensor((0xFFFFFFFF, 1 << 31, 1, 32), device="cpu").unbind()
_DIGITS, _ONE, _MANTISSA_BITS, _BIAS = (
    torch.tensor((0x7FFFFF, 0x3F800000, 23, 127), device="cpu").int().unbind()
)
_MULTIPLIERS = torch.tensor(((0xD2511F53,), (0xCD9E8D57,)), device="cpu")


@dataclass(frozen=True)
class Key:
    """Which stream: 16 bytes as four uint32 numbers.

    Attributes:
        key0, key1: Philox's key.
        high0, high1: Philox's counter words 2 and 3; words 0 and 1 count the blocks.
    """

    key0: int
    key1: int
    high0: int
    high1: int


def check_seed(seed: int) -> None:
    """Raise StreamError unless the seed is an int in [0, 2**64)."""
    given = cast("object", seed)
    if isinstance(given, bool) or not isinstance(given, int):
        fix = "seed=generator.initial_seed()" if hasattr(given, "initial_seed") else "int(seed)"
        shown = repr(given)
        if len(shown) > LONG_REPR:
            shown, fix = f"a {type(given).__name__}", "seed=0"
        raise StreamError(f"the seed is {shown}, not an int: pass {fix}")
    if not 0 <= given < 2**64:
        raise StreamError(f"the seed {given} is outside [0, 2**64): pass seed % 2**64")


def make_key(seed: int, name: str, purpose: str = "") -> Key:
    """Return the key of one parameter's stream.

    It is the first 16 bytes, as little-endian uint32 numbers, of the SHA-256 of: the domain
    ``goodinit.streams.v0`` and a zero byte, the seed as uint64, the name, the purpose; a text is
    its length in bytes as uint64, then its UTF-8 bytes. All integers are little-endian.

    Args:
        seed: an int in [0, 2**64).
        name: the parameter's name.
        purpose: distinguishes several draws for one parameter.

    Raises:
        StreamError: the seed is not such an int, or a string has no UTF-8 form.

    >>> make_key(0, "fc.weight") == make_key(0, "fc.weight")
    True
    >>> make_key(0, "ab", "c") == make_key(0, "a", "bc")
    False
    """
    check_seed(seed)
    return key_from_bytes(key_bytes(seed, name, purpose))


def key_bytes(seed: int, name: str, purpose: str) -> bytes:
    """Return the 16 bytes of make_key's key, for a seed that was checked."""
    if not (isinstance(name, str) and isinstance(purpose, str)):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise StreamError(f"a name is {name!r} and its purpose {purpose!r}: pass texts")
    try:
        data, more = name.encode(), purpose.encode()
    except UnicodeEncodeError as error:
        raise StreamError(
            f"{error.object!r} has no UTF-8 form ({error.reason}): rename it"
        ) from error
    lengths = _LENGTHS(seed, len(data))
    return sha256(b"".join((DOMAIN, lengths, data, _LENGTH(len(more)), more))).digest()[:16]


def key_from_bytes(data: bytes) -> Key:
    """Return the key with these bytes."""
    return Key(*struct.unpack("<4I", data))


def philox4x32(counter: Tensor, key: tuple[int, int]) -> Tensor:
    """Philox4x32-10 on raw words.

    One round takes (c0, c1, c2, c3) to (hi(B c2) ^ c1 ^ k0, lo(B c2), hi(A c0) ^ c3 ^ k1,
    lo(A c0)) with A = 0xD2511F53 and B = 0xCD9E8D57; then the key words grow by 0x9E3779B9 and
    0xBB67AE85. Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (2011).

    Args:
        counter: int64 [4, n], each row one counter word in [0, 2**32).
        key: two words in [0, 2**32).

    Returns:
        int64 [n, 4] in [0, 2**32).
    """
    k0, k1 = key
    schedule = [((k0 + r * 0x9E3779B9 & 0xFFFFFFFF,), (k1 + r * 0xBB67AE85 & 0xFFFFFFFF,))
                for r in range(10)]  # fmt: skip
    even, odd = counter[0::2], counter[1::2]
    for round_key in torch.tensor(schedule, device="cpu").unbind():
        # int64 products wrap, yet hold all 64 bits; what lies above a low word is masked later.
        odd, above = (even * _MULTIPLIERS).flip(0), odd
        even = (odd >> _WORD).bitwise_xor_(above).bitwise_xor_(round_key).bitwise_and_(_MASK)
    return torch.stack((even[0], odd[0], even[1], odd[1]), dim=-1).bitwise_and_(_MASK)


def philox(key: Key, blocks: Tensor) -> Tensor:
    """Return the four random words of each block.

    Args:
        key: of :func:`make_key`.
        blocks: int64 of any shape [...], numbers from 0.

    Returns:
        int64 [..., 4] in [0, 2**32).

    >>> philox(make_key(0, "fc.weight"), torch.arange(3)).shape
    torch.Size([3, 4])
    """
    flat = blocks.reshape(-1)
    counter = torch.empty((4, flat.numel()), dtype=torch.int64, device="cpu")
    counter[0] = flat & _MASK
    counter[1] = flat >> _WORD
    counter[2] = key.high0
    counter[3] = key.high1
    return philox4x32(counter, (key.key0, key.key1)).view(*blocks.shape, 4)


def standard_uniform(words: Tensor) -> Tensor:
    """Return x in [-1, 1], symmetric: x = n / 2**31 with the odd n = (word - 2**31) | 1.

    Args:
        words: int64 of any shape, in [0, 2**32).

    Returns:
        float32 of that shape.
    """
    return (words - _HALF).bitwise_or_(_ODD).to(torch.float32).mul_(_UNIT)


def standard_normal(words: Tensor) -> Tensor:
    """Return the standard normal quantile z of p = (1 + x) / 2, with x as in the uniform.

    z = x P(t), where t is log2(1 - x^2) plus a constant, and P a polynomial of degree 15.
    y = 2^8 (1 - x^2) is 2^8 c (2 - c) with c = 1 - abs(x), taken from the integer, so that the
    tails keep their digits; its exponent e and its mantissa m in [1, 2) give t = m L(m) + e. Over
    all words: relative error below 9e-7, no value of abs(z) above 6.2303, and none is 0.

    Args:
        words: int64 of any shape, in [0, 2**32).

    Returns:
        float32 of that shape; grows with the word, to rounding.
    """
    n = (words - _HALF).bitwise_or_(_ODD)
    c = torch.sub(_HALF, n.abs()).to(torch.float32)
    bits = _fused(c, _SLOPE, _TWO).mul_(c).view(torch.int32)
    e = (bits >> _MANTISSA_BITS).sub_(_BIAS).to(torch.float64)
    m = bits.bitwise_and_(_DIGITS).bitwise_or_(_ONE).view(torch.float32).to(torch.float64)
    t = _fused(_horner(_LOG2, m), m, e).to(torch.float64)
    return _horner(_QUANTILE, t).mul_(n.to(torch.float32).mul_(_UNIT))


def _fused(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """Return float32(a b + c) for float32 numbers, where b and c are held in float64."""
    return a.to(torch.float64).mul_(b).add_(c).to(torch.float32)


def _horner(coefficients: tuple[Tensor, ...], x: Tensor) -> Tensor:
    """Evaluate a polynomial, highest power first, each step fused; x is held in float64."""
    y = (x * coefficients[0]).add_(coefficients[1]).to(torch.float32)
    for c in coefficients[2:]:
        y = _fused(y, x, c)
    return y


@lru_cache(maxsize=1024)
def cdf_word(bound: float) -> int:
    """Return round(2**32 * Phi(bound)), from the Taylor series in integers.

    No libm, whose erfc may differ in the last bit from one machine to the next. Exactly
    symmetric: cdf_word(-b) + cdf_word(b) == 2**32.
    """
    x = int(min(abs(bound), FARTHEST_CUT) * 2.0**64) << 64  # all numbers are scaled by 2**128
    half_square = x * x >> 129
    term, total, k = x, 0, 0
    while term:  # Phi(x) - 1/2 = sum of (-x^2/2)^k / k! * x / (2k + 1) / sqrt(2 pi)
        total += -(term // (2 * k + 1)) if k % 2 else term // (2 * k + 1)
        k += 1
        term = (term * half_square >> 128) // k
    above_half = total * INVERSE_ROOT_TWO_PI + (1 << 223) >> 224
    return (1 << 31) + (above_half if bound > 0 else -above_half)


@dataclass(frozen=True)  # no slots: torch.compile before 2.9 takes weak references to what it meets
class Law:
    """A distribution: value = loc + scale * z, each of the two operations rounded to float32.

    Values of a uniform or truncated law are then clamped to the law's bounds, rounded inward to
    float32; a cast to a smaller dtype afterwards may round onto or over a bound.

    Attributes:
        kind: ``normal``: z standard normal; ``uniform``: z uniform in [-1, 1]; ``truncated``: z
            standard normal on condition that low <= z <= high.
        loc: the middle, finite.
        scale: zero, or at least 2**-64 and 2**-20 of loc.
        low, high: of a truncated law, in units of scale around loc. No value of z lies beyond
            6.2, so a bound beyond it has no effect.

    Raises:
        StreamError: numbers that define no such law; the message says how to fix it.

    >>> Law.truncated(mean=0.0, std=0.02, low=-2.0, high=2.0)
    Law(kind='truncated', loc=0.0, scale=0.02, low=-2.0, high=2.0)
    """

    kind: Literal["normal", "uniform", "truncated"]
    loc: float
    scale: float
    low: float = -math.inf
    high: float = math.inf

    @classmethod
    def normal(cls, mean: float = 0.0, std: float = 1.0) -> Law:
        """Return the normal law.

        >>> Law.normal(0.0, 0.02).scale
        0.02
        """
        return cls("normal", mean, std)

    @classmethod
    def uniform(cls, low: float, high: float) -> Law:
        """Return the uniform law on [low, high].

        >>> Law.uniform(-1.0, 3.0)
        Law(kind='uniform', loc=1.0, scale=2.0, low=-inf, high=inf)
        """
        low, high = _as_float("low", low), _as_float("high", high)
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise StreamError(
                f"a uniform law on [{low}, {high}] is empty or endless: pass finite low < high"
            )
        return cls("uniform", low / 2 + high / 2, high / 2 - low / 2)

    @classmethod
    def truncated(cls, mean: float, std: float, low: float, high: float) -> Law:
        """Return the normal law cut at mean + low * std and mean + high * std.

        ``std`` is that of the normal law before it is cut.

        >>> Law.truncated(0.0, 1.0, -2.0, 2.0).high
        2.0
        """
        return cls("truncated", mean, std, low, high)

    def __post_init__(self) -> None:
        if self.kind not in ("normal", "uniform", "truncated"):
            raise StreamError(f"no law {self.kind!r}: pass 'normal', 'uniform' or 'truncated'")
        for field in ("loc", "scale", "low", "high"):
            object.__setattr__(self, field, _as_float(field, getattr(self, field)))
        _check_law(self)


def _as_float(field: str, value: object) -> float:
    """Return the number as a float; raise StreamError for NaN or what isn't a number."""
    if type(value) is not float and (isinstance(value, bool) or not isinstance(value, Real)):
        raise StreamError(f"{field} is {value!r}, not a number: pass a float")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if math.isnan(number):
        raise StreamError(f"{field} is NaN: pass a number")
    return number


def _check_law(law: Law) -> None:
    """Raise StreamError unless the law's numbers make sense together."""
    loc, scale, low, high = law.loc, law.scale, law.low, law.high
    if scale < 0:
        raise StreamError(f"the scale {scale} is negative: pass {-scale}, or 0 for a constant")
    if 0 < scale < LEAST_SCALE:
        raise StreamError(f"the scale {scale} is below 2**-64: pass 0 for a constant")
    if not abs(loc) + LIMIT * scale < torch.finfo(torch.float32).max:
        raise StreamError(
            f"loc {loc} with scale {scale} is beyond float32: pass finite numbers below 1e37"
        )
    if 0 < scale < LEAST_SHARE * abs(loc):
        raise StreamError(
            f"the scale {scale} is below 2**-20 of loc {loc}, where float32 has hardly a value: "
            "pass a larger one, or 0 for a constant"
        )
    if law.kind != "truncated":
        if (low, high) != (-math.inf, math.inf):
            raise StreamError(
                f"low and high are a truncated law's, not a {law.kind} one's: "
                "use Law.truncated, or Law.uniform(low, high)"
            )
        return
    if low >= high:
        raise StreamError(f"the interval [{low}, {high}] is empty: pass low < high")
    mass = (cdf_word(high) - cdf_word(low)) / 2**32
    if mass < LEAST_MASS:
        raise StreamError(
            f"the interval [{low}, {high}] has the probability {mass:.2g} under a standard "
            "normal, below 2**-16: pass a wider one, or use Law.uniform"
        )
    least, greatest = float32_bounds(law)
    if least > greatest:
        raise StreamError(
            f"no float32 lies between loc + scale * low and loc + scale * high, with loc {loc}, "
            f"scale {scale}: pass a larger scale, or 0 for a constant"
        )


@lru_cache(maxsize=1024)
def float32_bounds(law: Law) -> tuple[float, float]:
    """Return the least and the greatest float32 value that the law allows; a normal's: infinite.

    >>> float32_bounds(Law.uniform(-1.0, 0.5))
    (-1.0, 0.5)
    """
    if law.kind == "normal" or law.scale == 0:
        return -math.inf, math.inf
    low, high = (-1.0, 1.0) if law.kind == "uniform" else (law.low, law.high)
    least = -_float32_below(-law.loc - law.scale * low)
    greatest = _float32_below(law.loc + law.scale * high)
    # No zero has a sign: machines differ in which of 0.0 and -0.0 is the greater.
    return least + 0.0, greatest + 0.0


def _float32_below(value: float) -> float:
    """Return the greatest float32 that is not above the value."""
    nearest = torch.tensor(value, dtype=torch.float32, device="cpu")
    if nearest.item() > value:
        nearest = torch.nextafter(nearest, nearest.new_tensor(-math.inf))
    return nearest.item()


def values(law: Law, words: Tensor) -> Tensor:
    """Return the law's value of each word.

    A truncated law draws by inversion: the word u becomes lo + (u * width >> 32), where lo and
    lo + width are 2**32 Phi(low) and 2**32 Phi(high), rounded; its quantile is the value.

    Args:
        law: the distribution.
        words: int64 of any shape, in [0, 2**32).

    Returns:
        float32 of that shape.

    >>> values(Law.uniform(0.0, 1.0), torch.tensor([0, 2**31, 2**32 - 1]))
    tensor([0.0000, 0.5000, 1.0000])
    """
    if law.kind == "uniform":
        z = standard_uniform(words)
    elif law.kind == "normal":
        z = standard_normal(words)
    else:
        lo = cdf_word(law.low)
        width = cdf_word(law.high) - lo
        z = standard_normal((words * width >> _WORD).bitwise_and_(_MASK).add_(lo))
    z.mul_(law.scale).add_(law.loc)
    return z if law.kind == "normal" else z.clamp_(*float32_bounds(law))

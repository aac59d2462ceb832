"""The frozen definition of goodinit's random numbers, version v0, in plain torch.

This file is the slow reference: every faster kernel must return the same bits.

- A *key* is the first 16 bytes of SHA-256 over (version, seed, name, purpose).
- The tensor's element with row-major index i uses word ``i % 4`` of Philox4x32-10's block
  ``i // 4``. It depends on nothing else: no order of drawing, chunk, thread, device or shard.
- A *sampler* turns that one uint32 word into a standard value, float32.
- A *law* scales and shifts it: ``loc + scale * z``, rounded to float32 after the product and
  again after the sum. Any other dtype is one cast of that float32.

The samplers use only IEEE float32 sums and products, int-to-float conversions (to nearest,
ties to even) and integer operations: no libm, square root, division or branch. These round
the same everywhere if no compiler contracts a product and a sum to one fused operation:
contraction changes about half of the values, so a kernel must be built without it
(``-ffp-contract=off``; in Triton ``enable_fp_fusion=False``).

The sampler is a float polynomial, and not integers throughout, which would have no such trap,
because of speed: each step is one vector instruction without a table. This design was measured
at 2.6 times the speed of torch's ``normal_`` on a single thread; a table of integer cubics
reached 1.1.
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

VERSION = "v0"

DOMAIN = f"goodinit.streams.{VERSION}\0".encode()
"""What every key's hash begins with."""

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
"""Of loc; within a smaller scale float32 has fewer than 8 values, and finally none."""

LEAST_MASS = 2.0**-16
"""A truncation that keeps less than this would have too few distinct values."""

INVERSE_ROOT_TWO_PI = 0x662114CF50D942343F2CF1402EAE38BF  # 2**128 / sqrt(2 pi), floor

# -log2(1 + f) = f L(f), with 1 + f in [sqrt(1/2), sqrt(2)): absolute error 5e-8.
# Highest power first; every decimal is exactly a float32. Made by tools/fit_normal.py.
LOG2 = (
    0.14574521780014038,  # f^7
    -0.23689179122447968,  # f^6
    0.25006937980651855,  # f^5
    -0.2867072820663452,  # f^4
    0.36008715629577637,  # f^3
    -0.48093944787979126,  # f^2
    0.7213571667671204,  # f
    -1.4426947832107544,  # 1
)

# z = x P(t), t = w - CENTRE, w = -log2(1 - x^2) in [0, 30]: relative error of z 2.2e-7 before
# float32's own rounding.
CENTRE = 12
QUANTILE = (
    -1.5767331680513094e-19,  # t^15
    7.885613695502744e-18,  # t^14
    -5.367502533834937e-17,  # t^13
    -3.4374744228100797e-15,  # t^12
    6.89780806258089e-14,  # t^11
    -3.298423207199856e-14,  # t^10
    -1.0953734447260999e-11,  # t^9
    1.4567855255442907e-10,  # t^8
    -1.5399137520688555e-09,  # t^7
    1.7094189175281826e-08,  # t^6
    -5.985830853205698e-08,  # t^5
    -3.048972757824231e-06,  # t^4
    0.0001102923633879982,  # t^3
    -0.0032800245098769665,  # t^2
    0.16979724168777466,  # t
    3.8423852920532227,  # 1
)

# Zero-dimensional tensors: as operands they are about three times faster than Python numbers.
_LOG2 = torch.tensor(LOG2, dtype=torch.float32, device="cpu").unbind()
_QUANTILE = torch.tensor(QUANTILE, dtype=torch.float32, device="cpu").unbind()
_UNIT, _TWO, _MINUS_ONE = torch.tensor(
    (2.0**-31, 2.0, -1.0), dtype=torch.float32, device="cpu"
).unbind()
_MASK, _HALF, _ODD, _WORD = torch.tensor((0xFFFFFFFF, 1 << 31, 1, 32), device="cpu").unbind()
_ROOT_HALF, _EXPONENT, _MANTISSA_BITS, _CENTRE = (
    torch.tensor((0x3F3504F3, -0x800000, 23, CENTRE), device="cpu").int().unbind()
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
        raise StreamError(f"the seed is {given!r}, not an int: pass {fix}")
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

    z = x P(w - CENTRE), w = -log2(1 - x^2), P a polynomial of degree 15. 1 - x^2 is c (2 - c)
    with c = 1 - abs(x), taken from the integer, so that the tails keep their digits. Over all
    words: relative error below 6.3e-7, no value of abs(z) above 6.2305.

    Args:
        words: int64 of any shape, in [0, 2**32).

    Returns:
        float32 of that shape; grows with the word, to rounding.
    """
    n = (words - _HALF).bitwise_or_(_ODD)
    c = torch.sub(_HALF, n.abs()).to(torch.float32).mul_(_UNIT)
    bits = torch.sub(_TWO, c).mul_(c).view(torch.int32)
    exponent = (bits - _ROOT_HALF).bitwise_and_(_EXPONENT)  # so that 1 + f is around 1
    f = bits.sub_(exponent).view(torch.float32).add_(_MINUS_ONE)
    shift = exponent.bitwise_right_shift_(_MANTISSA_BITS).add_(_CENTRE).to(torch.float32)
    t = _horner(_LOG2, f).mul_(f).sub_(shift)
    return _horner(_QUANTILE, t).mul_(n.to(torch.float32).mul_(_UNIT))


def _horner(coefficients: tuple[Tensor, ...], x: Tensor) -> Tensor:
    """Evaluate a polynomial, highest power first, with each product and each sum rounded."""
    y = (x * coefficients[0]).add_(coefficients[1])
    for c in coefficients[2:]:
        y.mul_(x).add_(c)
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
    """Return the number as a float; raise StreamError if it is none, or NaN."""
    if isinstance(value, bool) or not isinstance(value, Real):
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

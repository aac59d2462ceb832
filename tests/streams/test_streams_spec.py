# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
"""The frozen definition: known answers, golden bits, an independent second implementation."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from goodinit.errors import StreamError
from goodinit.streams import VERSION, Key, Law, Stream, make_key, spec
from goodinit.streams.stream import philox_words

pytestmark = pytest.mark.filterwarnings("error")

words32 = st.integers(0, 2**32 - 1)


def reference_philox(counter: list[int], key: list[int]) -> list[int]:
    """The paper's Philox4x32-10, a line for a line, in Python's integers."""
    c, k = list(counter), list(key)
    for _ in range(10):
        hi0, lo0 = divmod(0xD2511F53 * c[0], 2**32)
        hi1, lo1 = divmod(0xCD9E8D57 * c[2], 2**32)
        c = [hi1 ^ c[1] ^ k[0], lo1, hi0 ^ c[3] ^ k[1], lo0]
        k = [(k[0] + 0x9E3779B9) % 2**32, (k[1] + 0xBB67AE85) % 2**32]
    return c


def raw(counter: list[int], key: list[int]) -> list[int]:
    return spec.philox4x32(torch.tensor(counter)[:, None], (key[0], key[1]))[0].tolist()


@pytest.mark.parametrize(
    ("counter", "key", "answer"),
    [
        ([0] * 4, [0] * 2, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            [0xA4093822, 0x299F31D0],
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
)
def test_random123_known_answers(counter: list[int], key: list[int], answer: str) -> None:
    expected = [int(word, 16) for word in answer.split()]
    assert raw(counter, key) == expected
    assert reference_philox(counter, key) == expected


def test_ten_thousandth_value_of_cpp26_philox4x32() -> None:
    words = spec.philox(Key(20111115, 0, 0, 0), torch.arange(2500)).view(-1)
    assert words[9999] == 1955073260


def test_randomgen_agrees() -> None:
    randomgen: Any = pytest.importorskip("randomgen")
    theirs = randomgen.Philox(key=5 + (7 << 32), counter=0, number=4, width=32)
    ours = spec.philox(Key(5, 7, 0, 0), torch.arange(1, 101))  # theirs counts before it draws
    assert theirs.random_raw(400).tolist() == ours.view(-1).tolist()


@given(st.lists(words32, min_size=4, max_size=4), st.lists(words32, min_size=2, max_size=2))
def test_philox_is_the_slow_reference(counter: list[int], key: list[int]) -> None:
    assert raw(counter, key) == reference_philox(counter, key)


@given(st.builds(Key, words32, words32, words32, words32), st.data())
def test_blocks_count_the_low_counter_words(key: Key, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, 2**61 - 300) | st.integers(2**32 - 9, 2**32))
    count = data.draw(st.integers(1, 9))
    expected = [
        reference_philox([block % 2**32, block >> 32, key.high0, key.high1], [key.key0, key.key1])
        for block in range(first, first + count)
    ]
    assert spec.philox(key, torch.arange(first, first + count)).tolist() == expected
    assert philox_words(key, first, count).view(-1, 4).tolist() == expected


def test_blocks_of_any_shape() -> None:
    key = make_key(0, "w")
    assert torch.equal(
        spec.philox(key, torch.arange(6).view(2, 3)),
        spec.philox(key, torch.arange(6)).view(2, 3, 4),
    )


def test_golden_keys() -> None:
    assert VERSION == "v1"
    assert make_key(7, "fc.weight") == Key(795378811, 2143578258, 3844718055, 1471418538)
    assert make_key(2**64 - 1, "größe", "q") == Key(694116854, 2933822046, 3972736694, 688655564)


def test_key_layout() -> None:
    data = b"goodinit.streams.v0\0" + (3).to_bytes(8, "little")
    for text in (b"ab", b"c"):
        data += len(text).to_bytes(8, "little") + text
    digest = hashlib.sha256(data).digest()
    key = make_key(3, "ab", "c")
    for i, word in enumerate((key.key0, key.key1, key.high0, key.high1)):
        assert word == int.from_bytes(digest[4 * i : 4 * i + 4], "little")


def test_keys_differ() -> None:
    keys = {make_key(s, n, p) for s in (0, 1, 2**63) for n in ("", "a", "ab") for p in ("", "b")}
    assert len(keys) == 18


@pytest.mark.parametrize("seed", [-1, 2**64, True, 1.0, "0", None, np.int64(3)])
def test_bad_seeds(seed: Any) -> None:
    for make in (lambda: make_key(seed, "w"), lambda: Stream(seed)):
        with pytest.raises(StreamError, match=r"seed.*pass"):
            make()


def test_name_without_utf8() -> None:
    with pytest.raises(StreamError, match="rename"):
        make_key(0, "\ud800")


# Golden bits of (seed 7, "fc.weight"): the first 8 values, SHA-256 of 10**6 float32 and bfloat16.
GOLDEN = [
    (
        Law.normal(0.5, 0.02),
        (
            "0x1.f6a47ap-2 0x1.09757p-1 0x1.ffb89ep-2 0x1.0146bp-1 "
            "0x1.053068p-1 0x1.03d078p-1 0x1.0d9db2p-1 0x1.0ba15p-1"
        ),
        "542d501aac24bbd666ca60814197e5a7891a2794fdc7c880589a50bc12116d2b",
        "e896f9406828349b0eeeceb3372dfe762227831edd0b299dfaaf352ea11d0000",
    ),
    (
        Law.uniform(-0.1, 0.3),
        (
            "0x1.e41988p-6 0x1.d4badcp-3 0x1.90b37cp-4 0x1.ead894p-4 "
            "0x1.6b96a4p-3 0x1.43c72ep-3 0x1.0d982cp-2 0x1.fd84a8p-3"
        ),
        "ea695bc630d8069fd86e941780f6a04ceb19d0ee8ae15b8348b392f95286a070",
        "bfc67e874d20e0392a8149dd51c5c22dedb92f4d0b4430c1e64fe0f9770ae7fe",
    ),
    (
        Law.truncated(0.0, 0.02, -2.0, 1.5),
        (
            "-0x1.36e46cp-7 0x1.e70446p-7 -0x1.62c18p-10 0x1.3p-10 "
            "0x1.046884p-7 0x1.6ecbf8p-8 0x1.531036p-6 0x1.27c308p-6"
        ),
        "315f7511f288c1c78d55db001e2104cd36fa087be42f72bcb60e5103d9bd50d5",
        "7285ce565f06d827904f22963476d7d4e1974ad463b8f6d9fb44d8705d121102",
    ),
]


@pytest.mark.parametrize(("law", "head", "float32", "bfloat16"), GOLDEN)
def test_golden_values(law: Law, head: str, float32: str, bfloat16: str) -> None:
    drawn = Stream(7).draw("fc.weight", law, (10**6,))
    assert drawn[:8].tolist() == [float.fromhex(h) for h in head.split()]
    assert sha256(drawn) == float32
    assert sha256(Stream(7).draw("fc.weight", law, (10**6,), dtype=torch.bfloat16)) == bfloat16


def sha256(x: torch.Tensor) -> str:
    return hashlib.sha256(x.view(torch.uint8).numpy().tobytes()).hexdigest()


def numpy_normal(words: np.ndarray[Any, Any], fuse: bool = True) -> np.ndarray[Any, Any]:
    """The normal sampler once more, in numpy; with each product rounded unless ``fuse``.

    The product of two float32 is exact in float64. The sum is rounded to float64 and then to
    float32, which test_magnitudes.py compares with one rounding.
    """
    f32 = np.float32

    def multiply_add(y: Any, x: Any, c: Any) -> Any:
        if fuse:
            return (y.astype(np.float64) * x + c).astype(f32)
        return y * f32(x) + f32(c)

    n = (words - 2**31) | 1
    c = (2**31 - np.abs(n)).astype(f32)
    bits = (c * multiply_add(c, -(2.0**-54), 2.0**-22)).view(np.int32)
    e = (bits >> 23) - 127
    m = (bits - (e << 23)).view(f32)
    y = np.full_like(m, spec.LOG2[0])
    for k in spec.LOG2[1:]:
        y = multiply_add(y, m, k)
    t = multiply_add(y, m, e.astype(f32))
    y = np.full_like(m, spec.QUANTILE[0])
    for k in spec.QUANTILE[1:]:
        y = multiply_add(y, t, k)
    return y * (n.astype(f32) * f32(2.0**-31))


def some_words() -> torch.Tensor:
    edges = [0, 1, 2, 2**31 - 2, 2**31 - 1, 2**31, 2**31 + 1, 2**32 - 2, 2**32 - 1]
    powers = [2**k + d for k in range(2, 32) for d in (-1, 0, 1)]
    drawn = spec.philox(make_key(0, "words"), torch.arange(100_000)).view(-1)
    return torch.cat((torch.tensor(edges + powers + [2**32 - p for p in powers]), drawn))


def test_numpy_has_the_same_bits() -> None:
    words = some_words()
    assert np.array_equal(spec.standard_normal(words).numpy(), numpy_normal(words.numpy()))


def test_the_steps_are_fused() -> None:
    """A kernel that rounds the products of the polynomials' steps doesn't draw v1."""
    words = some_words()
    plain = numpy_normal(words.numpy(), fuse=False)
    fused = spec.standard_normal(words).numpy()
    assert np.mean(fused != plain) > 0.2
    np.testing.assert_allclose(fused, plain, rtol=4e-6)


def test_symmetry_and_range() -> None:
    words = some_words()
    for sampler in (spec.standard_uniform, spec.standard_normal):
        z = sampler(words)
        assert torch.equal(sampler(2**32 - 1 - words), -z)
        assert torch.equal(z < 0, words < 2**31)
    assert spec.standard_uniform(words).abs().max() == 1.0
    largest = spec.standard_normal(torch.tensor([2**32 - 1])).item()
    assert 6.2302 < largest < 6.2304 < spec.LIMIT


def test_monotone_to_rounding() -> None:
    z = spec.standard_normal(some_words().sort().values).double()
    assert ((z[:-1] - z[1:]) / z[1:].abs()).max() < 6e-7


def test_cdf_word() -> None:
    with_erfc = [(b / 50, 2**31 * math.erfc(-b / 50 / math.sqrt(2))) for b in range(-400, 401)]
    for bound, expected in with_erfc:
        assert abs(spec.cdf_word(bound) - expected) < 0.5001
        assert spec.cdf_word(bound) + spec.cdf_word(-bound) == 2**32
    assert (spec.cdf_word(-math.inf), spec.cdf_word(math.inf)) == (0, 2**32)


def test_truncation_without_bounds_is_the_normal() -> None:
    words = some_words()
    law = Law.truncated(1.0, 3.0, -math.inf, math.inf)
    assert torch.equal(spec.values(law, words), spec.values(Law.normal(1.0, 3.0), words))


@given(
    st.floats(-4, 4),
    st.floats(0.01, 8),
    st.floats(-10, 10),
    st.one_of(st.just(0.0), st.floats(1e-3, 10)),
)
def test_truncated_values_keep_their_bounds(
    low: float, width: float, mean: float, std: float
) -> None:
    if spec.cdf_word(low + width) - spec.cdf_word(low) < 2**16:
        return
    law = Law.truncated(mean, std, low, low + width)
    drawn = spec.values(law, torch.tensor([0, 1, 2**31, 2**32 - 2, 2**32 - 1])).tolist()
    if std == 0:
        assert set(drawn) == {float(np.float32(mean))}
    else:
        assert min(drawn) >= mean + std * low
        assert max(drawn) <= mean + std * (low + width)


@given(st.floats(-100, 100), st.floats(1e-3, 100))
def test_uniform_values_keep_their_bounds(low: float, width: float) -> None:
    drawn = spec.values(Law.uniform(low, low + width), torch.tensor([0, 2**32 - 1])).tolist()
    slack = 1e-14 * (abs(low) + width)  # the middle and the half width are rounded to float64
    assert low - slack <= drawn[0] < drawn[1] <= low + width + slack


def test_laws_take_any_real_numbers() -> None:
    assert Law.normal(0, 1) == Law.normal(0.0, 1.0)
    assert Law.normal(0.0, np.float32(0.5)).scale == 0.5  # pyright: ignore[reportArgumentType]


nan, inf = math.nan, math.inf
WRONG: Any = "gamma"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Law.normal(nan, 1.0), "loc is NaN"),
        (lambda: Law.normal(0.0, nan), "scale is NaN"),
        (lambda: Law.normal(inf, 1.0), "beyond float32"),
        (lambda: Law.normal(0.0, inf), "beyond float32"),
        (lambda: Law.normal(0.0, 1e38), "beyond float32"),
        (lambda: Law.normal(10**400, 1.0), "beyond float32"),
        (lambda: Law.normal(0.0, -0.1), "negative: pass 0.1"),
        (lambda: Law.normal(0.0, 1e-30), "pass 0 for a constant"),
        (lambda: Law.normal(0.0, True), "not a number"),
        (lambda: Law.normal(WRONG, 1.0), "not a number"),
        (lambda: Law.uniform(1.0, 1.0), "low < high"),
        (lambda: Law.uniform(2.0, 1.0), "low < high"),
        (lambda: Law.uniform(-inf, 1.0), "finite"),
        (lambda: Law.uniform(nan, 1.0), "low is NaN"),
        (lambda: Law.uniform(-3e38, 3e38), "beyond float32"),
        (lambda: Law.truncated(0.0, 1.0, 2.0, -2.0), "pass low < high"),
        (lambda: Law.truncated(0.0, 1.0, nan, 2.0), "low is NaN"),
        (lambda: Law.truncated(0.0, 1.0, 4.5, 9.0), r"probability 3.4e-06.*Law.uniform"),
        (lambda: Law.truncated(0.0, 1.0, 7.0, 9.0), "probability 0 .*wider"),
        (lambda: Law.truncated(1.1, 2e-6, 0.0, 5e-5), "no float32"),
        (lambda: Law.normal(1.0, 1e-9), "hardly a value: pass a larger"),
        (lambda: Law.uniform(0.1, 0.1000000001), "hardly a value"),
        (lambda: Law("normal", 0.0, 1.0, -1.0, 1.0), "Law.truncated"),
        (lambda: Law(WRONG, 0.0, 1.0), "no law 'gamma'"),
    ],
)
def test_bad_laws(make: Any, message: str) -> None:
    with pytest.raises(StreamError, match=message):
        make()


def test_ambient_device_and_dtype_do_not_matter() -> None:
    expected = Stream(0).draw("w", Law.truncated(0.0, 1.0, -2.0, 2.5), (3, 5))
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"):
            drawn = Stream(0).draw("w", Law.truncated(0.0, 1.0, -2.0, 2.5), (3, 5))
    finally:
        torch.set_default_dtype(before)
    assert torch.equal(drawn, expected)

"""Whether a dtype can hold a scheme's values."""

from __future__ import annotations

from functools import lru_cache

import torch

from goodinit.errors import SchemeError
from goodinit.schemes.fans import Site
from goodinit.schemes.scheme import Scheme
from goodinit.schemes.values import Drawn
from goodinit.streams.spec import REACH, Law, float32_bounds
from goodinit.streams.stream import FLOAT8, Stream

SAMPLE = 4096  # values: a share is then known to a hundredth
NARROW = (torch.float16, *FLOAT8)  # the others reach as far as float32


def check_range(scheme: Scheme, site: Site, dtype: torch.dtype) -> None:
    """Raise where a scheme's values would be infinite in a dtype, or all of them 0.

    Half precision and smaller: float16 ends at 65504, and rounds what is below 3e-8 to 0.
    """
    if dtype not in NARROW:
        return
    mean, std = scheme.moments(site)
    reach = abs(mean) + REACH * std
    if isinstance(scheme, Drawn) and std > 0:
        law = scheme.law(site)
        low, high = float32_bounds(law)
        least, greatest = law.loc - REACH * law.scale, law.loc + REACH * law.scale
        reach = max(abs(max(low, least)), abs(min(high, greatest)))
    limits = torch.finfo(dtype)
    if reach > limits.max:
        raise SchemeError(
            f"{scheme!r} has values up to {reach:.3g}, and {dtype} ends at {limits.max:.5g}: pass "
            "a smaller one, or keep the parameter in float32"
        )
    if 0 < reach < limits.smallest_normal * limits.eps / 2:
        raise SchemeError(
            f"{scheme!r} has values up to {reach:.3g}, which are all 0 in {dtype}: pass a larger "
            "one, or keep the parameter in float32"
        )


@lru_cache(maxsize=512)
def share_of_zeros(scheme: Scheme, site: Site, dtype: torch.dtype) -> float:
    """Return the share of a scheme's values that are 0 in a dtype, from a sample of them.

    >>> from goodinit.schemes import Normal
    >>> share_of_zeros(Normal(0.001), Site((4,)), torch.float8_e4m3fn) > 0.5
    True
    """
    if dtype not in NARROW:
        return 0.0
    mean, std = scheme.moments(site)
    if not std > 0:
        return 0.0
    law = scheme.law(site) if isinstance(scheme, Drawn) else Law.normal(mean, std)
    sample = Stream(0).draw("sample", law, (SAMPLE,))
    return (sample.to(dtype).float() == 0).double().mean().item()

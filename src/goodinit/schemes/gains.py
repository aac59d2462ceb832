r"""What an activation does to the second moment of a unit Gaussian, for any callable.

With z ~ N(0, 1), in float64 by quadrature:

- forward, ``second_moment`` = E[f(z)^2], and ``gain`` = 1/sqrt of it, the factor on the weights
  that keeps the second moment where it is (He et al., 2015, for relu);
- backward, ``derivative_second_moment`` = E[f'(z)^2];
- ``slope``, of the variance map q -> gain^2 E[f(sqrt(q) z)^2] at its fixed point q = 1
  (Poole et al., 2016). Above 1, an error in the variance grows from layer to layer.

These are the true numbers. Torch's gains are 5/3 for tanh, 3/4 for selu and 1 for sigmoid, and
there are none for gelu, silu and most others; ``calculate_gain`` keeps torch's where there are any.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Mapping
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional

from goodinit.errors import SchemeError, nearest
from goodinit.schemes import fields
from goodinit.schemes.quadrature import integrate, ten_digits

Nonlinearity = str | Callable[[Tensor], Tensor]

END = 38
"""Beyond it the Gaussian density is 0 in float64. Edges at every quarter up to it include the kinks
of all functions in NONLINEARITIES."""

FINE_END, FINE_EDGES = 8, 4096
"""A second look at what seems to be 0 everywhere: a million points, at most 2e-5 apart, in the
range that holds all but 1e-15 of the density."""

_NO_NUMBERS = ("inplace", "training")  # which follow the input of functions without parameters

NEGLIGIBLE = 1e-9
"""An integrand larger than this share of the integral at END has not vanished there."""


def _identity(z: Tensor) -> Tensor:
    return z


def _prelu(z: Tensor, weight: float = 0.25) -> Tensor:
    return functional.leaky_relu(z, weight)


def _gelu_tanh(z: Tensor) -> Tensor:
    return functional.gelu(z, approximate="tanh")


_CONVOLUTIONS = [f"conv{t}{d}d" for t in ("", "_transpose") for d in (1, 2, 3)]

NONLINEARITIES: Mapping[str, Callable[..., Tensor]] = {
    "linear": _identity,
    "identity": _identity,
    **dict.fromkeys(_CONVOLUTIONS, _identity),
    "celu": functional.celu,
    "elu": functional.elu,
    "gelu": functional.gelu,
    "gelu_tanh": _gelu_tanh,
    "hardshrink": functional.hardshrink,
    "hardsigmoid": functional.hardsigmoid,
    "hardswish": functional.hardswish,
    "hardtanh": functional.hardtanh,
    "leaky_relu": functional.leaky_relu,
    "logsigmoid": functional.logsigmoid,
    "mish": functional.mish,
    "prelu": _prelu,
    "relu": functional.relu,
    "relu6": functional.relu6,
    "rrelu": functional.rrelu,
    "selu": functional.selu,
    "sigmoid": torch.sigmoid,
    "silu": functional.silu,
    "sin": torch.sin,
    "softplus": functional.softplus,
    "softshrink": functional.softshrink,
    "softsign": functional.softsign,
    "swish": functional.silu,
    "tanh": torch.tanh,
    "tanhshrink": functional.tanhshrink,
    "threshold": functional.threshold,
}
"""The names ``gain`` knows, those of ``torch.nn.functional``, with their functions."""

TORCH_GAINS: Mapping[str, float] = {
    **dict.fromkeys(["linear", *_CONVOLUTIONS], 1),
    "sigmoid": 1,
    "tanh": 5 / 3,
    "relu": math.sqrt(2.0),
    "selu": 3 / 4,
}
"""``torch.nn.init.calculate_gain``'s. True, from E[f(z)^2]: sigmoid 1.846, tanh 1.593, selu 1."""


def gain(nonlinearity: Nonlinearity, param: float | None = None, **params: float | str) -> float:
    r"""Return 1/sqrt(E[f(z)^2]), z ~ N(0, 1): the gain that keeps the second moment at 1.

    Args:
        nonlinearity: a name of ``NONLINEARITIES`` (case doesn't count), or any elementwise
            callable on float64 tensors (a module too). Results for names are cached; those for
            callables are not, because a callable may have state.
        param: the function's first own parameter, as for ``torch.nn.init.calculate_gain``:
            ``negative_slope`` of leaky_relu.
        params: the function's own keyword arguments (``negative_slope``, ``alpha``, ...).

    Raises:
        SchemeError: an unknown name; a ``param`` of a function that has none; a callable that
            raises, mixes elements, is random, or is NaN or infinite somewhere; a function that is
            0 everywhere.

    Example:
        >>> round(gain("relu"), 6), round(gain("gelu"), 3), round(gain("tanh"), 3)
        (1.414214, 1.534, 1.593)
        >>> round(gain("leaky_relu", 0.2), 6)  # sqrt(2 / (1 + .2^2))
        1.38675
        >>> round(gain(lambda z: z.relu() ** 2), 6)  # 1/sqrt(3/2)
        0.816497
    """
    if param is not None:
        params[_first_parameter(nonlinearity)] = param
    return math.sqrt(1 / second_moment(nonlinearity, **params))


def _first_parameter(nonlinearity: Nonlinearity) -> str:
    """Return the name of a function's first parameter beside its input."""
    if not isinstance(nonlinearity, str):
        raise SchemeError(
            f"param= goes with a name, and {label_of(nonlinearity)} is a function. Write "
            f"gi.gain(lambda z: function(z, param))"
        )
    name = known_name(nonlinearity)
    try:
        names = list(inspect.signature(NONLINEARITIES[name]).parameters)[1:]
    except (KeyError, ValueError):  # some of torch's functions don't show theirs
        names = []
    if not names or names[0] in _NO_NUMBERS:
        raise SchemeError(f"{name!r} takes no param here. Write gi.gain({name!r})")
    return names[0]


def second_moment(nonlinearity: Nonlinearity, **params: float | str) -> float:
    """Return E[f(z)^2], z ~ N(0, 1). Arguments and errors as for ``gain``.

    >>> second_moment("relu")
    0.5
    """
    return _moments(_forward, nonlinearity, params)[0]


def slope(nonlinearity: Nonlinearity, **params: float | str) -> float:
    r"""Return the slope at q = 1 of the variance map q -> gain^2 E[f(sqrt(q) z)^2].

    By Price's theorem it is E[(z^2 - 1) f(z)^2] / (2 E[f(z)^2]), which needs no derivative and so
    holds for functions with jumps. Below 1 the fixed point is stable, above 1 it is not: gelu and
    silu are unstable even with the right gain. Arguments and errors as for ``gain``.

    Example:
        >>> [round(slope(f), 3) for f in ("relu", "gelu", "silu", "hardswish", "tanh")]
        [1.0, 1.144, 1.173, 1.224, 0.461]
    """
    return _moments(_forward, nonlinearity, params)[1]


def derivative_second_moment(nonlinearity: Nonlinearity, **params: float | str) -> float:
    """Return E[f'(z)^2], z ~ N(0, 1), with the f' that autograd computes.

    Arguments and errors as for ``gain``. With weights of variance gain^2/fan, one layer
    multiplies the gradient's second moment by ``gain(f)**2 * derivative_second_moment(f)``.

    >>> derivative_second_moment("relu"), round(derivative_second_moment("gelu"), 3)
    (0.5, 0.456)
    """
    return _moments(_backward, nonlinearity, params)[0]


def expected_squares(nonlinearity: Nonlinearity, variance: float) -> tuple[float, float]:
    """Return (E[f(u)^2], E[f'(u)^2]), u ~ N(0, variance); 0 where f is 0 there.

    Arguments and errors as for ``gain``.

    >>> expected_squares("relu", 4.0)
    (2.0, 0.5)
    """
    if isinstance(nonlinearity, str):
        second_moment(nonlinearity)  # raises if there is no such name
        nonlinearity = NONLINEARITIES[nonlinearity]
    if not callable(nonlinearity):
        raise SchemeError(_no_nonlinearity(nonlinearity))
    f, root = nonlinearity, math.sqrt(variance)

    def scaled(z: Tensor) -> Tensor:
        return f(root * z)

    scaled.__name__ = f"{label_of(f)}({root:.4g} z)"
    _refuse_mixing(scaled, scaled)

    def integrand(z: Tensor) -> Tensor:
        return evaluate(scaled, z, scaled).detach().mul(_root_density(z)).square()[None]

    (forward,) = _expectations(integrand, scaled)
    (backward,) = _backward(scaled, scaled)
    return ten_digits(forward), ten_digits(backward / variance)


def calculate_gain(nonlinearity: Nonlinearity, param: float | None = None) -> float:
    r"""Return the gain of a nonlinearity: torch's number where torch has one, else the true one.

    =============================  ==============================================
    nonlinearity                   gain
    =============================  ==============================================
    linear, conv*, sigmoid         1
    tanh                           5/3
    relu                           sqrt(2)
    leaky_relu                     sqrt(2 / (1 + negative_slope^2))
    selu                           3/4
    gelu, silu (swish), mish, elu  1/sqrt(E[f(z)^2]), z ~ N(0, 1): 1.534, 1.677,
    softplus, hardswish, ...       1.487, 1.245, 1.042, 1.737
    glu                            1/sqrt(E[(z1 sigmoid(z2))^2]) = 1.846
    a callable                     1/sqrt(E[f(z)^2]), by quadrature
    =============================  ==============================================

    The true gain keeps the second moment of a signal (He et al., 2015). Some of torch's differ:
    the true gain of tanh is 1.593, of selu 1.000, of sigmoid 1.846. ``goodinit.gain`` returns
    those, and so does a callable: ``calculate_gain(torch.tanh)``. Use ``"linear"`` for
    self-normalizing networks.

    glu halves its inputs, z1 * sigmoid(z2). Its gain is for the weights of the half z1, with gain
    1 for the gate's, so that z2 ~ N(0, 1). The same applies to its variants: ``"gelu"`` is the gain
    of z1 * gelu(z2), ``"silu"`` that of swiglu.

    Args:
        nonlinearity: a name of ``torch.nn.functional``, or an elementwise callable on float64
            tensors, such as a module.
        param: ``negative_slope`` of leaky_relu, .01 if None. As in torch it is ignored with the
            other names that torch knows; with any other nonlinearity it must be None.

    Raises:
        SchemeError: a ValueError: an unknown name, a slope that is not a number, a param with a
            nonlinearity that torch doesn't know, a callable that has no gain.

    Example:
        >>> calculate_gain("relu") == 2**0.5, round(calculate_gain("leaky_relu", 0.2), 6)
        (True, 1.38675)
        >>> round(calculate_gain("gelu"), 3), round(calculate_gain("glu"), 3)
        (1.534, 1.846)
        >>> import torch
        >>> round(calculate_gain(lambda z: torch.relu(z) ** 2), 4)
        0.8165
    """
    if nonlinearity == "leaky_relu":
        return math.sqrt(2.0 / (1 + _negative_slope(param) ** 2))
    if isinstance(nonlinearity, str) and nonlinearity in TORCH_GAINS:
        return TORCH_GAINS[nonlinearity]
    if not callable(nonlinearity) and nonlinearity not in (*NONLINEARITIES, "glu"):
        raise SchemeError(_unsupported(nonlinearity))
    if param is not None:
        raise SchemeError(
            f"param={fields.short_repr(param)} means nothing to "
            f"{fields.short_repr(nonlinearity)}: only leaky_relu takes one. Pass a callable with "
            "its parameters, such as lambda z: elu(z, alpha=0.5)"
        )
    return gain("sigmoid" if nonlinearity == "glu" else nonlinearity)


def _negative_slope(param: object) -> float:
    if param is None:
        return 0.01
    if isinstance(param, bool) or not isinstance(param, (int, float)):
        raise SchemeError(f"negative_slope {_unquoted(param)} not a valid number: pass a float")
    return param


def _unsupported(nonlinearity: object) -> str:
    name = _unquoted(nonlinearity)
    known = dict.fromkeys([*TORCH_GAINS, *NONLINEARITIES, "glu"])
    return (
        f"Unsupported nonlinearity {name}.{nearest(name, known)} A callable works too: "
        "calculate_gain(lambda z: z * z.sigmoid())"
    )


def _unquoted(value: object) -> str:
    return value if isinstance(value, str) else fields.short_repr(value)


Compute = Callable[[Callable[[Tensor], Tensor], object], tuple[float, ...]]


def _moments(
    compute: Compute, nonlinearity: Nonlinearity, params: Mapping[str, float | str]
) -> tuple[float, ...]:
    if isinstance(nonlinearity, str):
        name = known_name(nonlinearity)
        return _moments_by_name(compute, name, _hashable(name, params))
    if not callable(nonlinearity):
        raise SchemeError(_no_nonlinearity(nonlinearity))
    if isinstance(nonlinearity, type):
        name = nonlinearity.__name__
        raise SchemeError(f"{name} is a class: call it. Write gi.gain(nn.{name}())")
    return compute(functools.partial(nonlinearity, **params), nonlinearity)


@functools.lru_cache(maxsize=512)
def known_name(name: str) -> str:
    """Return the name as it is listed: that of ``nn.LeakyReLU`` is "leaky_relu".

    >>> known_name("LeakyReLU"), known_name("mine")
    ('leaky_relu', 'mine')
    """
    plain = _without_signs(name)
    return next((n for n in NONLINEARITIES if n == name or _without_signs(n) == plain), name)


def _without_signs(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


def _no_nonlinearity(value: object) -> str:
    return f"a nonlinearity is a name or a callable, not {fields.short_repr(value)}"


@functools.lru_cache(maxsize=512)
def _moments_by_name(
    compute: Compute, name: str, params: tuple[tuple[str, float | str], ...]
) -> tuple[float, ...]:
    if name not in NONLINEARITIES:
        raise SchemeError(
            f"no nonlinearity is called {label_of(name)}.{nearest(name, NONLINEARITIES)} "
            f"A function works too: gain(lambda z: z * z.sigmoid())"
        )
    return compute(functools.partial(NONLINEARITIES[name], **dict(params)), name)


def _forward(f: Callable[[Tensor], Tensor], name: object) -> tuple[float, float]:
    """Return (E[f^2], slope)."""
    _refuse_mixing(f, name)

    def integrands(z: Tensor) -> Tensor:
        square = evaluate(f, z, name).mul(_root_density(z)).square()
        return torch.stack([square, (z * z - 1) * square])

    second, curvature = _expectations(integrands, name)
    if second == 0:  # or different from 0 between the points of a panel
        second, curvature = _expectations(integrands, name, FINE_EDGES)
    if second == 0:
        raise SchemeError(
            f"{label_of(name)} is 0 on N(0, 1), at a million points between {-FINE_END} and "
            f"{FINE_END}: no gain keeps its second moment"
        )
    return ten_digits(second), ten_digits(round(curvature / (2 * second), 12))


def _backward(f: Callable[[Tensor], Tensor], name: object) -> tuple[float]:
    """Return (E[f'^2],)."""
    _refuse_mixing(f, name)

    def integrand(z: Tensor) -> Tensor:
        return derivative(f, z, name).mul(_root_density(z)).square()[None]

    (second,) = _expectations(integrand, name)
    return (ten_digits(second),)


def _expectations(
    integrands: Callable[[Tensor], Tensor], name: object, fine: int = 0
) -> list[float]:
    """Integrate over z in [-END, END]; ``fine``: with so many panels per unit, to FINE_END."""
    end, each = (FINE_END, fine) if fine else (END, 4)
    edges = torch.arange(-each * end, each * end + 1, dtype=torch.float64, device="cpu") / each
    try:
        totals = integrate(integrands, edges)
        # Beside the largest: a curvature that cancels leaves only rounding, the machine's own.
        if (integrands(edges[[0, -1]]).abs() > NEGLIGIBLE * totals.abs().max()).any():
            raise ArithmeticError(f"the integral grows beyond z = {END}; is it infinite?")
        return [total.item() for total in totals]
    except ArithmeticError as error:
        raise SchemeError(f"the second moment of {label_of(name)} on N(0, 1): {error}") from error


def _root_density(z: Tensor) -> Tensor:
    return torch.exp(-z * z / 4) / (2 * math.pi) ** 0.25


def derivative(f: Callable[[Tensor], Tensor], z: Tensor, name: object) -> Tensor:
    """Return f'(z), as autograd computes it, in float64."""
    with torch.inference_mode(False), torch.enable_grad():
        leaf = z.clone().requires_grad_()
        values = evaluate(f, leaf, name)
        if not values.requires_grad:  # a step function: flat between its jumps
            return torch.zeros_like(z)
        (slopes,) = torch.autograd.grad(values.sum(), leaf, materialize_grads=True)
    _refuse_infinite(slopes, z, f"the derivative of {label_of(name)}")
    return slopes


def evaluate(f: Callable[[Tensor], Tensor], z: Tensor, name: object) -> Tensor:
    """Return f(z) as float64; a function that acts in place gets a copy of ``z``."""
    try:
        values = cast("object", f(z.clone()))
    except Exception as error:
        raise SchemeError(
            f"{label_of(name)} can't be called on a float64 tensor of shape [n] on the CPU "
            f"({type(error).__name__}: {error}); wrap it in a function that can"
        ) from error
    if not isinstance(values, Tensor) or values.shape != z.shape or values.is_complex():
        got = tuple(values.shape) if isinstance(values, Tensor) else fields.short_repr(values)
        raise SchemeError(
            f"{label_of(name)} does not act element by element: given a tensor of shape "
            f"{tuple(z.shape)} it returned {got}. A gain is defined for f(z) of one number"
        )
    values = values.double()
    _refuse_infinite(values, z, label_of(name))
    return values


def _refuse_infinite(values: Tensor, z: Tensor, name: str) -> None:
    finite = values.detach().isfinite()
    if not finite.all():
        at = (~finite).nonzero()[0]
        raise SchemeError(
            f"{name} is {values[at].item()} at z = {z[at].item():.6g}: "
            f"its second moment on N(0, 1) does not exist"
        )


def _refuse_mixing(f: Callable[[Tensor], Tensor], name: object) -> None:
    """Raise if values depend on other elements (softmax, sort) or are random (dropout)."""
    probe = torch.arange(17, dtype=torch.float64, device="cpu").mul(7).remainder(17) / 2.5 - 3.3
    with torch.no_grad():
        whole = evaluate(f, probe, name)
        parts = torch.cat([evaluate(f, part, name) for part in (probe[:5], probe[5:6], probe[6:])])
    if not torch.allclose(whole, parts, rtol=1e-6, atol=1e-9):
        raise SchemeError(
            f"{label_of(name)} does not act element by element: its value at one number depends "
            f"on other numbers or is random. A gain is defined for f(z) of one number"
        )


def label_of(nonlinearity: object) -> str:
    """Return what a message calls a nonlinearity."""
    name = getattr(nonlinearity, "__name__", None)
    return name if isinstance(name, str) else fields.short_repr(nonlinearity)


def _hashable(name: str, params: Mapping[str, float | str]) -> tuple[tuple[str, float | str], ...]:
    for key, value in params.items():
        if not isinstance(value, (int, float, str)):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise SchemeError(
                f"{key} of {name} must be a number or a string, not {fields.short_repr(value)}"
            )
    return tuple(sorted(params.items()))

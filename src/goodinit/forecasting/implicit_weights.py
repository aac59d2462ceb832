"""`ImplicitWeights`: large matrices of independent numbers are never drawn."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor

from goodinit._common.text import grouped_names
from goodinit._common.torch_private import storage_key, transforms, without_function_modes
from goodinit.anatomy.names import Slot
from goodinit.applying.planned_values import PlannedValues
from goodinit.forecasting.boxes import product_by_boxes
from goodinit.forecasting.call_arguments import RARE, arguments_by_name, place_of_padding
from goodinit.forecasting.conditional import Conditional
from goodinit.forecasting.parameter import Parameter
from goodinit.forecasting.sampled_products import Matrix, Place, factors, place_of, times, why_drawn
from goodinit.forecasting.streamed import StreamedWeights
from goodinit.plans.rows import PlanRow
from goodinit.streams import Law, Stream
from goodinit.trace.calls import Call, tensors_in
from goodinit.trace.meta import without_devices

LEAST_ELEMENTS = 2**16
"""A matrix with fewer is drawn in less time than sampling takes, and has its own values."""
VECTORS = 8
"""Sampling costs vectors x (rows + columns), drawing rows x columns: it pays while there are this
many times fewer vectors than rows and than columns."""
MANY = "too many vectors meet it for sampling to pay"
MOST_OF_A_TABLE = 2**26
"""Elements of the unit vectors that stand for the rows of a table."""

VIEWS = frozenset(
    "t T mT transpose permute movedim view reshape unflatten flatten getitem select narrow chunk "
    "split unbind squeeze unsqueeze contiguous to".split()
)
"""Calls that show a part of a parameter, or the whole in another way."""


class Again(BaseException):
    """The run has to start again: a matrix was asked for what its products don't show.

    No model catches it.

    Attributes:
        name: of the parameter that is to be drawn, folded; "" if what is known is to be kept.
        why: what was asked of it.
    """

    def __init__(self, name: str, why: str) -> None:
        super().__init__(name, why)
        self.name, self.why = name, why


class ImplicitWeights(StreamedWeights):
    """As ``StreamedWeights``, but products with large matrices are sampled without them.

    Args:
        found, values, device, step: as there.
        stream: of the fresh numbers.
        drawn: folded names of parameters that are drawn all the same -> why.
        kept: whether more than one product may be asked of a matrix.
    """

    def __init__(
        self,
        found: Sequence[Slot],
        values: PlannedValues,
        device: torch.device,
        step: Callable[[], object],
        *,
        stream: Stream,
        drawn: Mapping[str, str],
        kept: bool,
    ) -> None:
        super().__init__(found, values, device, step)
        self._stream, self._kept = stream, kept
        self._off = torch.zeros((), device=device)
        self._function = ""
        self._why: dict[str, str] = {}
        self._implicit: set[str] = set()
        self._matrices: dict[tuple[str, int], Matrix] = {}
        for parameter in self.parameters():
            self._sort(parameter, drawn)

    def _sort(self, parameter: Parameter, drawn: Mapping[str, str]) -> None:
        """Find out whether a parameter's products can be sampled."""
        row, tensor, slot = self.values.row(parameter.name), parameter.tensor, parameter.name
        if row is None or tensor.dim() < 2 or not tensor.is_floating_point():
            return
        if tensor.shape[-2] * tensor.shape[-1] < LEAST_ELEMENTS:
            return
        why = drawn.get("*") or drawn.get(_folded(slot), "")
        if self.slots[slot].how != "plain":
            why = "it is computed from other tensors"
        why = why or why_drawn(row, tensor)
        if why:
            self._why[slot] = why
        else:
            self._implicit.add(slot)
            self.give_twin(parameter)

    def _run_call(self, func: Callable[..., Any], call: Call) -> object:
        self._function = call.function
        if self._implicit:
            sampled = partial(self._sampled, call)
            for way in (partial(self._view, func, call), sampled):
                result = way()
                if result is not None:
                    return result
            if call.function in ("grad", "backward") and not self._backward and self._matrices:
                raise Again("*", "the model takes a gradient while it runs")
        if call.function == "linear":
            result = product_by_boxes(self, call)
            if result is not None:
                return result
        return super()._run_call(func, call)

    # Views.

    def _view(self, func: Callable[..., Any], call: Call) -> object:
        """Return a view, on meta, of a parameter that isn't drawn; None for other calls."""
        if call.function not in VIEWS or call.inplace or not call.args:
            return None
        first, *rest = call.args
        parameter = self._implicit_of(first)
        if parameter is None or parameter.twin is None:
            return None
        first = parameter.twin if first is parameter.tensor else first
        numbers = _as_numbers(rest)
        if numbers is None or list(tensors_in(dict(call.kwargs))):
            return None
        args, kwargs = (first, *numbers), dict(call.kwargs)
        if call.function == "to":
            args, kwargs = without_devices(args, kwargs)
            if len(args) == 1 and not kwargs and call.func is Tensor.to:
                return call.args[0]
        with without_function_modes():
            result = func(*args, **kwargs)
        shown = list(tensors_in(result))
        same = all(storage_key(t) == storage_key(first) for t in shown)
        if not shown or not same:
            return None
        return parameter.tensor if result is parameter.twin else result

    def _implicit_of(self, tensor: object) -> Parameter | None:
        """Return the parameter, if it isn't drawn, whose memory a tensor shows."""
        if not isinstance(tensor, Tensor) or tensor.layout is not torch.strided:
            return None
        parameter = self._of(tensor)
        if parameter is None and tensor.is_meta:
            parameter = next(iter(self._by_storage.get(storage_key(tensor), ())), None)
        return parameter if parameter is not None and parameter.name in self._implicit else None

    # Products.

    def _sampled(self, call: Call) -> Tensor | None:
        """Return the result of a product with a matrix that isn't drawn; None for other calls."""
        if transforms() or torch.is_autocast_enabled(self.device.type):
            return None
        args = arguments_by_name(call)
        match call.function:
            case "linear":
                return self._linear(args)
            case "addmm" if args.get("beta", 1) == args.get("alpha", 1) == 1:
                return self._plus(self._matmul(args.get("mat1"), args.get("mat2")), args["input"])
            case "matmul" | "mm" | "bmm":
                return self._matmul(args.get("input"), args.get("mat2", args.get("other")))
            case "baddbmm" if args.get("beta", 1) == args.get("alpha", 1) == 1:
                return self._plus(
                    self._stacked(args.get("batch1"), args.get("batch2")), args["input"]
                )
            case "embedding":
                return self._embedding(args)
            case _:
                return None

    def _linear(self, args: Mapping[str, Any]) -> Tensor | None:
        return self._plus(
            self._times(args.get("input"), args.get("weight"), right=True), args.get("bias")
        )

    def _matmul(self, x: object, y: object) -> Tensor | None:
        if isinstance(y, Tensor) and y.dim() == 3:
            return self._stacked(x, y)
        product = self._times(x, y, right=False)
        if product is None and isinstance(y, Tensor) and y.dim() == 2:
            turned = self._times(y, x, right=True, turned=True)
            product = None if turned is None else turned.T
        return product

    def _stacked(self, x: object, of: object) -> Tensor | None:
        """Return x [n, t, m] times a stack of matrices [n, m, o], one by one; x may be one for all.

        Either all matrices of a stack are sampled or none: each meets as many vectors.
        """
        parameter = self._implicit_of(of)
        if parameter is None or not isinstance(x, Tensor) or self._implicit_of(x) is not None:
            return None
        stack = cast("Tensor", parameter.twin if of is parameter.tensor else of)
        if (
            stack.dim() != 3
            or not 2 <= x.dim() <= 3
            or x.shape[:-2] not in ((), (1,), stack.shape[:1])
        ):
            return None
        with without_function_modes():
            matrices = stack.unbind(0)
            each = self.value(x).expand(len(matrices), *x.shape[-2:]).unbind(0)
        products: list[Tensor] = []
        for vectors, matrix in zip(each, matrices, strict=True):
            product = self._times(vectors, matrix, right=False)
            if product is None:
                return None
            products.append(product)
        with without_function_modes():
            return torch.stack(products)

    def _plus(self, product: Tensor | None, bias: Tensor | None) -> Tensor | None:
        if product is None or bias is None:
            return product
        with without_function_modes():
            return product + self.value(bias)

    def _times(self, x: object, of: object, *, right: bool, turned: bool = False) -> Tensor | None:
        """Return x times a parameter's matrix, or its transpose; ``turned``: x' of a matrix x."""
        parameter = self._implicit_of(of)
        if parameter is None or not isinstance(x, Tensor) or self._implicit_of(x) is not None:
            return None
        tensor = cast("Tensor", of)
        place = place_of(parameter, parameter.twin if tensor is parameter.tensor else tensor)  # type: ignore[arg-type]
        if place is None or x.dtype != tensor.dtype or not x.dim() or not x.numel():
            return None
        width = x.shape[0] if turned else x.shape[-1]
        if width != tensor.shape[1 if right else 0]:
            return None  # let torch say what is wrong
        matrix = self._matrix(place, x.numel() // width)
        if matrix is None:
            return None
        with without_function_modes():
            x = self.value(x)
            return self._multiply(x.T if turned else x, matrix, place, right)

    def _multiply(self, x: Tensor, matrix: Matrix, place: Place, right: bool) -> Tensor:
        needs = matrix.parameter.tensor.requires_grad
        return times(
            x,
            self._one if needs else self._off,
            matrix,
            place,
            right=right is not place.transposed,
            once=not self._kept,
        )

    def _embedding(self, args: Mapping[str, Any]) -> Tensor | None:
        parameter = self._implicit_of(args.get("weight"))
        if parameter is None or any(args.get(name) for name in RARE):
            return None
        tensor: Tensor = args["weight"]
        place = place_of(parameter, parameter.twin if tensor is parameter.tensor else tensor)  # type: ignore[arg-type]
        if place is None or place.transposed:
            return None
        with without_function_modes():
            ids, inverse = cast("tuple[Tensor, Tensor]", args["input"].unique(return_inverse=True))
            rows = tensor.shape[0]
            if len(ids) * rows > MOST_OF_A_TABLE or not bool(((ids >= 0) & (ids < rows)).all()):
                return None
            matrix = self._matrix(place, len(ids))
            if matrix is None:
                return None
            unit = torch.zeros(len(ids), rows, dtype=tensor.dtype, device=self.device)
            unit[torch.arange(len(ids), device=self.device), ids] = 1.0
            found = self._multiply(unit, matrix, place, right=False)
            at = place_of_padding(args.get("padding_idx"), ids, rows)
            return torch.nn.functional.embedding(inverse, found, padding_idx=at)

    def _matrix(self, place: Place, vectors: int) -> Matrix | None:
        """Return a matrix for a product of so many vectors; None if it is better drawn."""
        parameter, key = place.parameter, (place.parameter.name, place.number)
        row = self.values.row(parameter.name)
        assert row is not None
        matrix = self._matrices.get(key)
        before = 0 if matrix is None or self._backward else matrix.vectors
        if (before + vectors) * VECTORS > min(row.shape[-2:]) and not self._backward:
            if any(name == parameter.name for name, _ in self._matrices):
                raise Again(_folded(parameter.name), MANY)
            self._why[parameter.name] = MANY
            return None
        if matrix is None:
            normal = partial(self._normal, *key, [0])
            known = Conditional(row.shape[-2], row.shape[-1], normal, self.device)
            matrix = Matrix(parameter, known, *factors(row, place.number, self.device))
            self._matrices[key] = matrix
            if parameter.weight is None:
                needed = parameter.tensor.requires_grad
                parameter.weight = _expected_norm(row, self.device) if needed else 0.0
        elif not self._kept:
            raise Again("", "a matrix is used again")
        if not self._backward:
            matrix.uses, matrix.vectors = matrix.uses + 1, matrix.vectors + vectors
        return matrix

    def _normal(self, name: str, number: int, count: list[int], rows: int, columns: int) -> Tensor:
        """Return fresh normal numbers: a function of the seed, the matrix and the question."""
        count[0] += 1
        purpose = f"product {count[0]} with matrix {number}"
        with without_function_modes():
            drawn = self._stream.draw(name, Law.normal(), (rows, columns), purpose=purpose)
        return drawn.to(self.device)

    # What differs from weights that are drawn.

    def about_to_draw(self, parameter: Parameter) -> None:
        """Start the run again if products with the parameter were sampled."""
        name = parameter.name
        if name in self._implicit:
            if any(name == used for used, _ in self._matrices):
                raise Again(_folded(name), f"{self._function} takes its values")
            self._implicit.discard(name)
            self._why.setdefault(name, f"{self._function} takes its values")

    def contents(self, name: str) -> Tensor:
        """Return what the findings look at: one row, repeated, for a matrix that wasn't drawn."""
        matrix = next((m for (used, _), m in self._matrices.items() if used == name), None)
        if matrix is None:
            return super().contents(name)
        if name not in self._contents:
            row = self._stream.draw(name, Law.normal(), (len(matrix.columns),), purpose="a row")
            row = row.to(self.device) * matrix.columns * matrix.rows.max()
            tensor = matrix.parameter.tensor
            shown = row.to(tensor.dtype).expand(tensor.shape)
            self._contents[name] = shown.requires_grad_(tensor.requires_grad)
        return self._contents[name]

    def _close(self) -> None:
        for matrix in self._matrices.values():
            matrix.close()
        super()._close()

    def drawn_names(self) -> list[str]:
        """Return the parameters that were drawn by the plan."""
        used = {name for name, _ in self._matrices}
        return [name for name in super().drawn_names() if name not in used]

    def notes(self) -> list[str]:
        """Return where the parameters came from."""
        used = list(dict.fromkeys(name for name, _ in self._matrices))
        groups = [("Implicit (products sampled, never drawn)", used, "")]
        for why in sorted(set(self._why.values())):
            large = [name for name, own in self._why.items() if own == why]
            groups.append(("Drawn although large", large, f": {why}"))
        return super().notes() + [
            f"{text}: {grouped_names(names, len(names))}{why}."
            for text, names, why in groups
            if names
        ]


def _folded(name: str) -> str:
    """Return a dotted name without the numbers of layers.

    >>> _folded("layers.0.fc1.weight")
    'layers.*.fc1.weight'
    """
    return ".".join("*" if part.isdigit() else part for part in name.split("."))


def _as_numbers(values: Sequence[object]) -> list[object] | None:
    """Return arguments with tensors of one integer as numbers; None if another tensor is there."""
    found: list[object] = []
    for value in values:
        if isinstance(value, Tensor):
            if (
                value.is_meta
                or value.dim()
                or value.is_floating_point()
                or value.dtype is torch.bool
            ):
                return None
            found.append(int(value.item()))
        elif list(tensors_in(value)):
            return None
        else:
            found.append(value)
    return found


def _expected_norm(row: PlanRow, device: torch.device) -> float:
    """Return the norm that a parameter's elements have by their law, all its matrices together."""
    square = 0.0
    for number in range(math.prod(row.shape[:-2])):
        rows, columns = factors(row, number, device)
        square += float(rows.double().square().sum() * columns.double().square().sum())
    return math.sqrt(square)

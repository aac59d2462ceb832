"""Kind C: the parameter meets the data in a function that is in nobody's table."""

import torch
from torch import nn
from torch.nn import functional as fn

from .layout import Net, gain, keeps, raw

X = (64, 48)


@gain("C", X)
def inner():
    return Net(lambda m, x: torch.inner(x, m.w), w=raw(32, 48))


@gain("C", X, seeds=64)
def multi_dot():
    return Net(lambda m, x: torch.linalg.multi_dot([x, m.a, m.b]), a=raw(48, 24), b=raw(24, 32))


@gain("C", X)
def tensordot():
    return Net(lambda m, x: torch.tensordot(x, m.w, dims=([1], [0])), w=raw(48, 32))


@gain("C", (16, 6, 8))
def tensordot_over_two_axes():
    return Net(lambda m, x: torch.tensordot(x, m.w, dims=2), w=raw(6, 8, 32))


@gain("C", X)
def vecdot():
    return Net(lambda m, x: torch.linalg.vecdot(x[:, None], m.w), w=raw(32, 48))


@gain("C", X)
def dot_products_one_by_one():
    return Net(
        lambda m, x: torch.stack([torch.stack([torch.dot(r, w) for w in m.w]) for r in x[:6]]),
        w=raw(32, 48),
    )


@gain("C", X)
def matrix_times_vector():
    return Net(lambda m, x: torch.stack([torch.mv(m.w, row) for row in x[:6]]), w=raw(32, 48))


@gain("C", X)
def aten_matmul():
    return Net(lambda m, x: torch.ops.aten.mm.default(x, m.w), w=raw(48, 32))


@gain("C", X)
def aten_linear():
    return Net(lambda m, x: torch.ops.aten.linear.default(x, m.w), w=raw(32, 48))


@gain("C", (4, 8, 9, 9))
def aten_convolution():
    def product(m, x):
        numbers = ([1, 1], [0, 0], [1, 1], False, [0, 0], 1)
        return torch.ops.aten.convolution.default(x, m.w, None, *numbers)

    return Net(product, w=raw(16, 8, 3, 3))


@gain("C", X)
def exported_linear():
    layer = nn.Linear(48, 32, bias=False)
    return torch.export.export(layer, (torch.randn(X),)).module()


@gain("C", (4, 8, 9, 9))
def exported_convolution():
    layer = nn.Conv2d(8, 16, 3, bias=False)
    return torch.export.export(layer, (torch.randn(4, 8, 9, 9),)).module()


@gain("C", X, seeds=64)
def exported_layers():
    layers = nn.Sequential(nn.Linear(48, 64, bias=False), nn.Linear(64, 32, bias=False))
    return torch.export.export(layers, (torch.randn(X),)).module()


@torch.library.custom_op("layouts::product", mutates_args=())
def own_product(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    return x @ w.t()


@own_product.register_fake
def _(x, w):
    return x.new_empty(x.shape[0], w.shape[0])


own_product.register_autograd(
    lambda ctx, g: (g @ ctx.saved_tensors[1], g.t() @ ctx.saved_tensors[0]),
    setup_context=lambda ctx, inputs, output: ctx.save_for_backward(*inputs),
)


@torch.library.custom_op("layouts::product_forward_only", mutates_args=())
def own_product_forward_only(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    return x @ w


@own_product_forward_only.register_fake
def _(x, w):
    return x.new_empty(x.shape[0], w.shape[1])


@gain("C", X)
def custom_operator():
    return Net(lambda m, x: torch.ops.layouts.product(x, m.w), w=raw(32, 48))


@gain("C", X)
def custom_operator_without_a_backward():
    return Net(lambda m, x: torch.ops.layouts.product_forward_only(x, m.w), w=raw(48, 32))


class OwnProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return x @ w

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        return g @ w.t(), x.t() @ g


@gain("C", X)
def autograd_function():
    return Net(lambda m, x: OwnProduct.apply(x, m.w), w=raw(48, 32))


@gain("C", X)
def vmapped():
    return Net(lambda m, x: torch.func.vmap(lambda row: m.w @ row)(x), w=raw(32, 48))


@gain("C", X)
def called_functionally():
    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = raw(32, 48)
            object.__setattr__(self, "inner", nn.Linear(48, 32, bias=False))

        def forward(self, x):
            return torch.func.functional_call(self.inner, {"weight": self.w}, (x,))

    return Outer()


@gain("C", X)
def checkpointed():
    return Net(
        lambda m, x: torch.utils.checkpoint.checkpoint(lambda z: z @ m.w, x, use_reentrant=False),
        w=raw(48, 32),
    )


@gain("C", X)
def scripted():
    return torch.jit.trace(nn.Linear(48, 32, bias=False), torch.randn(X))


@gain("C", X)
def sparse_product():
    return Net(lambda m, x: torch.sparse.mm(m.w, x.T.contiguous()).T, w=raw(32, 48))


@gain("C", X)
def symbolically_traced():
    return torch.fx.symbolic_trace(nn.Linear(48, 32, bias=False))


@gain("C", X)
def batched_outer_products():
    return Net(
        lambda m, x: torch.addbmm(torch.zeros(()), x.T[:, :, None], m.w[:, None]), w=raw(48, 32)
    )


@gain("C", [X, (64, 12)])
def bilinear_layer():
    return Net(lambda m, x, z: fn.bilinear(x, z, m.w), w=raw(64, 48, 12))


@keeps("C", X, "centers", blind=False)
def distances_to_prototypes():
    """Not additive in the centers."""
    return Net(lambda m, x: torch.cdist(x, m.centers), centers=raw(16, 48, std=1))


@keeps("C", X, "p", blind=False)
def learned_exponents():
    return Net(lambda m, x: (x.abs() + 0.1) ** m.p, p=nn.Parameter(1 + torch.rand(48)))


@gain("C", (8, 5, 48))
def inner_with_the_weight_first():
    return Net(lambda m, x: torch.inner(m.w, x).movedim(0, -1), w=raw(32, 48))


@gain("C", [X, (64, 30)])
def product_with_another_activation():
    return Net(lambda m, x, z: torch.linalg.vecdot(x @ m.w, z), w=raw(48, 30))

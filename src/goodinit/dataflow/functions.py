"""What each torch function does to a signal, as one of a few roles.

view        the same numbers in another shape
cast        the same numbers in another dtype, device or memory, or with some dropped
pointwise   each number of one tensor, changed little (rounding, clamping, masks)
activation  a nonlinear function of each number, as used between layers
bend        another nonlinear function of each number (exp, log, sqrt, ...)
add, mul    sum or product of two tensors
contract    sums products over an axis
norm        divides by a norm or standard deviation
softmax, attention, pool, reduce, join, pick, choose
source      makes a tensor from nothing
other       whatever is not listed
"""

from __future__ import annotations

ACTIVATIONS = frozenset(
    "relu relu6 leaky_relu elu selu celu gelu silu mish tanh sigmoid softplus softsign hardtanh "
    "hardswish hardsigmoid logsigmoid prelu rrelu glu threshold tanhshrink hardshrink "
    "softshrink sin erf expit".split()
)

# Also as exported graphs call it: torch 2.4's, and those whose operators were decomposed.
BATCH_NORMS = frozenset(
    "batch_norm native_batch_norm _native_batch_norm_legit "
    "_native_batch_norm_legit_no_training".split()
)
CENTERING = BATCH_NORMS | {"instance_norm"}  # they subtract each channel's mean

ADD_FIRST = frozenset(("addmm", "baddbmm", "addbmm", "addmv"))
"""Products to which they add their first argument."""

LIKE = frozenset("to type_as expand_as view_as reshape_as".split())
"""Of a tensor after the first they take the dtype, the device or the shape."""

ZEROS = frozenset(("zeros", "zeros_like", "new_zeros"))

_ROLES = {
    "view": "view reshape flatten unflatten transpose permute movedim t T mT H mH squeeze "
    "unsqueeze expand broadcast_to broadcast_tensors chunk split tensor_split split_with_sizes "
    "unbind narrow select getitem ravel diagonal unfold as_strided view_as_real view_as_complex "
    "real imag flip rot90 roll tile repeat repeat_interleave pixel_shuffle pixel_unshuffle "
    "channel_shuffle hsplit vsplit dsplit unsafe_chunk unsafe_split atleast_1d atleast_2d "
    "atleast_3d swapaxes adjoint fold tril triu data real_if_close",
    "cast": "to contiguous clone detach dropout dropout1d dropout2d dropout3d alpha_dropout "
    "feature_alpha_dropout feature_dropout native_dropout positive type_as clone_ copy "
    "resolve_conj resolve_neg pin_memory bool int long alias identity lift_fresh pad "
    "constant_pad_nd as_tensor cpu cuda nan_to_num _to_copy as_subclass requires_grad",
    "pointwise": "neg masked_fill clamp clip clamp_min clamp_max where abs round floor ceil "
    "fill maximum minimum lerp fake_quantize_per_tensor_affine",
    "bend": "exp expm1 log log1p log2 sqrt rsqrt reciprocal pow square cos tan rpow exp2 "
    "rdiv logit atan asinh erfinv cosh sinh float_power "
    "one_hot bernoulli",
    "add": "add sub rsub __radd__ addcmul addcdiv",
    "mul": "mul div rmul logical_and",
    "contract": "linear matmul rmatmul mm bmm mv addmm baddbmm addbmm addmv einsum tensordot "
    "bilinear conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d "
    "convolution dot vdot inner outer chain_matmul multi_dot grouped_mm _grouped_mm "
    "scaled_grouped_mm kron deform_conv2d _conv_nd conv_tbc",
    "norm": "layer_norm instance_norm group_norm rms_norm local_response_norm "
    "normalize native_layer_norm native_group_norm weight_norm _weight_norm "
    "norm_except_dim renorm",
    "softmax": "softmax log_softmax gumbel_softmax softmin",
    "attention": "scaled_dot_product_attention multi_head_attention_forward flex_attention "
    "_native_multi_head_attention",
    "opaque": "lstm gru rnn_tanh rnn_relu lstm_cell gru_cell rnn_tanh_cell rnn_relu_cell",
    "pool": "max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d "
    "adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d "
    "adaptive_max_pool2d adaptive_max_pool3d lp_pool1d lp_pool2d interpolate upsample "
    "grid_sample max_unpool2d fractional_max_pool2d boolean_dispatch",
    "reduce": "sum mean max min amax amin std var norm vector_norm linalg_vector_norm logsumexp "
    "cumsum cumprod prod median std_mean var_mean nansum nanmean all any linalg_norm trace",
    "join": "cat stack hstack vstack dstack setitem index_put index_copy masked_scatter scatter "
    "scatter_add index_add scatter_reduce column_stack masked_select copysign block_diag",
    "pick": "index_select gather take take_along_dim embedding embedding_bag index",
    "choose": "topk argmax argmin argsort sort multinomial msort kthvalue",
    "source": "source arange zeros ones full empty tensor zeros_like ones_like full_like "
    "empty_like rand randn randint randperm rand_like randn_like linspace eye new_zeros "
    "new new_ones new_empty new_full new_tensor tril_indices triu_indices scalar_tensor "
    "meshgrid unseen",
}
_OF = {name: role for role, names in _ROLES.items() for name in names.split()}
_OF.update(dict.fromkeys(ACTIVATIONS, "activation"))
_OF.update(dict.fromkeys(BATCH_NORMS, "norm"))

# What they return is true or false, and has no gradient.
COMPARISONS = frozenset(
    "eq ne lt le gt ge isin isnan isinf logical_and logical_or logical_not bitwise_and "
    "bitwise_or bitwise_not less greater not_equal bool".split()
)


def role_of(function: str) -> str:
    """Return what a function does, by its plain name.

    >>> role_of("einsum"), role_of("gelu"), role_of("unheard_of")
    ('contract', 'activation', 'other')
    """
    return _OF.get(function, "other")

"""The network inside a streaming `.tflite`: its architecture, and the role of each operator.

Reads float and int8 graphs, published or exported here. Ring buffers, reshapes, slices and splits are skipped: the
operators that compute remain. What is done with weights and ranges is others' business.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import Final, cast

from exporter.network.architecture import (
    ATTENTION_KERNEL,
    Architecture,
    FirstConvolution,
    Inception,
    InceptionBlock,
    InceptionStem,
    MixBlock,
    MixedNet,
)
from exporter.network.graph_walk import GraphWalk, Site, UnlikeError, has_bias
from mww.core.errors import ConfigurationError, ModelFileError
from mww.tflite.model_file import ModelFile, Operator
from mww.tflite.schema import Conv2D, DepthwiseConv2D, Elementwise

ONLY: Final = "only MixedNet and Inception models that microWakeWord's or sarpel's trainer made can be recovered"
_UNREADABLE: Final = "the model does not hold a network that can be recovered"


@dataclass(frozen=True)
class StreamingGraph:
    """The network of a streaming model.

    Attributes:
        model: The file.
        architecture: The network.
        sites: The operators that compute, by role: those of `architecture.parameters` but for folded norms, and
            `..._scale` and `..._shift` (norms that were not folded), `..._mix`, `..._sum`, `..._join`, `attention_...`,
            `pool`, `probability`.
        origins: Every tensor that only holds another's values (ring buffers, slices, splits) to that other.
        newest_attention_only: Whether the graph weighs all time steps by the newest attention, as the official
            trainer's converter does, and not each by its own, as the network was trained.
    """

    model: ModelFile
    architecture: Architecture
    sites: tuple[Site, ...]
    origins: dict[int, int]
    newest_attention_only: bool


def read_streaming_graph(model: ModelFile) -> StreamingGraph:
    """Read the network from a streaming model, float or int8.

    Raises:
        ModelFileError: The graph is not a MixedNet or Inception network.
    """
    depthwise = any(operator.op == "DEPTHWISE_CONV_2D" for operator in model.main.operators)
    try:
        walk = GraphWalk(model)
        architecture = _read_mixednet(walk) if depthwise else _read_inception(walk)
        product = next((site.operator for site in walk.sites if site.role == "attention_product"), None)
        newest_only = product is not None and model.main.tensors[product.outputs[0]].shape[1] > 1
    except ConfigurationError as error:
        raise ModelFileError(f"{_UNREADABLE}: {error.message}", hint=ONLY) from error
    except (IndexError, KeyError, ValueError) as error:
        where = str(error) if isinstance(error, UnlikeError) else "its operators are not those of MixedNet or Inception"
        raise ModelFileError(f"{_UNREADABLE}: {where}", hint=ONLY) from error
    return StreamingGraph(model, architecture, tuple(walk.sites), walk.origins, newest_only)


def _convolution(operator: Operator) -> Conv2D:
    if not isinstance(operator.options, Conv2D):
        raise UnlikeError(f"operator {operator.index} is {operator.op}, where CONV_2D is expected")
    return operator.options


def _read_mixednet(walk: GraphWalk) -> MixedNet:
    stride = walk.tensors[walk.model.main.inputs[0]].shape[1]
    tensor = walk.model.main.inputs[0]
    first = None
    heads = walk.consumers(tensor)
    if len(heads) == 1 and heads[0].op == "CONV_2D" and (walk.weights_shape(heads[0])[1] > 1 or stride > 1):
        if _convolution(heads[0]).stride[0] != stride:
            walk.unexpected(heads[0])
        filters, kernel = walk.weights_shape(heads[0])[:2]
        first = FirstConvolution(filters, kernel, bias=has_bias(walk.model, heads[0]))
        tensor = walk.take("first", heads[0])
    blocks: list[MixBlock] = []
    after_relu: set[bool] = set()
    while walk.consumers(tensor, "CONV_2D", "DEPTHWISE_CONV_2D"):
        block, tensor, after = _read_block(walk, f"block{len(blocks)}", tensor)
        blocks.append(block)
        after_relu |= {after} if block.residual else set()
    if len(after_relu) > 1:
        raise UnlikeError("residuals are added before the ReLU in one block and after it in another")
    attention = bool(walk.consumers(tensor, "MUL"))
    if attention:
        tensor = _read_attention(walk, tensor)
    pooling, frames = walk.dense(tensor)
    return MixedNet(
        stride=stride,
        first=first,
        blocks=tuple(blocks),
        frames=frames + (ATTENTION_KERNEL - 1 if attention else 0),
        pooling=pooling,
        attention=attention,
        residual_after_relu=True in after_relu,
        causal=any(block.kernels[-1] != max(block.kernels) for block in blocks),
    )


def _read_block(walk: GraphWalk, role: str, tensor: int) -> tuple[MixBlock, int, bool]:
    """Read a block; return it, its output, and whether its residual is added after the ReLU."""
    convolutions = walk.consumers(tensor, "CONV_2D")
    depthwise = walk.consumers(tensor, "DEPTHWISE_CONV_2D")
    residual = None
    if depthwise and convolutions:
        (residual,) = convolutions
    elif len(convolutions) == 2:  # two pointwise convolutions that are added: either may be the residual
        residual = max(convolutions, key=lambda operator: len(walk.consumers(operator.outputs[0])))
    waiting: list[Operator] = []
    if residual:
        waiting = walk.consumers(walk.take(f"{role}_residual", residual), "ADD")
    shapes: set[tuple[int, tuple[int, ...]]] = set()
    after_relu = False
    for unit in count():
        filters, kernels, tensor, activated = _read_unit(walk, f"{role}_unit{unit}", tensor, residual)
        shapes.add((filters, kernels))
        sums = [operator for operator in waiting if operator in walk.consumers(tensor)]
        if sums:
            after_relu = activated
            waiting = [operator for operator in waiting if operator not in sums]
            tensor = walk.take(f"{role}_unit{unit}_sum", sums[0])
        elif not activated:
            raise UnlikeError(f"{role} has a pointwise convolution without a ReLU")
        if not waiting:
            break
    if len(shapes) > 1:
        raise UnlikeError(f"{role} repeats units of different shapes under one residual")
    return MixBlock(filters, kernels, unit + 1, residual is not None), tensor, after_relu


def _read_unit(
    walk: GraphWalk, role: str, tensor: int, residual: Operator | None
) -> tuple[int, tuple[int, ...], int, bool]:
    """Read depthwise and pointwise convolutions; return filters, kernels, output, and whether they have a ReLU."""
    depthwise = walk.consumers(tensor, "DEPTHWISE_CONV_2D")
    kernels: tuple[int, ...] = (1,)
    if depthwise:
        mix = walk.only(depthwise[0].outputs[0])
        if len(depthwise) > 1:  # the order of the groups is the order in which their outputs are joined
            joined = [walk.origin(tensor) for tensor in mix.inputs]  # of all steps or, by sarpel's trainer, the newest
            depthwise = sorted(depthwise, key=lambda operator: joined.index(operator.outputs[0]))
        for group, operator in enumerate(depthwise):
            options = cast(DepthwiseConv2D, operator.options)
            if options.stride != (1, 1) or options.activation != "NONE" or options.depth_multiplier != 1:
                walk.unexpected(operator)
            tensor = walk.take(f"{role}_depthwise{group}", operator)
        kernels = tuple(walk.weights_shape(operator)[1] for operator in depthwise)
        if len(depthwise) > 1:
            tensor = walk.take(f"{role}_mix", mix, "CONCATENATION")
    (pointwise,) = [operator for operator in walk.consumers(tensor, "CONV_2D") if operator is not residual]
    if walk.weights_shape(pointwise)[1:3] != (1, 1):
        walk.unexpected(pointwise)
    activated = _convolution(pointwise).activation == "RELU"
    return walk.weights_shape(pointwise)[0], kernels, walk.take(f"{role}_pointwise", pointwise), activated


def _read_attention(walk: GraphWalk, tensor: int) -> int:
    """Read the spatial attention; return the product of the time steps and their weights."""
    average = walk.take("attention_average", walk.consumers(tensor, "AVERAGE_POOL_2D", "MEAN")[0])
    walk.take("attention_maximum", walk.consumers(tensor, "MAX_POOL_2D")[0])
    pair = walk.take("attention_pair", walk.only(average), "CONCATENATION")
    logit = walk.take("attention", walk.only(pair), "CONV_2D")
    weight = walk.take("attention_weight", walk.only(logit), "LOGISTIC")
    return walk.take("attention_product", walk.only(weight), "MUL")


def _read_inception(walk: GraphWalk) -> Inception:
    tensor = walk.model.main.inputs[0]
    stems: list[InceptionStem] = []
    blocks: list[InceptionBlock] = []
    while convolutions := walk.consumers(tensor, "CONV_2D"):
        if len(convolutions) == 1 and not blocks:
            filters, kernel = walk.weights_shape(convolutions[0])[:2]
            tensor, groups = _read_normed(walk, f"stem{len(stems)}", convolutions[0])
            stems.append(InceptionStem(filters, kernel, groups))
        else:
            block, tensor = _read_branches(walk, f"block{len(blocks)}", convolutions)
            blocks.append(block)
    pooling, frames = walk.dense(tensor)
    if pooling != "flat":
        raise UnlikeError("an Inception network with a pooled head")
    return Inception(tuple(stems), tuple(blocks), frames)


def _read_normed(walk: GraphWalk, role: str, operator: Operator) -> tuple[int, int]:
    """Read a convolution with its norm and ReLU; return the output and the groups of the norm."""
    tensor = walk.take(role, operator, "CONV_2D")
    if _convolution(operator).activation == "RELU":
        return tensor, 1
    scale = walk.only(tensor)
    tensor = walk.take(f"{role}_scale", scale, "MUL")
    shift = walk.only(tensor)
    if not isinstance(shift.options, Elementwise) or shift.options.activation != "RELU":
        walk.unexpected(shift)
    return walk.take(f"{role}_shift", shift, "ADD"), walk.constant_size(scale)


def _read_branches(walk: GraphWalk, role: str, starts: list[Operator]) -> tuple[InceptionBlock, int]:
    """Read three branches and the convolution that joins them."""
    ends: dict[int, tuple[int, Operator]] = {}
    for start in starts:
        chain = [start]
        while (following := _end_of_normed(walk, chain[-1])).op == "CONV_2D":
            chain.append(following)
        branch = len(chain)
        ends[branch] = (chain[-1].outputs[0], following)
        letters = ("",) if branch == 1 else ("a", "b", "c")
        for letter, operator in zip(letters, chain, strict=False):
            tensor, groups = _read_normed(walk, f"{role}_branch{branch}{letter}", operator)
    join = ends[1][1]
    if sorted(ends) != [1, 2, 3] or any(following is not join for _, following in ends.values()):
        walk.unexpected(join)
    inner = walk.weights_shape(starts[0])[0]
    last = next(site.operator for site in walk.sites if site.role == f"{role}_branch3c")
    output = walk.only(walk.take(f"{role}_join", join, "CONCATENATION"))
    tensor, _ = _read_normed(walk, f"{role}_output", output)
    block = InceptionBlock(
        branch_filters=inner,
        filters=walk.weights_shape(output)[0],
        kernel=walk.weights_shape(last)[1],
        groups=groups,
        dilation=_convolution(last).dilation[0],
    )
    return block, tensor


def _end_of_normed(walk: GraphWalk, operator: Operator) -> Operator:
    """The operator after a convolution and its norm."""
    following = walk.only(operator.outputs[0])
    while following.op in ("MUL", "ADD"):
        following = walk.only(following.outputs[0])
    return following

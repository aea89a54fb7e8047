"""`Prepare` of CONV_2D, DEPTHWISE_CONV_2D and FULLY_CONNECTED: per-channel quantisation and esp-nn's scratch."""

from __future__ import annotations

from collections.abc import Iterator

from mww.tflite import schema as options
from mww.tflite.model_file import Tensor
from mww.tflm.node import Node, Persistent, Request, Scratch, TempTensor
from mww.tflm.scratch import Convolution, ScratchSize

PER_CHANNEL = "channel_quantization"
"""Kind of the multipliers and shifts, 4 bytes a channel each."""


def conv_2d(node: Node) -> Iterator[Request]:
    """CONV_2D (`kernels/esp_nn/conv.cc`)."""
    source, weights, output = node.input(0), node.input(1), node.output()
    yield from map(TempTensor, (output, source, weights))
    channels = node.rank(source, 4)[3]
    filters = node.rank(weights, 4)
    node.ensure(filters[3] > 0 and channels % filters[3] == 0, f"{channels} channels, {filters[3]} in the filter")
    _check_types(node, source, weights, output)
    yield from _per_channel(filters[0])
    _check_filter_scales(node, source, weights, filters[0])
    setting = node.options(options.Conv2D)
    yield from _calculate_op_data(node, source, weights, output)
    _check_channel_scales(node, source, weights, output, filters[0])
    _check_activation(node, source, output, setting.activation)
    yield from _unpacked_int4(weights)
    convolution = _convolution(node, source, weights, output, setting, multiplier=0)
    yield from _esp_nn_scratch(source, node.runtime.esp_nn.conv, convolution)


def depthwise_conv_2d(node: Node) -> Iterator[Request]:
    """DEPTHWISE_CONV_2D (`kernels/esp_nn/depthwise_conv.cc`)."""
    source, weights, output = node.input(0), node.input(1), node.output()
    yield from map(TempTensor, (output, source, weights))
    setting = node.options(options.DepthwiseConv2D)
    channels = node.rank(source, 4)[3]
    filters = node.rank(weights, 4)
    node.ensure(min(setting.dilation) > 0, f"its dilation is {setting.dilation}")
    node.ensure(filters[0] == 1, f"its filter has {filters[0]} batches")
    node.ensure(channels > 0 and filters[3] % channels == 0, f"{channels} channels, {filters[3]} in the filter")
    yield from _per_channel(filters[3])
    _check_filter_scales(node, source, weights, filters[3])
    node.ensure(len(node.operator.inputs) != 3 or node.optional_input(2) is not None, "its bias is marked as left out")
    if node.runtime.structs.depthwise_needs_bias:
        node.ensure(node.optional_input(2) is not None, "it has no bias, and the runtime crashes")
    _check_types(node, source, weights, output)
    yield from _unpacked_int4(weights)
    yield from _calculate_op_data(node, source, weights, output)
    _check_channel_scales(node, source, weights, output, filters[3])
    _check_activation(node, source, output, setting.activation)
    convolution = _convolution(node, source, weights, output, setting, setting.depth_multiplier)
    yield from _esp_nn_scratch(source, node.runtime.esp_nn.depthwise_conv, convolution)


def fully_connected(node: Node) -> Iterator[Request]:
    """FULLY_CONNECTED (`kernels/esp_nn/fully_connected.cc`)."""
    source, weights, output = node.input(0), node.input(1), node.output()
    bias = node.optional_input(2)
    yield from map(TempTensor, (source, weights, *([bias] if bias else ()), output))
    node.ensure(source.dtype == output.dtype, f"{source.dtype} in, {output.dtype} out")
    allowed = {"FLOAT32": ("FLOAT32",), "INT8": ("INT8", "INT4"), "INT16": ("INT8",)}.get(source.dtype)
    node.ensure(allowed is None or weights.dtype in allowed, f"{source.dtype} with {weights.dtype} weights")
    setting = node.options(options.FullyConnected)
    node.ensure(setting.weights_format in (0, 1), f"weights format {setting.weights_format} does not exist")
    yield from _unpacked_int4(weights)
    if source.dtype == "FLOAT32":
        return
    if weights.quantization is not None and weights.quantization.per_channel:
        yield from _fully_connected_per_channel(node, source, weights, output)
    else:
        product = node.scale(source) * node.scale(weights)
        node.ensure(product >= 0, "its scales are negative")
        node.multiplier(product, node.scale(output))
        difference = abs(product - node.scale(bias)) if bias else 0.0
        node.ensure(difference <= 0.02 * node.scale(output), "its bias scale is not input scale times weight scale")
    node.ensure(node.zero_point(weights) == 0, "its weights have a zero point")
    _check_activation(node, output, output, setting.activation)


def _fully_connected_per_channel(node: Node, source: Tensor, weights: Tensor, output: Tensor) -> Iterator[Request]:
    assert weights.quantization is not None
    channels = len(weights.quantization.scales)
    allowed = source.dtype in node.runtime.structs.fully_connected_per_channel and weights.dtype != "INT4"
    node.ensure(allowed, f"{source.dtype} with {weights.dtype} weights of several scales")
    dimension = weights.quantization.dimension
    matches = 0 <= dimension < len(weights.shape) and weights.shape[dimension] == channels
    node.ensure(matches, f"its weights have {channels} scales along dimension {dimension}")
    yield from _per_channel(channels)
    _check_channel_scales(node, source, weights, output, channels)


def _per_channel(channels: int) -> Iterator[Request]:
    """The multipliers, then the shifts."""
    yield Persistent(PER_CHANNEL, 4 * channels)
    yield Persistent(PER_CHANNEL, 4 * channels)


def _check_types(node: Node, source: Tensor, weights: Tensor, output: Tensor) -> None:
    allowed = {"FLOAT32": ("FLOAT32",), "INT8": ("INT8", "INT4"), "INT16": ("INT8",)}.get(source.dtype, ())
    node.ensure(weights.dtype in allowed, f"{source.dtype} with {weights.dtype} weights")
    if node.operator.op == "CONV_2D":
        node.ensure(source.dtype == output.dtype, f"{source.dtype} in, {output.dtype} out")


def _check_filter_scales(node: Node, source: Tensor, weights: Tensor, channels: int) -> None:
    if source.dtype not in ("INT8", "INT16"):
        return
    count = len(weights.quantization.scales) if weights.quantization else 0
    node.ensure(count in (1, channels), f"its weights have {count} scales for {channels} channels")


def _calculate_op_data(node: Node, source: Tensor, weights: Tensor, output: Tensor) -> Iterator[Request]:
    """`CalculateOpDataConv` and `CalculateOpDataDepthwiseConv`: a second set of temporary tensors, with the bias."""
    node.counts((2, 3), 1)
    bias = node.optional_input(2)
    yield from map(TempTensor, (source, weights, *([bias] if bias else ()), output))


def _check_channel_scales(node: Node, source: Tensor, weights: Tensor, output: Tensor, channels: int) -> None:
    """`PopulateConvolutionQuantizationParams`."""
    if source.dtype == "FLOAT32":
        return
    node.ensure(source.quantization is not None, "its input is not quantised")
    quantization = weights.quantization
    if quantization is None:
        node.refuse("its weights are not quantised")
    if quantization.per_channel:
        matches = 0 <= quantization.dimension < len(weights.shape)
        matches = matches and weights.shape[quantization.dimension] == channels
        node.ensure(matches, f"its weights are not quantised along their {channels} channels")
    for scale in quantization.scales:
        node.multiplier(node.scale(source) * scale, node.scale(output))


def _check_activation(node: Node, source: Tensor, output: Tensor, activation: str) -> None:
    if source.dtype != "FLOAT32":
        node.activation_range(activation, output)


def _unpacked_int4(weights: Tensor) -> Iterator[Request]:
    """Four-bit weights are unpacked into a scratch buffer."""
    if weights.dtype == "INT4":
        yield Scratch(weights.elements)


def _esp_nn_scratch(source: Tensor, scratch_size: ScratchSize, convolution: Convolution) -> Iterator[Request]:
    size = scratch_size(convolution) if source.dtype == "INT8" else 0
    if size > 0:
        yield Scratch(size)


def _convolution(
    node: Node,
    source: Tensor,
    weights: Tensor,
    output: Tensor,
    setting: options.Conv2D | options.DepthwiseConv2D,
    multiplier: int,
) -> Convolution:
    """The arguments that esp-nn gets, the padding by `ComputePaddingHeightWidth`."""
    out_height, out_width, out_channels = node.rank(output, 4)[1:]
    height, width, channels = source.shape[1:]
    kernel = weights.shape[1:3]
    pads = []
    for size, taps, stride, dilation in zip((height, width), kernel, setting.stride, setting.dilation, strict=True):
        effective = (taps - 1) * dilation + 1
        span = size + stride - (1 if setting.padding == "SAME" else effective)
        total = (span // stride - 1) * stride + effective - size if stride else effective - stride - size
        pads.append(max(total, 0) // 2)
    return Convolution(
        input_width=width,
        input_height=height,
        channels=channels,
        filter_width=kernel[1],
        filter_height=kernel[0],
        output_width=out_width,
        output_height=out_height,
        output_channels=out_channels,
        pad_width=pads[1],
        pad_height=pads[0],
        stride_width=setting.stride[1],
        stride_height=setting.stride[0],
        multiplier=multiplier,
        filter_channels=weights.shape[3] if node.runtime.structs.passes_filter_channels else 0,
    )

"""Makes a model smaller for the device, with the same outputs byte for byte: a smaller file and a smaller tensor arena.

The arena depends on the order of the operators, which decides what is alive at once. The order is searched in
`exporter.optimization`; the predictions of `mww.tflm.arena` decide what is kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from exporter.optimization.bounds import Limit, lowest_minimum
from exporter.optimization.live_memory import measure
from exporter.optimization.precedence import find_precedence
from exporter.optimization.rewriting import NotRewritableError, rewrite
from exporter.optimization.search import search
from mww.esphome.chips import CHIP_NAMES
from mww.tflite.model_file import ModelFile, read_model
from mww.tflm.arena import predict_arenas

_MAX_OPERATORS: Final = 400
"""With more operators the order is kept; a wake word has 30 to 100."""


@dataclass(frozen=True, slots=True)
class OperatorOrder:
    """The best order found for a model's main graph.

    Attributes:
        order: The operators by their old indices.
        before: The largest minimum over the chips in the file's order, bytes.
        after: The largest minimum over the chips in this order, bytes.
        proven: Whether it is proven that no legal order needs less.
    """

    order: tuple[int, ...]
    before: int
    after: int
    proven: bool


def optimize_for_edge(model: bytes, *, chips: tuple[str, ...] | None = None) -> bytes:
    """Remove everything that no runtime reads, and order the operators for the smallest arena.

    Names, metadata, signatures and duplicate buffers are removed. The operators are put into the legal order whose
    largest `minimum` over the chips is the smallest that was found, on no chip larger than before. The result computes
    every output byte as before; the same model gives the same bytes. A file with parts that cannot be kept as they are,
    such as sparse weights, is returned as it is.

    Args:
        model: A `.tflite`.
        chips: The chips to make it small on, of `mww.esphome.chips`; None: all.

    Raises:
        ModelFileError: The file cannot be read as a model.
        UnsupportedModelError: The runtime would refuse the model.
        UnknownRuntimeError: A chip is not known.
    """
    result = find_operator_order(read_model(model), chips=chips)
    try:
        return rewrite(model, result.order)
    except NotRewritableError:
        return model


def order_limit(model: ModelFile, chip: str) -> Limit:
    """The limit below which no order of the operators brings a chip's minimum, and its reason.

    Raises:
        UnsupportedModelError: The runtime would refuse the model.
        UnknownRuntimeError: The chip is not known.
    """
    memory = measure(model, find_precedence(model), (chip,))
    (asked,) = (each for each in memory.chips if each.asked)
    return lowest_minimum(memory, asked)


def find_operator_order(model: ModelFile, *, chips: tuple[str, ...] | None = None) -> OperatorOrder:
    """Search the order of the main graph's operators that needs the smallest arena.

    Raises:
        UnsupportedModelError: The runtime would refuse the model.
        UnknownRuntimeError: A chip is not known.
    """
    operators = len(model.main.operators)
    if operators > _MAX_OPERATORS:
        before = max(prediction.minimum for prediction in predict_arenas(model, chips))
        return OperatorOrder(tuple(range(operators)), before, before, proven=False)
    memory = measure(model, find_precedence(model), chips or CHIP_NAMES)
    bounds = tuple(lowest_minimum(memory, chip).size for chip in memory.chips)
    result = search(memory, bounds)
    before, after = (
        max(size for size, chip in zip(sizes, memory.chips, strict=True) if chip.asked)
        for sizes in ([chip.minimum for chip in memory.chips], result.minima)
    )
    return OperatorOrder(result.order, before, after, result.best)

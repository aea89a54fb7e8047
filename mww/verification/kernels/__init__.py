"""What the 20 kernels refuse, or compute wrongly without a word: one rule an operator, applied in every subgraph."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from mww.verification.kernels import arithmetic, convolution, data
from mww.verification.kernels.node import Kernel, Node
from mww.verification.rules import Finding, Judge, Subject, rule

KERNELS: Final[dict[str, Kernel]] = {
    "CONV_2D": convolution.conv_2d,
    "DEPTHWISE_CONV_2D": convolution.depthwise_conv_2d,
    "FULLY_CONNECTED": arithmetic.fully_connected,
    "AVERAGE_POOL_2D": convolution.pool_2d,
    "MAX_POOL_2D": convolution.pool_2d,
    "MEAN": convolution.mean,
    "ADD": arithmetic.add,
    "MUL": arithmetic.mul,
    "LOGISTIC": arithmetic.logistic,
    "QUANTIZE": arithmetic.quantize,
    "CONCATENATION": data.concatenation,
    "PACK": data.pack,
    "RESHAPE": data.reshape,
    "PAD": data.pad,
    "STRIDED_SLICE": data.strided_slice,
    "SPLIT_V": data.split_v,
    "VAR_HANDLE": data.var_handle,
    "READ_VARIABLE": data.read_variable,
    "ASSIGN_VARIABLE": data.assign_variable,
    "CALL_ONCE": data.call_once,
}

_HINT = "convert again with TensorFlow's int8 converter; the device's kernel is stricter than the interpreter on a PC"


def _register(op: str, kernel: Kernel) -> None:
    def judge(subject: Subject) -> Iterator[Finding]:
        for graph in subject.graphs:
            for operator in graph.subgraph.operators:
                if operator.op != op:
                    continue
                node = Node(subject.model, graph, operator)
                for problem in kernel(node):
                    message = f"{op} {operator.index}: {problem.message}"
                    yield Finding(message, problem.expected, problem.found, hint=problem.hint)

    judge.__doc__ = kernel.__doc__
    identifier = f"kernel-{op.lower().replace('_', '-')}"
    decorate: Callable[[Judge[Subject]], Judge[Subject]] = rule(
        identifier, f"The device's {op} accepts each use of it", hint=_HINT, applies=lambda subject: op in subject.ops
    )
    decorate(judge)


for _op, _kernel in KERNELS.items():
    _register(_op, _kernel)

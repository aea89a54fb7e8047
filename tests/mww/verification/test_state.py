from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mww.verification import Check, verify_esphome_compatibility


def found(edit: Any, change: Any) -> dict[str, Check]:
    return {check.id: check for check in verify_esphome_compatibility(edit(change)).failures}


def operators(model: Any, code: int, subgraph: int = 0) -> list[Any]:
    codes = [max(entry.builtinCode, entry.deprecatedBuiltinCode) for entry in model.operatorCodes]
    return [op for op in model.subgraphs[subgraph].operators if codes[op.opcodeIndex] == code]


READ_VARIABLE, ASSIGN_VARIABLE, CALL_ONCE, VAR_HANDLE, STRIDED_SLICE = 143, 144, 129, 142, 45


def test_a_variable_that_is_never_assigned(edit: Any) -> None:
    def change(model: Any) -> None:
        model.subgraphs[0].operators.remove(operators(model, ASSIGN_VARIABLE)[0])

    check = found(edit, change)["variable-access"]
    assert "assigned 0x" in check.message


def test_a_variable_that_is_read_at_another_scale_than_it_is_assigned(edit: Any) -> None:
    def change(model: Any) -> None:
        main = model.subgraphs[0]
        main.tensors[operators(model, READ_VARIABLE)[2].outputs[0]].quantization.scale = [0.5]

    assert "scale 0.5" in str(found(edit, change)["variable-agreement"])


def test_float_state(edit: Any) -> None:
    def change(model: Any) -> None:
        main = model.subgraphs[0]
        for op in operators(model, READ_VARIABLE):
            main.tensors[op.outputs[0]].type = 0

    assert found(edit, change)["variable-types"].found == "FLOAT32"


def test_an_initial_value_that_is_not_the_zero_point(edit: Any) -> None:
    def change(model: Any) -> None:
        start = model.subgraphs[1].tensors[operators(model, ASSIGN_VARIABLE, 1)[0].inputs[1]]
        data = np.array(model.buffers[start.buffer].data, dtype=np.uint8)
        data[3] = 0
        model.buffers[start.buffer].data = data

    assert "1 values such as 0" in found(edit, change)["initialiser"].message


def test_a_variable_that_is_never_initialised(edit: Any) -> None:
    def change(model: Any) -> None:
        model.subgraphs[1].operators.remove(operators(model, ASSIGN_VARIABLE, 1)[0])

    assert "never initialised" in found(edit, change)["initialiser"].message


@pytest.mark.parametrize(("target", "broken"), [(0, {"call-once"}), (7, {"call-once", "kernel-call-once"})])
def test_call_once_runs_a_subgraph_of_its_own(edit: Any, target: int, broken: set[str]) -> None:
    def change(model: Any) -> None:
        operators(model, CALL_ONCE)[0].builtinOptions.initSubgraphIndex = target

    assert broken <= set(found(edit, change))


def test_state_without_call_once(edit: Any) -> None:
    def change(model: Any) -> None:
        model.subgraphs[0].operators.remove(operators(model, CALL_ONCE)[0])

    assert "call-once" in found(edit, change)


def test_more_than_twenty_variables(edit: Any) -> None:
    def change(model: Any) -> None:
        import copy

        main = model.subgraphs[0]
        for number in range(15):
            handle = copy.deepcopy(operators(model, VAR_HANDLE)[0])
            handle.builtinOptions.sharedName = f"more_{number}"
            tensor = copy.deepcopy(main.tensors[handle.outputs[0]])
            main.tensors.append(tensor)
            handle.outputs = [len(main.tensors) - 1]
            main.operators.insert(1, handle)

    assert found(edit, change)["variable-count"].found == "21"


def test_a_ring_buffer_that_keeps_the_oldest_slices(edit: Any) -> None:
    def change(model: Any) -> None:
        main = model.subgraphs[0]
        first = operators(model, STRIDED_SLICE)[0]
        begin, end = (model.buffers[main.tensors[first.inputs[index]].buffer] for index in (1, 2))
        begin.data = np.array([0, 0, 0, 0], "<i4").view(np.uint8)
        end.data = np.array([0, 2, 0, 0], "<i4").view(np.uint8)
        first.builtinOptions.endMask = 13

    check = found(edit, change)["ring-buffers"]
    assert "keeps slices -2..-1, not the newest" in check.message


def test_two_ring_buffers_that_take_each_others_slices(edit: Any) -> None:
    def change(model: Any) -> None:
        item, other = operators(model, ASSIGN_VARIABLE)[2:4]
        item.inputs, other.inputs = [item.inputs[0], other.inputs[1]], [other.inputs[0], item.inputs[1]]

    assert {"variable-agreement", "ring-buffers"} & set(found(edit, change))


def test_a_first_convolution_whose_stride_is_not_the_frames(edit: Any) -> None:
    def change(model: Any) -> None:
        conv = operators(model, 3)[0]
        conv.builtinOptions.strideH = 1

    assert "stride 1" in str(found(edit, change)["ring-buffers"])

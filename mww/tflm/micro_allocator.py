"""TFLM's `MicroAllocator` and `MicroInterpreter::AllocateTensors`, step by step, as arithmetic, without memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mww.core.errors import UnsupportedModelError
from mww.esphome.contract import MAX_RESOURCE_VARIABLES, REGISTERED_OPS
from mww.tflite import schema as options
from mww.tflite.model_file import ModelFile, Operator, Subgraph, Tensor
from mww.tflite.schema import TENSOR_TYPE_SIZES
from mww.tflm.arena_allocator import BUFFER_ALIGNMENT, SingleArenaBufferAllocator, align_up
from mww.tflm.kernels import PREPARE
from mww.tflm.memory_planner import BufferRequirement, Lifetimes, plan_greedily
from mww.tflm.node import EXPORT_AGAIN, Node, Persistent, Request, Scratch, TempTensor
from mww.tflm.runtime import Runtime

_MAX_PLANNED_BUFFERS: Final = 2048
_OFFLINE_PLAN: Final = "OfflineMemoryAllocation"


@dataclass(frozen=True, slots=True)
class ScratchRequest:
    """A scratch buffer, and the operator whose `Prepare` requested it."""

    subgraph: int
    operator: int
    size: int


@dataclass(frozen=True, slots=True)
class PlacedBuffer:
    """A buffer of the plan: a tensor, or with `tensor` None a scratch buffer of `operator`."""

    subgraph: int
    tensor: int | None
    operator: int | None
    offset: int
    requirement: BufferRequirement


class MicroAllocator:
    """Everything that `AllocateTensors` allocates for a model.

    Attributes:
        runtime: The tables that it allocates by.
        arena: The books.
        requests: Scratch buffers, in order.
        lifetimes: Scopes, and who lives when.
        plan: The placed buffers, in the planner's order.
        planning: Bytes that the arena must have to make the plan, before it takes its place.
    """

    def __init__(self, model: ModelFile, runtime: Runtime) -> None:
        self.arena = SingleArenaBufferAllocator()
        self.requests: list[ScratchRequest] = []
        self.lifetimes = Lifetimes()
        self.plan: list[PlacedBuffer] = []
        self.planning = 0
        self._model = model
        self.runtime = runtime
        self._structs = runtime.structs
        self._resources: list[options.VarHandle] = []
        self._allocated_resources: set[int] = set()
        self._handles: dict[tuple[int, int], int] = {}

    def allocate_tensors(self) -> None:
        """`MicroInterpreter`'s constructor and `AllocateTensors`.

        Raises:
            UnsupportedModelError: TFLM would refuse or crash, or what it does cannot be known from the file.
        """
        self._check_file()
        self._start_model_allocation()
        self._parse_and_init()
        self._prepare_subgraphs()
        self._finish_model_allocation()
        for tensors in (self._model.main.inputs, self._model.main.outputs):
            self._allocate_persistent_tensors(tensors)

    def _check_file(self) -> None:
        if any(buffer.external for buffer in self._model.buffers):
            message = "the model has data behind its flatbuffer, where TFLM does not find it"
            raise UnsupportedModelError(message, hint="convert it without large-model buffer offsets")
        if any(name == _OFFLINE_PLAN for name, _ in self._model.metadata):
            raise UnsupportedModelError("the model carries an offline memory plan", hint="strip its metadata")

    def _start_model_allocation(self) -> None:
        """`MicroAllocator::Create` and `StartModelAllocation`."""
        structs, arena = self._structs, self.arena
        for size in (structs.single_arena_buffer_allocator, structs.greedy_memory_planner, structs.micro_allocator):
            arena.allocate_persistent("infrastructure", size)
        arena.allocate_persistent("infrastructure", structs.micro_builtin_data_allocator)
        self._resize_request_list()
        subgraphs = self._model.subgraphs
        arena.allocate_persistent("infrastructure", structs.subgraph_allocations * len(subgraphs))
        for subgraph in subgraphs:
            arena.allocate_persistent("eval_tensors", structs.eval_tensor * len(subgraph.tensors))
        for subgraph in subgraphs:
            arena.allocate_persistent("nodes", structs.node_and_registration * len(subgraph.operators))

    def _resize_request_list(self) -> None:
        places = len(self.requests) + self._structs.max_scratch_buffers_per_op
        self.arena.resize_head(self._structs.scratch_buffer_request * places)

    def _parse_and_init(self) -> None:
        """`PrepareNodeAndRegistrationDataFromFlatbuffer`, then `InitSubgraphs`."""
        structs = self._structs
        for subgraph, operator in self._model.operators():
            _check_operator(subgraph, operator)
            size = structs.builtin_params.get(operator.op)
            if size is not None:
                self.arena.allocate_persistent("builtin_params", size, params_alignment(size))
        for _, operator in self._model.operators():
            size = structs.op_data.get(operator.op)
            if size is not None:
                self.arena.allocate_persistent("op_data", size, BUFFER_ALIGNMENT)

    def _prepare_subgraphs(self) -> None:
        """`MicroInterpreterGraph::PrepareSubgraphs`, with `FinishPrepareNodeAllocations` after each operator."""
        for subgraph, operator in self._model.operators():
            node = Node(self.runtime, self._model, subgraph, operator)
            if operator.op in PREPARE:
                for request in PREPARE[operator.op](node):
                    self._serve(node, request)
            else:
                self._prepare_resource(node)
            self.arena.reset_temp()
            self._resize_request_list()

    def _serve(self, node: Node, request: Request) -> None:
        if isinstance(request, TempTensor):
            self._allocate_temp_tensor(request.tensor)
        elif isinstance(request, Persistent):
            self.arena.allocate_persistent(request.kind, request.size, BUFFER_ALIGNMENT)
        else:
            self._request_scratch(node, request)

    def _allocate_temp_tensor(self, tensor: Tensor) -> None:
        """`AllocateTempTfLiteTensor`."""
        for size in _tensor_structs(self.runtime, tensor):
            self.arena.allocate_temp(size)

    def _request_scratch(self, node: Node, request: Scratch) -> None:
        self.requests.append(ScratchRequest(node.subgraph.index, node.operator.index, request.size))

    def _prepare_resource(self, node: Node) -> None:
        """`Prepare` of the operators that know of other subgraphs, or of `MicroResourceVariables`."""
        prepare = {
            "CALL_ONCE": self._call_once,
            "VAR_HANDLE": self._var_handle,
            "READ_VARIABLE": self._read_variable,
            "ASSIGN_VARIABLE": self._assign_variable,
        }
        prepare[node.operator.op](node)

    def _call_once(self, node: Node) -> None:
        node.counts((0,), 0)
        target = node.options(options.CallOnce).subgraph
        node.ensure(0 <= target < len(self._model.subgraphs), f"subgraph {target} does not exist")

    def _var_handle(self, node: Node) -> None:
        """`CreateIdIfNoneFound`."""
        resource = self._find_id(node, node.options(options.VarHandle))
        if resource == len(self._resources):
            limit = f"it is resource variable {resource + 1}, ESPHome has room for {MAX_RESOURCE_VARIABLES}"
            node.ensure(resource < MAX_RESOURCE_VARIABLES, limit)
            self._resources.append(node.options(options.VarHandle))
        self._handles[node.subgraph.index, node.output().index] = resource

    def _find_id(self, node: Node, wanted: options.VarHandle) -> int:
        """`MicroResourceVariables::FindId`; an absent container matches any, and a new id follows the last."""
        for resource, known in enumerate(self._resources):
            if wanted.container is not None and known.container is None:
                node.refuse("it names a container, and another variable's is absent, which TFLM cannot compare")
            if wanted.container in (None, known.container) and wanted.shared_name == known.shared_name:
                return resource
        return len(self._resources)

    def _read_variable(self, node: Node) -> None:
        node.counts((1,), 1)
        handle = node.input(0)
        self._allocate_temp_tensor(handle)
        node.ensure(handle.dtype == "RESOURCE" and handle.elements == 1, "its input is not a resource handle")

    def _assign_variable(self, node: Node) -> None:
        """`MicroResourceVariables::Allocate`: the state buffer, when its variable is first assigned."""
        node.counts((2,), 0)
        handle, value = node.input(0), node.input(1)
        is_handle = handle.dtype in ("RESOURCE", "INT32") and handle.elements == 1
        node.ensure(is_handle and not self._model.is_constant(handle), "its first input is not a resource handle")
        self._allocate_temp_tensor(value)
        resource = self._handles.get((node.subgraph.index, handle.index))
        if resource is not None and resource not in self._allocated_resources:
            self._allocated_resources.add(resource)
            self.arena.allocate_persistent("resource_variables", tensor_bytes(value), BUFFER_ALIGNMENT)

    def _finish_model_allocation(self) -> None:
        """`FinishModelAllocation`: scratch handles, `CommitStaticMemoryPlan`, and the head as large as the plan."""
        structs, arena, model = self._structs, self.arena, self._model
        if self.requests:
            arena.allocate_persistent("scratch_handles", structs.scratch_buffer_handle * len(self.requests))
        infos = sum(len(subgraph.tensors) for subgraph in model.subgraphs) + len(self.requests)
        arena.allocate_temp(4 * len(model.subgraphs))
        arena.allocate_temp(structs.allocation_info * infos)
        self._allocate_variables()
        self.lifetimes.mark(model.subgraphs)
        buffers = self._collect_buffers()
        self.planning = arena.require_workspace(structs.planner_per_buffer * len(buffers))
        offsets = plan_greedily([buffer.requirement for buffer in buffers])
        self.plan = [
            PlacedBuffer(buffer.subgraph, buffer.tensor, buffer.operator, offset, buffer.requirement)
            for buffer, offset in zip(buffers, offsets, strict=True)
        ]
        arena.reset_temp()
        arena.resize_head(max((buffer.offset + buffer.requirement.size for buffer in self.plan), default=0))

    def _allocate_variables(self) -> None:
        """`AllocateVariables`: tensors flagged as variable, which TensorFlow 1 models have."""
        for subgraph in self._model.subgraphs:
            for tensor in subgraph.tensors:
                if tensor.is_variable:
                    self.arena.allocate_persistent("variable_tensors", tensor_bytes(tensor), BUFFER_ALIGNMENT)

    def _collect_buffers(self) -> list[PlacedBuffer]:
        """`InitializeAllocationInfo` and `CreatePlan`: what needs a place, tensors first, then scratch."""
        buffers = [
            self._unplaced(subgraph.index, tensor.index, None, tensor_bytes(tensor))
            for subgraph in self._model.subgraphs
            for tensor in subgraph.tensors
            if self._needs_allocating(subgraph, tensor)
        ]
        for request in self.requests:
            if (request.subgraph, request.operator) not in self.lifetimes.scratch:
                message = f"subgraph {request.subgraph} needs scratch memory and nothing calls it"
                raise UnsupportedModelError(message, hint="TFLM plans such a buffer with an undefined size")
            buffers.append(self._unplaced(request.subgraph, None, request.operator, request.size))
        if len(buffers) > _MAX_PLANNED_BUFFERS:
            raise UnsupportedModelError(
                f"{len(buffers)} buffers to plan; no more than {_MAX_PLANNED_BUFFERS} are",
                hint="use a smaller model: a wake word has some 100 buffers",
            )
        return buffers

    def _needs_allocating(self, subgraph: Subgraph, tensor: Tensor) -> bool:
        if tensor.is_variable or self._model.is_constant(tensor):
            return False
        return (subgraph.index, tensor.index) not in self._handles and tensor_bytes(tensor) > 0

    def _unplaced(self, subgraph: int, tensor: int | None, operator: int | None, size: int) -> PlacedBuffer:
        if tensor is not None:
            first, last = self.lifetimes.tensor(subgraph, tensor)
        else:
            assert operator is not None
            first, last = self.lifetimes.scratch[subgraph, operator]
        return PlacedBuffer(subgraph, tensor, operator, 0, BufferRequirement(align_up(size), first, last))

    def _allocate_persistent_tensors(self, tensors: tuple[int, ...]) -> None:
        """`AllocatePersistentTfLiteTensor` for the model's inputs or outputs, and the array that lists them."""
        self.arena.allocate_persistent("input_output_tensors", 4 * len(tensors), BUFFER_ALIGNMENT)
        for index in tensors:
            for size in _tensor_structs(self.runtime, self._model.main.tensors[index]):
                self.arena.allocate_persistent("input_output_tensors", size)


def params_alignment(size: int) -> int:
    """Alignment of an operator's options: one of 1 byte is a single bool."""
    return 4 if size >= 4 else 1


def tensor_bytes(tensor: Tensor) -> int:
    """`TfLiteEvalTensorByteLength`; TFLM counts a byte for each 4-bit element.

    Raises:
        UnsupportedModelError: TFLM knows no size for the type.
    """
    if tensor.dtype == "INT4":
        return tensor.elements
    if tensor.dtype not in TENSOR_TYPE_SIZES:
        raise UnsupportedModelError(
            f"tensor {tensor.index} is {tensor.dtype}, which TFLM has no size for", hint=EXPORT_AGAIN
        )
    return tensor.elements * TENSOR_TYPE_SIZES[tensor.dtype]


def _check_operator(subgraph: Subgraph, operator: Operator) -> None:
    """What is refused before any kernel is asked."""
    place = f"{operator.op} (operator {operator.index} of subgraph {subgraph.index})"
    if operator.op not in REGISTERED_OPS:
        name = operator.custom_code or operator.op
        hint = f"it registers {len(REGISTERED_OPS)}: {', '.join(REGISTERED_OPS)}"
        raise UnsupportedModelError(f"{name} is not registered in ESPHome's runtime", hint=hint)
    if operator.custom_options:
        raise UnsupportedModelError(
            f"{place} has custom options, which TFLM refuses on a builtin operator", hint=EXPORT_AGAIN
        )
    if operator.intermediates:
        raise UnsupportedModelError(
            f"{place} has intermediate tensors, which no registered operator may have", hint=EXPORT_AGAIN
        )


def _tensor_structs(runtime: Runtime, tensor: Tensor) -> tuple[int, ...]:
    """`InitializeTfLiteTensorFromFlatbuffer`: the TfLiteTensor, and its quantisation with all zero points."""
    structs = runtime.structs
    if tensor.quantization is None:
        return (structs.tflite_tensor,)
    zero_points = 4 + 4 * len(tensor.quantization.scales)  # TfLiteIntArray
    return structs.tflite_tensor, structs.affine_quantization, zero_points

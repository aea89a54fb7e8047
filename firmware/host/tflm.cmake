# The engine of the firmware against the esp-tflite-micro checkout that MWW_TFLM_SOURCE names, with the reference
# kernels of the operators that micro_wake_word registers: `mww_tflm` runs a model on frames from its standard input.
set(TFLITE ${MWW_TFLM_SOURCE}/tensorflow/lite)
if(NOT EXISTS ${TFLITE}/micro/micro_interpreter.cc)
  message(FATAL_ERROR "MWW_TFLM_SOURCE (${MWW_TFLM_SOURCE}) is no esp-tflite-micro checkout")
endif()

set(KERNELS
  add add_common assign_variable call_once concatenation conv conv_common depthwise_conv depthwise_conv_common
  fully_connected fully_connected_common kernel_util logistic logistic_common micro_tensor_utils mul mul_common pack pad
  pooling pooling_common quantize quantize_common read_variable reduce reduce_common reshape reshape_common split_v
  strided_slice strided_slice_common var_handle)
list(TRANSFORM KERNELS PREPEND ${TFLITE}/micro/kernels/)
list(TRANSFORM KERNELS APPEND .cc)

set(RUNTIME
  core/api/flatbuffer_conversions core/api/tensor_utils core/c/common kernels/internal/common
  kernels/internal/portable_tensor_utils kernels/internal/quantization_util kernels/internal/reference/portable_tensor_utils
  kernels/internal/tensor_ctypes kernels/internal/tensor_utils kernels/kernel_util
  micro/arena_allocator/non_persistent_arena_buffer_allocator micro/arena_allocator/persistent_arena_buffer_allocator
  micro/arena_allocator/single_arena_buffer_allocator micro/debug_log micro/flatbuffer_utils micro/memory_helpers
  micro/memory_planner/greedy_memory_planner micro/memory_planner/linear_memory_planner micro/micro_allocation_info micro/micro_allocator micro/micro_context
  micro/micro_interpreter micro/micro_interpreter_context micro/micro_interpreter_graph micro/micro_log
  micro/micro_op_resolver micro/micro_resource_variable micro/micro_utils micro/system_setup
  micro/tflite_bridge/flatbuffer_conversions_bridge micro/tflite_bridge/micro_error_reporter)
list(TRANSFORM RUNTIME PREPEND ${TFLITE}/)
list(TRANSFORM RUNTIME APPEND .cc)

add_library(tflm STATIC ${KERNELS} ${RUNTIME}
  ${MWW_TFLM_SOURCE}/tensorflow/compiler/mlir/lite/core/api/error_reporter.cc
  ${MWW_TFLM_SOURCE}/tensorflow/compiler/mlir/lite/schema/schema_utils.cc)
target_include_directories(tflm SYSTEM PUBLIC
  ${MWW_TFLM_SOURCE} ${MWW_TFLM_SOURCE}/third_party/gemmlowp ${MWW_TFLM_SOURCE}/third_party/flatbuffers/include
  ${MWW_TFLM_SOURCE}/third_party/ruy)
# As micro_wake_word builds it, but for ESP_NN, whose kernels are the chip's.
target_compile_definitions(tflm PUBLIC TF_LITE_STATIC_MEMORY TF_LITE_DISABLE_X86_NEON)
target_compile_options(tflm PRIVATE -w -fno-exceptions -fno-rtti -fno-threadsafe-statics)

add_executable(mww_tflm ${COMPONENT}/engine_tflm.cpp ${COMPONENT}/wire.cpp src/mww_tflm.cpp)
target_compile_definitions(mww_tflm PRIVATE MWW_HARNESS_TFLM)
target_link_libraries(mww_tflm PRIVATE mww_options tflm)

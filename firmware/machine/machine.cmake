# The firmware as a program for a bare machine, `mww_machine`; a toolchain file of this folder has chosen which.
set(machine ${CMAKE_CURRENT_LIST_DIR})
set(MWW_MACHINE_ENGINES "" CACHE FILEPATH "A header with the interpreters, where there is no MWW_TFLM_LIBRARY")
set(MWW_TFLM_VERSION "" CACHE STRING "Version of the TensorFlow Lite Micro in MWW_TFLM_LIBRARY")
set(MWW_ESP_NN_VERSION "" CACHE STRING "Version of the esp-nn in it")
file(STRINGS ${COMPONENT}/__init__.py version REGEX "^VERSION = ")
string(REGEX MATCH "[0-9.]+" version "${version}")

enable_language(ASM)
add_executable(mww_machine ${CORE_SOURCES} ${machine}/main.cpp ${machine}/support.cpp ${machine}/uart.cpp
                           ${machine}/${MWW_MACHINE}.cpp ${machine}/${MWW_MACHINE}.S)
if(MWW_MACHINE STREQUAL "xtensa")
  target_sources(mww_machine PRIVATE ${machine}/xtensa_arithmetic.cpp)
endif()
target_include_directories(mww_machine PRIVATE ${machine})
target_compile_definitions(mww_machine PRIVATE MWW_HARNESS_VERSION="${version}" MWW_TFLM_VERSION="${MWW_TFLM_VERSION}"
                                               MWW_ESP_NN_VERSION="${MWW_ESP_NN_VERSION}")
set_target_properties(mww_machine PROPERTIES SUFFIX .elf)
target_link_libraries(mww_machine PRIVATE mww_options)
if(MWW_TFLM_LIBRARY)
  target_sources(mww_machine PRIVATE ${COMPONENT}/engine_tflm.cpp ${COMPONENT}/trial_arena.cpp
                                     ${machine}/kernels.cpp)
  target_link_libraries(mww_machine PRIVATE mww_tflm_library)
elseif(MWW_MACHINE_ENGINES)
  target_compile_definitions(mww_machine PRIVATE MWW_MACHINE_ENGINES="${MWW_MACHINE_ENGINES}")
endif()
target_link_options(mww_machine PRIVATE -nostartfiles -nostdlib ${MWW_LINK_FLAGS} -L${machine} -T${MWW_MACHINE}.ld
                                        -Wl,--gc-sections -Wl,--fatal-warnings -Wl,-Map=mww_machine.map)
target_link_libraries(mww_machine PRIVATE -Wl,--start-group -lm -lc -lgcc -Wl,--end-group)

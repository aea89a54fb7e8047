# RV32IMC, the instruction set of an ESP32-C3, for QEMU's `virt`: cmake --toolchain firmware/machine/rv32imc.cmake
set(MWW_MACHINE rv32imc)
set(MWW_PREFIX riscv64-unknown-elf-)
set(MWW_PACKAGES "gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf")
set(MWW_MACHINE_FLAGS -march=rv32imc -mabi=ilp32 -msmall-data-limit=0)
set(MWW_C_INCLUDE /usr/lib/picolibc/riscv64-unknown-elf/include)
set(MWW_C_LIBRARIES /usr/lib/picolibc/riscv64-unknown-elf/lib/release/%M /usr/lib/picolibc/riscv64-unknown-elf/lib/%M)
include(${CMAKE_CURRENT_LIST_DIR}/toolchain.cmake)

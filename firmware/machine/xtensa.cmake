# Xtensa without windows or a floating point unit, the lx106 of an ESP8266, whose family of instruction sets the ESP32's
# is of, for QEMU's `lx60-nommu`: cmake --toolchain firmware/machine/xtensa.cmake
set(MWW_MACHINE xtensa)
set(MWW_PREFIX xtensa-lx106-elf-)
set(MWW_PACKAGES "gcc-xtensa-lx106 picolibc-xtensa-lx106-elf")
set(MWW_MACHINE_FLAGS -mlongcalls -mtext-section-literals)
set(MWW_C_INCLUDE /usr/lib/xtensa-lx106-elf/include)
set(MWW_C_LIBRARIES /usr/lib/xtensa-lx106-elf/lib)
include(${CMAKE_CURRENT_LIST_DIR}/toolchain.cmake)

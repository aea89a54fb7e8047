# What both machines' toolchain files share. They set MWW_MACHINE, MWW_PREFIX (of the cross compiler's names),
# MWW_PACKAGES (of apt), MWW_MACHINE_FLAGS, MWW_C_INCLUDE (the C library's headers) and MWW_C_LIBRARIES (folders in which
# to look for it, of which %M is the part that depends on the flags), and then include this.
set(CMAKE_SYSTEM_NAME Generic)
set(CMAKE_SYSTEM_PROCESSOR ${MWW_MACHINE})
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)

find_program(MWW_COMPILER ${MWW_PREFIX}g++)
if(NOT MWW_COMPILER OR NOT EXISTS ${MWW_C_INCLUDE}/stdio.h)
  message(FATAL_ERROR "${MWW_PREFIX}g++ or its C library is missing: apt-get install ${MWW_PACKAGES}")
endif()
set(CMAKE_C_COMPILER ${MWW_PREFIX}gcc)
set(CMAKE_CXX_COMPILER ${MWW_PREFIX}g++)
set(CMAKE_ASM_COMPILER ${MWW_PREFIX}gcc)

# Debian's cross compilers come without headers of the C++ library. The host's, of the same version, serve: they are
# templates, and include/ has what they ask about the system.
execute_process(COMMAND ${MWW_COMPILER} -dumpversion OUTPUT_VARIABLE version OUTPUT_STRIP_TRAILING_WHITESPACE)
string(REGEX MATCH "^[0-9]+" version "${version}")
file(GLOB configuration /usr/include/*/c++/${version}/bits/c++config.h)
if(NOT configuration)
  message(FATAL_ERROR "the headers of the C++ library ${version} are missing: apt-get install libstdc++-${version}-dev")
endif()
list(GET configuration 0 configuration)
cmake_path(GET configuration PARENT_PATH configuration)
cmake_path(GET configuration PARENT_PATH configuration)
set(headers "-nostdinc++ -isystem ${CMAKE_CURRENT_LIST_DIR}/include -isystem /usr/include/c++/${version}")
string(APPEND headers " -isystem ${configuration} -isystem ${MWW_C_INCLUDE}")

execute_process(COMMAND ${MWW_COMPILER} ${MWW_MACHINE_FLAGS} -print-multi-directory
                OUTPUT_VARIABLE multi OUTPUT_STRIP_TRAILING_WHITESPACE)
set(MWW_LINK_FLAGS "")
foreach(folder ${MWW_C_LIBRARIES})
  string(REPLACE "%M" "${multi}" folder "${folder}")
  list(APPEND MWW_LINK_FLAGS "-L${folder}")
endforeach()

list(JOIN MWW_MACHINE_FLAGS " " flags)
set(sections "-ffunction-sections -fdata-sections")
set(CMAKE_C_FLAGS_INIT "${flags} ${sections} -isystem ${MWW_C_INCLUDE}")
set(CMAKE_ASM_FLAGS_INIT "${flags}")
set(CMAKE_CXX_FLAGS_INIT "${flags} ${sections} ${headers} -fno-exceptions -fno-rtti -fno-threadsafe-statics")
foreach(language C CXX)
  set(CMAKE_${language}_FLAGS_RELEASE "-O2" CACHE STRING "")
endforeach()

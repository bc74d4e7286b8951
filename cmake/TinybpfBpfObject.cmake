# Compiles BPF programs with clang. Comes with find_package(tinybpf), and with add_subdirectory.
#
#   tinybpf_add_bpf_object(<target>
#     SOURCES <a.bpf.c> [<b.bpf.c>...]
#     [OUTPUT <file>]                     default: a.bpf.o for one source, <target>.bpf.o for several
#     [DEFINITION <macro>]                default: <TARGET>_O, in capitals
#     [INCLUDE_DIRECTORIES <dir>...] [DEFINITIONS <macro[=value]>...] [OPTIONS <clang option>...]
#     [ARCH <arch>]                       x86, arm64, arm, riscv, s390, powerpc, mips, loongarch; default: the one
#                                         that CMake builds for. Another one wants a VMLINUX_H of its own.
#     [VMLINUX_H <file> | NO_VMLINUX_H]   a file named vmlinux.h; default: made from the running kernel, once per
#                                         build tree
#   )
#
# <target> is built with the rest, and stands for the object wherever CMake takes a target:
#
#   tinybpf_add_bpf_object(exec_snoop_bpf SOURCES exec_snoop.bpf.c)
#   target_link_libraries(exec_snoop PRIVATE tinybpf::tinybpf exec_snoop_bpf)
#
# builds the object before exec_snoop, and defines EXEC_SNOOP_BPF_O there as the object's absolute path, a string:
# tinybpf::object::open(EXEC_SNOOP_BPF_O). The path is also the target's property TINYBPF_BPF_OBJECT.
#
# Sources may include "vmlinux.h", <bpf/bpf_helpers.h> and the other headers of libbpf, and "tinybpf.bpf.h".
# Several sources are compiled one by one and linked by bpftool into one object. A changed header recompiles.
#
# Variables that the user of a build may set:
#   TINYBPF_BPF_CLANG   clang; looked for as clang-16, -19, -18, -17, -20, -21, then as clang, and refused below 15
#   TINYBPF_BPFTOOL     bpftool
#   TINYBPF_VMLINUX_H   a vmlinux.h to use instead of the running kernel's

include_guard(GLOBAL)
cmake_policy(VERSION 3.25...3.31)

# The path of a clang that is good for BPF.
function(tinybpf_find_bpf_clang result)
  if(NOT TINYBPF_BPF_CLANG)
    set(refused "")
    foreach(name IN ITEMS clang-16 clang-19 clang-18 clang-17 clang-20 clang-21 clang)
      find_program(tinybpf_clang NAMES ${name} NO_CACHE)
      if(tinybpf_clang)
        execute_process(COMMAND "${tinybpf_clang}" -dumpversion OUTPUT_VARIABLE version OUTPUT_STRIP_TRAILING_WHITESPACE)
        if(version VERSION_GREATER_EQUAL 15)
          set(TINYBPF_BPF_CLANG "${tinybpf_clang}" CACHE FILEPATH "The clang that compiles BPF programs")
          break()
        endif()
        string(APPEND refused "\n${tinybpf_clang} is version ${version}: it writes the values of 64-bit enums wrongly.")
      endif()
      unset(tinybpf_clang)
    endforeach()
    if(NOT TINYBPF_BPF_CLANG)
      message(FATAL_ERROR "tinybpf: BPF programs need clang 15 or later (Debian: apt-get install clang-16).${refused}\n"
                          "To use a particular clang, set TINYBPF_BPF_CLANG to its path.")
    endif()
    message(STATUS "BPF programs are compiled with ${TINYBPF_BPF_CLANG}")
  endif()
  set(${result} "${TINYBPF_BPF_CLANG}" PARENT_SCOPE)
endfunction()

# The path of bpftool. Debian keeps it in sbin, which a user's PATH may lack.
function(tinybpf_find_bpftool result)
  find_program(TINYBPF_BPFTOOL NAMES bpftool PATHS /usr/sbin /usr/local/sbin DOC "bpftool")
  if(NOT TINYBPF_BPFTOOL)
    message(FATAL_ERROR "tinybpf: bpftool is needed (Debian: apt-get install bpftool). "
                        "If it is in an unusual place, set TINYBPF_BPFTOOL to its path.")
  endif()
  set(${result} "${TINYBPF_BPFTOOL}" PARENT_SCOPE)
endfunction()

# The path of the build tree's vmlinux.h, made now if it is not there yet. A newer kernel does not make it out of date:
# programs that read the kernel's types are relocated to the kernel that they are loaded into.
function(tinybpf_make_vmlinux_h result)
  if(TINYBPF_VMLINUX_H)
    cmake_path(ABSOLUTE_PATH TINYBPF_VMLINUX_H BASE_DIRECTORY "${CMAKE_SOURCE_DIR}" OUTPUT_VARIABLE given)
    set(${result} "${given}" PARENT_SCOPE)
    return()
  endif()
  set(header "${CMAKE_BINARY_DIR}/tinybpf_vmlinux/vmlinux.h")
  if(NOT EXISTS "${header}")
    set(btf /sys/kernel/btf/vmlinux)
    if(NOT EXISTS "${btf}")
      message(FATAL_ERROR "tinybpf: ${btf} is missing, so vmlinux.h cannot be made from the running kernel. "
                          "Set TINYBPF_VMLINUX_H to a vmlinux.h made on another machine.")
    endif()
    tinybpf_find_bpftool(bpftool)
    message(STATUS "Making vmlinux.h from ${btf}")
    file(MAKE_DIRECTORY "${CMAKE_BINARY_DIR}/tinybpf_vmlinux")
    execute_process(
      COMMAND "${bpftool}" btf dump file "${btf}" format c
      OUTPUT_FILE "${header}.new"
      ERROR_VARIABLE error
      RESULT_VARIABLE status
    )
    if(status)
      message(FATAL_ERROR "tinybpf: ${bpftool} cannot make vmlinux.h from ${btf}: ${error}")
    endif()
    file(RENAME "${header}.new" "${header}")
  endif()
  # Whoever deletes the header gets it made again by the next build.
  set_property(DIRECTORY "${CMAKE_SOURCE_DIR}" APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${header}")
  set(${result} "${header}" PARENT_SCOPE)
endfunction()

# The name that bpf_tracing.h knows a processor by, in __TARGET_ARCH_<name>.
function(tinybpf_bpf_arch result)
  string(TOLOWER "${CMAKE_SYSTEM_PROCESSOR}" processor)
  if(processor MATCHES "^(x86_64|amd64|i[3-6]86)$")
    set(arch x86)
  elseif(processor MATCHES "^(aarch64|arm64)")
    set(arch arm64)
  elseif(processor MATCHES "^arm")
    set(arch arm)
  elseif(processor MATCHES "^riscv")
    set(arch riscv)
  elseif(processor MATCHES "^s390")
    set(arch s390)
  elseif(processor MATCHES "^(ppc|powerpc)")
    set(arch powerpc)
  elseif(processor MATCHES "^mips")
    set(arch mips)
  elseif(processor MATCHES "^loongarch")
    set(arch loongarch)
  else()
    message(FATAL_ERROR "tinybpf: no BPF name is known for the processor '${CMAKE_SYSTEM_PROCESSOR}'. Pass ARCH.")
  endif()
  set(${result} ${arch} PARENT_SCOPE)
endfunction()

function(tinybpf_add_bpf_object target)
  cmake_parse_arguments(
    PARSE_ARGV 1 arg
    "NO_VMLINUX_H"
    "OUTPUT;DEFINITION;ARCH;VMLINUX_H"
    "SOURCES;INCLUDE_DIRECTORIES;DEFINITIONS;OPTIONS"
  )
  if(arg_UNPARSED_ARGUMENTS OR NOT arg_SOURCES)
    message(FATAL_ERROR "tinybpf_add_bpf_object(${target}): needs SOURCES, does not know '${arg_UNPARSED_ARGUMENTS}'")
  endif()
  list(LENGTH arg_SOURCES source_count)

  if(NOT arg_ARCH)
    tinybpf_bpf_arch(arg_ARCH)
  endif()
  if(NOT arg_DEFINITION)
    string(TOUPPER "${target}_O" arg_DEFINITION)
    string(REGEX REPLACE "[^A-Z0-9_]" "_" arg_DEFINITION "${arg_DEFINITION}")
  endif()
  if(NOT arg_OUTPUT)
    if(source_count EQUAL 1)
      cmake_path(GET arg_SOURCES STEM LAST_ONLY stem)
    else()
      set(stem ${target}.bpf)
    endif()
    set(arg_OUTPUT ${stem}.o)
  endif()
  cmake_path(ABSOLUTE_PATH arg_OUTPUT BASE_DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}" NORMALIZE)
  cmake_path(GET arg_OUTPUT PARENT_PATH output_directory)
  file(MAKE_DIRECTORY "${output_directory}")

  tinybpf_find_bpf_clang(clang)
  # -g is what makes clang write BTF.
  set(options -target bpf -mcpu=v3 -g -O2 -Wall -D__TARGET_ARCH_${arg_ARCH})
  foreach(definition IN LISTS arg_DEFINITIONS)
    list(APPEND options -D${definition})
  endforeach()
  foreach(directory IN LISTS arg_INCLUDE_DIRECTORIES)
    cmake_path(ABSOLUTE_PATH directory)
    list(APPEND options -I${directory})
  endforeach()
  get_property(tinybpf_include_directory GLOBAL PROPERTY TINYBPF_BPF_INCLUDE_DIR)
  list(APPEND options -I${tinybpf_include_directory})
  if(NOT arg_NO_VMLINUX_H)
    if(arg_VMLINUX_H)
      cmake_path(ABSOLUTE_PATH arg_VMLINUX_H)
    else()
      tinybpf_make_vmlinux_h(arg_VMLINUX_H)
    endif()
    cmake_path(GET arg_VMLINUX_H FILENAME name)
    if(NOT EXISTS "${arg_VMLINUX_H}" OR NOT name STREQUAL "vmlinux.h")
      message(FATAL_ERROR "tinybpf: ${arg_VMLINUX_H} is not a file named vmlinux.h")
    endif()
    cmake_path(GET arg_VMLINUX_H PARENT_PATH directory)
    list(APPEND options -isystem ${directory})
  endif()
  if(tinybpf_libbpf_INCLUDEDIR AND NOT tinybpf_libbpf_INCLUDEDIR STREQUAL /usr/include)
    list(APPEND options -isystem ${tinybpf_libbpf_INCLUDEDIR})
  endif()
  # <asm/types.h> and its like, which clang does not look for when its target is BPF.
  if(CMAKE_LIBRARY_ARCHITECTURE)
    list(APPEND options -idirafter /usr/include/${CMAKE_LIBRARY_ARCHITECTURE})
  endif()
  list(APPEND options ${arg_OPTIONS})

  set(parts "")
  foreach(source IN LISTS arg_SOURCES)
    cmake_path(ABSOLUTE_PATH source NORMALIZE)
    if(source_count EQUAL 1)
      set(part "${arg_OUTPUT}")
    else()
      cmake_path(GET source STEM LAST_ONLY stem)
      set(part "${output_directory}/${target}.dir/${stem}.o")
      file(MAKE_DIRECTORY "${output_directory}/${target}.dir")
    endif()
    add_custom_command(
      OUTPUT "${part}"
      COMMAND "${clang}" ${options} -MD -MF "${part}.d" -MT "${part}" -c "${source}" -o "${part}"
      DEPENDS "${source}"
      DEPFILE "${part}.d"
      COMMENT "Building BPF object ${part}"
      COMMAND_EXPAND_LISTS VERBATIM
    )
    list(APPEND parts "${part}")
  endforeach()
  if(source_count GREATER 1)
    tinybpf_find_bpftool(bpftool)
    add_custom_command(
      OUTPUT "${arg_OUTPUT}"
      COMMAND "${bpftool}" gen object "${arg_OUTPUT}" ${parts}
      DEPENDS ${parts}
      COMMENT "Linking BPF object ${arg_OUTPUT}"
      VERBATIM
    )
  endif()

  # An interface library can be linked, which brings the definition, and has a source, which makes CMake build it first.
  add_library(${target} INTERFACE)
  target_sources(${target} PRIVATE "${arg_OUTPUT}")
  target_compile_definitions(${target} INTERFACE "${arg_DEFINITION}=\"${arg_OUTPUT}\"")
  set_target_properties(${target} PROPERTIES TINYBPF_BPF_OBJECT "${arg_OUTPUT}")
endfunction()

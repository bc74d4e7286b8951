# tinybpf_project_target(<target>...)
#
# Gives the project's own targets what users of the library must not inherit: warnings and sanitizers.
function(tinybpf_project_target)
  foreach(target IN LISTS ARGN)
    set_target_properties(${target} PROPERTIES CXX_EXTENSIONS OFF)
    if(TINYBPF_WERROR)
      target_compile_options(${target} PRIVATE -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror)
    endif()
    if(TINYBPF_SANITIZE)
      # A report has to fail the test that caused it, so nothing is recovered from.
      set(flags -fsanitize=${TINYBPF_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
      if(TINYBPF_SANITIZE MATCHES undefined AND CMAKE_CXX_COMPILER_ID STREQUAL Clang)
        # It opens a pipe to look at an object, and takes it for a broken one where a test has used up the descriptors.
        list(APPEND flags -fno-sanitize=vptr)
      endif()
      target_compile_options(${target} PRIVATE ${flags})
      target_link_options(${target} PRIVATE ${flags})
      if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
        # Says so of Asio's empty tokens once a sanitizer has changed the code.
        target_compile_options(${target} PRIVATE -Wno-maybe-uninitialized)
      endif()
      if(TINYBPF_SANITIZE MATCHES thread AND CMAKE_CXX_COMPILER_ID STREQUAL GNU)
        # Says that ThreadSanitizer does not see the fences of Asio, which has locks beside them.
        target_compile_options(${target} PRIVATE -Wno-tsan)
      endif()
    endif()
  endforeach()
endfunction()

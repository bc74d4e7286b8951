# cmake -DCONSUMER=<folder> -DWORK=<folder> -DBUILD=<build tree> [-DSHARED=ON] [-DINSTALL=ON] -P packaging.cmake
#
# Builds and tests a small project that uses the library the way CONSUMER's CMakeLists.txt does, in WORK.
# INSTALL installs the library of the build tree BUILD first, or with SHARED a shared one that is built for it.

function(run)
  execute_process(COMMAND ${ARGN} COMMAND_ECHO STDOUT COMMAND_ERROR_IS_FATAL ANY)
endfunction()

load_cache("${BUILD}" READ_WITH_PREFIX "" CMAKE_HOME_DIRECTORY CMAKE_GENERATOR CMAKE_CXX_COMPILER CMAKE_BUILD_TYPE)
set(like_build -G "${CMAKE_GENERATOR}" "-DCMAKE_CXX_COMPILER=${CMAKE_CXX_COMPILER}" "-DCMAKE_BUILD_TYPE=${CMAKE_BUILD_TYPE}")

set(find_tinybpf "")
if(INSTALL)
  # What an earlier run installed must not stand in for what is missing now. Only the library's objects are kept.
  file(REMOVE_RECURSE "${WORK}/prefix" "${WORK}/consumer")
  if(SHARED)
    run("${CMAKE_COMMAND}" -S "${CMAKE_HOME_DIRECTORY}" -B "${WORK}/library" ${like_build} -DBUILD_SHARED_LIBS=ON
        -DTINYBPF_BUILD_TESTS=OFF -DTINYBPF_BUILD_EXAMPLES=OFF -DTINYBPF_BUILD_BENCHMARKS=OFF)
    run("${CMAKE_COMMAND}" --build "${WORK}/library" --parallel)
    set(BUILD "${WORK}/library")
  endif()
  run("${CMAKE_COMMAND}" --install "${BUILD}" --prefix "${WORK}/prefix")
  file(GLOB pkgconfig "${WORK}/prefix/lib*/pkgconfig" "${WORK}/prefix/lib*/*/pkgconfig")
  set(ENV{PKG_CONFIG_PATH} "${pkgconfig}:$ENV{PKG_CONFIG_PATH}")
  set(find_tinybpf "-DCMAKE_PREFIX_PATH=${WORK}/prefix")
endif()

run("${CMAKE_COMMAND}" -S "${CONSUMER}" -B "${WORK}/consumer" ${like_build} ${find_tinybpf})
run("${CMAKE_COMMAND}" --build "${WORK}/consumer" --parallel)
run("${CMAKE_CTEST_COMMAND}" --test-dir "${WORK}/consumer" --output-on-failure --no-tests=error)

# What `cmake --install` copies: headers, library, the CMake package and the pkg-config file. All can be moved together.

include(CMakePackageConfigHelpers)

set(tinybpf_package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/tinybpf")
set(tinybpf_bpf_header_dir "${CMAKE_INSTALL_INCLUDEDIR}/tinybpf/bpf")
set(tinybpf_pkgconfig_dir "${CMAKE_INSTALL_LIBDIR}/pkgconfig")

install(DIRECTORY include/tinybpf DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" FILES_MATCHING PATTERN "*.hpp")
install(DIRECTORY bpf/ DESTINATION "${tinybpf_bpf_header_dir}" FILES_MATCHING PATTERN "tinybpf*.bpf.h")
install(TARGETS tinybpf EXPORT tinybpf_targets)

install(EXPORT tinybpf_targets NAMESPACE tinybpf:: FILE tinybpfTargets.cmake DESTINATION "${tinybpf_package_dir}")
configure_package_config_file(
  cmake/tinybpfConfig.cmake.in
  "${PROJECT_BINARY_DIR}/tinybpfConfig.cmake"
  INSTALL_DESTINATION "${tinybpf_package_dir}"
  PATH_VARS tinybpf_bpf_header_dir
)
# Before 1.0, a minor version may break what was built against the one before.
write_basic_package_version_file("${PROJECT_BINARY_DIR}/tinybpfConfigVersion.cmake" COMPATIBILITY SameMinorVersion)
install(
  FILES
    "${PROJECT_BINARY_DIR}/tinybpfConfig.cmake"
    "${PROJECT_BINARY_DIR}/tinybpfConfigVersion.cmake"
    cmake/TinybpfBpfObject.cmake
  DESTINATION "${tinybpf_package_dir}"
)

# For pkg-config: the prefix is found from where the file lies. A static library needs what it is made of to be linked too.
file(RELATIVE_PATH tinybpf_pc_up "${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig" "${CMAKE_INSTALL_PREFIX}")
string(REGEX REPLACE "/$" "" tinybpf_pc_up "${tinybpf_pc_up}")
set(tinybpf_pc_requires "libbpf >= 1.1")
if(NOT BUILD_SHARED_LIBS)
  string(APPEND tinybpf_pc_requires ", libelf")
endif()
configure_file(cmake/tinybpf.pc.in "${PROJECT_BINARY_DIR}/tinybpf.pc" @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/tinybpf.pc" DESTINATION "${tinybpf_pkgconfig_dir}")

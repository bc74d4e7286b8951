# What the library is linked with. Included by the project and by its installed package, so that both look for the same.
# Everything found here is made visible to the whole build, because whoever links the library from another directory
# needs these targets too.

set(tinybpf_find_package_targets_global "${CMAKE_FIND_PACKAGE_TARGETS_GLOBAL}")
set(CMAKE_FIND_PACKAGE_TARGETS_GLOBAL ON)

find_package(Threads REQUIRED)
find_package(Boost 1.81 REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(tinybpf_libbpf REQUIRED IMPORTED_TARGET GLOBAL libbpf>=1.1)
pkg_check_modules(tinybpf_libelf REQUIRED IMPORTED_TARGET GLOBAL libelf)

set(CMAKE_FIND_PACKAGE_TARGETS_GLOBAL "${tinybpf_find_package_targets_global}")
unset(tinybpf_find_package_targets_global)

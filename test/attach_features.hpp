// Whether the kernel has a way to attach, found out with plain libbpf: a program is loaded, alone, and attached.
#pragma once

#include <bpf/libbpf.h>

#include <functional>
#include <string>

namespace test {

/// While alive, libbpf says nothing.
class quiet_libbpf {
 public:
  quiet_libbpf() : before_{libbpf_set_print(nullptr)} {}
  quiet_libbpf(quiet_libbpf const&) = delete;
  quiet_libbpf& operator=(quiet_libbpf const&) = delete;
  ~quiet_libbpf() { libbpf_set_print(before_); }

 private:
  libbpf_print_fn_t before_;
};

/// True if the program can be loaded, and `attach` returns a link.
inline bool attaches(char const* file, char const* program, std::function<bpf_link*(bpf_program*)> const& attach) {
  quiet_libbpf const quiet;
  bpf_object* const object = bpf_object__open_file(file, nullptr);
  if (object == nullptr) return false;
  bpf_program* other = nullptr;
  bpf_object__for_each_program(other, object)
      bpf_program__set_autoload(other, program == std::string{bpf_program__name(other)});
  auto* const found = bpf_object__find_program_by_name(object, program);
  bpf_link* link = nullptr;
  if (found != nullptr && bpf_object__load(object) == 0) link = attach(found);
  bool const attached = link != nullptr;
  bpf_link__destroy(link);
  bpf_object__close(object);
  return attached;
}

}  // namespace test

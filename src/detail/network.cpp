#include "network.hpp"

#include <fcntl.h>
#include <net/if.h>

#include <memory>
#include <variant>

namespace tinybpf::detail {

int index_of(interface_ref const& interface) {
  char name[IF_NAMESIZE];
  if (auto const* const index = std::get_if<int>(&interface))
    return *index > 0 && if_indextoname(static_cast<unsigned>(*index), name) != nullptr ? *index : 0;
  return static_cast<int>(if_nametoindex(std::get<std::string>(interface).c_str()));
}

std::string text_of(interface_ref const& interface) {
  if (auto const* const name = std::get_if<std::string>(&interface)) return "interface '" + *name + "'";
  int const index = std::get<int>(interface);
  char name[IF_NAMESIZE];
  bool const named = index > 0 && if_indextoname(static_cast<unsigned>(index), name) != nullptr;
  return "interface " + std::to_string(index) + (named ? " (" + std::string{name} + ")" : std::string{});
}

std::vector<std::string> interface_names() {
  std::vector<std::string> names;
  std::unique_ptr<struct if_nameindex, void (*)(struct if_nameindex*)> const all{::if_nameindex(), if_freenameindex};
  for (auto const* i = all.get(); i != nullptr && i->if_index != 0; ++i) names.emplace_back(i->if_name);
  return names;
}

std::string text_of(path_or_fd const& place) {
  if (auto const* const path = std::get_if<std::filesystem::path>(&place)) return "'" + path->string() + "'";
  return "descriptor " + std::to_string(std::get<int>(place));
}

opened::opened(path_or_fd const& place, int flags) {
  if (auto const* const path = std::get_if<std::filesystem::path>(&place)) {
    own_.reset(open(path->c_str(), flags | O_CLOEXEC));
    fd_ = own_.get();
  } else {
    fd_ = std::get<int>(place);
  }
}

}  // namespace tinybpf::detail

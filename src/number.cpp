#include <tinybpf/number.hpp>

#include <array>
#include <charconv>
#include <utility>

namespace tinybpf {

std::string number::to_string() const {
  std::array<char, 64> text;
  auto* const end = text.data() + text.size();
  auto const written = !is_integer()   ? std::to_chars(text.data(), end, floating_)
                       : is_negative() ? std::to_chars(text.data(), end, static_cast<std::int64_t>(bits_))
                                       : std::to_chars(text.data(), end, bits_);
  return {text.data(), written.ptr};
}

void detail::throw_out_of_range(number const& n) {
  diagnostics details;
  details.message = n.to_string() + " does not fit the type that is asked for";
  throw_error(errc::out_of_range, std::move(details));
}

}  // namespace tinybpf

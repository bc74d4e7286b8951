// Longest-prefix-match tries of IP networks.
#pragma once

#include <tinybpf/detail/map_view.hpp>
#include <tinybpf/detail/map_walk.hpp>
#include <tinybpf/error.hpp>
#include <tinybpf/layout.hpp>
#include <tinybpf/map.hpp>
#include <tinybpf/typed_map.hpp>
#include <tinybpf/types.hpp>

#include <boost/asio/ip/network_v4.hpp>
#include <boost/asio/ip/network_v6.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <type_traits>
#include <utility>

namespace tinybpf {

/// A trie that finds the longest of its networks that an address is in.
///
///     tinybpf::lpm_map<asio::ip::network_v4, std::uint32_t> zones{obj.map("zones")};
///     zones.update(asio::ip::make_network_v4("10.0.0.0/8"), 1);
///     auto const zone = zones.lookup(asio::ip::make_address_v4("10.1.2.3"));
///
/// In BPF the key is a struct of the prefix's length, 32 bits, and the address in the order of the network; how it
/// names them does not matter. Network is network_v4 or network_v6; bits behind the prefix are set to 0. The value's
/// type is checked when the view is made, as by `map::typed`. A handle of the map, closed when the map is: then every
/// call reports `errc::closed`. Thread-safety: as the map's.
template <class Network, shared_with_kernel V>
  requires std::default_initializable<V> && (std::is_same_v<Network, boost::asio::ip::network_v4> ||
                                             std::is_same_v<Network, boost::asio::ip::network_v6>)
class lpm_map {
  static constexpr bool is_v4 = std::is_same_v<Network, boost::asio::ip::network_v4>;

 public:
  using key_type = Network;
  using mapped_type = V;
  using value_type = std::pair<Network, V const&>;
  using address_type = std::conditional_t<is_v4, boost::asio::ip::address_v4, boost::asio::ip::address_v6>;

  /// Of a closed map.
  lpm_map() noexcept = default;
  /// Errors: `errc::closed`, `errc::wrong_map_type`, `errc::size_mismatch` (as for a trie of the other kind of
  /// addresses), `errc::type_mismatch`.
  explicit lpm_map(map m, field_names names = field_names::check) {
    detail::or_throw([&](error_code& ec, diagnostics& details) { open(m, names, ec, details); });
  }
  /// @overload Closed after an error.
  lpm_map(map m, field_names names, error_code& ec, diagnostics& details) { open(m, names, ec, details); }
  /// @overload
  lpm_map(map m, error_code& ec) {
    diagnostics details;
    open(m, field_names::check, ec, details);
  }

  /// The map itself.
  [[nodiscard]] map const& untyped() const noexcept { return map_.untyped(); }

  /// The value of the longest network in the trie that has the address, or nothing. Errors: `errc::closed`,
  /// `errc::not_loaded`, or the kernel's.
  [[nodiscard]] std::optional<V> lookup(address_type const& address) const { return map_.lookup(key_of(address)); }
  /// @overload
  std::optional<V> lookup(address_type const& address, error_code& ec) const {
    return map_.lookup(key_of(address), ec);
  }
  /// @overload
  std::optional<V> lookup(address_type const& address, error_code& ec, diagnostics& details) const {
    return map_.lookup(key_of(address), ec, details);
  }
  /// @overload Of the longest network that has all of this one.
  [[nodiscard]] std::optional<V> lookup(Network const& network) const { return map_.lookup(key_of(network)); }
  /// @overload
  std::optional<V> lookup(Network const& network, error_code& ec) const { return map_.lookup(key_of(network), ec); }
  /// @overload
  std::optional<V> lookup(Network const& network, error_code& ec, diagnostics& details) const {
    return map_.lookup(key_of(network), ec, details);
  }

  /// Inserts or replaces the value of exactly this network, as `flag` says. Errors: `errc::closed`,
  /// `errc::not_loaded`; the kernel's EEXIST, ENOENT, ENOSPC (full) and others.
  void update(Network const& network, V const& value, update_flag flag = update_flag::any) const {
    map_.update(key_of(network), value, flag);
  }
  /// @overload
  void update(Network const& network, V const& value, update_flag flag, error_code& ec) const {
    map_.update(key_of(network), value, flag, ec);
  }
  /// @overload
  void update(Network const& network, V const& value, update_flag flag, error_code& ec, diagnostics& details) const {
    map_.update(key_of(network), value, flag, ec, details);
  }

  /// Inserts; false, and no error, if exactly this network is there already. Errors: those of `update`.
  bool insert(Network const& network, V const& value) const { return map_.insert(key_of(network), value); }
  /// @overload
  bool insert(Network const& network, V const& value, error_code& ec) const {
    return map_.insert(key_of(network), value, ec);
  }
  /// @overload
  bool insert(Network const& network, V const& value, error_code& ec, diagnostics& details) const {
    return map_.insert(key_of(network), value, ec, details);
  }

  /// True if the address is in one of the networks. Errors: as of `lookup`.
  [[nodiscard]] bool contains(address_type const& address) const { return map_.contains(key_of(address)); }
  /// @overload
  bool contains(address_type const& address, error_code& ec) const { return map_.contains(key_of(address), ec); }
  /// @overload
  bool contains(address_type const& address, error_code& ec, diagnostics& details) const {
    return map_.contains(key_of(address), ec, details);
  }

  /// The value that `lookup` finds. Errors: those of `lookup`, and ENOENT if the address is in no network.
  [[nodiscard]] V at(address_type const& address) const { return map_.at(key_of(address)); }
  /// @overload
  V at(address_type const& address, error_code& ec) const { return map_.at(key_of(address), ec); }
  /// @overload
  V at(address_type const& address, error_code& ec, diagnostics& details) const {
    return map_.at(key_of(address), ec, details);
  }

  /// Removes exactly this network; false, and no error, if it was not there. Errors: as of `lookup`.
  bool erase(Network const& network) const { return map_.erase(key_of(network)); }
  /// @overload
  bool erase(Network const& network, error_code& ec) const { return map_.erase(key_of(network), ec); }
  /// @overload
  bool erase(Network const& network, error_code& ec, diagnostics& details) const {
    return map_.erase(key_of(network), ec, details);
  }

  /// All networks and their values, as `typed_map::entries()` has them: a snapshot of the networks is read first. One
  /// that is erased after that may be seen with the value of the network around it: a trie cannot be asked for
  /// exactly one.
  [[nodiscard]] auto entries() const { return detail::map_walk<entry_of>{untyped()}; }
  /// @overload Ends the range at an error.
  [[nodiscard]] auto entries(error_code& ec) const { return detail::map_walk<entry_of>{untyped(), &ec}; }
  /// @overload The map itself as that range.
  [[nodiscard]] auto begin() const { return detail::map_iterator<entry_of>{untyped()}; }
  /// @overload
  [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

  /// The number of networks, counted by walking them all. Errors: those of `entries`.
  [[nodiscard]] std::size_t count() const { return map_.count(); }
  /// @overload
  std::size_t count(error_code& ec) const { return map_.count(ec); }
  /// @overload
  std::size_t count(error_code& ec, diagnostics& details) const { return map_.count(ec, details); }

  /// Removes all networks that are there from begin to end; gives how many it removed. Errors: those of `entries`.
  std::size_t clear() const { return map_.clear(); }
  /// @overload
  std::size_t clear(error_code& ec) const { return map_.clear(ec); }
  /// @overload
  std::size_t clear(error_code& ec, diagnostics& details) const { return map_.clear(ec, details); }

 private:
  struct trie_key {
    std::uint32_t prefix_length;
    typename address_type::bytes_type address;
  };

  static trie_key key_of(Network const& network) {
    auto const canonical = network.canonical();
    if constexpr (is_v4)
      return {canonical.prefix_length(), canonical.address().to_bytes()};
    else
      return {static_cast<std::uint32_t>(canonical.prefix_length()), canonical.address().to_bytes()};
  }
  static trie_key key_of(address_type const& address) noexcept {
    auto const octets = address.to_bytes();
    return {static_cast<std::uint32_t>(8 * octets.size()), octets};
  }

  struct entry_of {
    using reference = value_type;
    static constexpr detail::entry_sizes sizes{sizeof(trie_key), sizeof(V), false};
    static reference get(detail::map_pages const& pages, std::size_t i) {
      auto const& key = *reinterpret_cast<trie_key const*>(pages.key(i).data());
      using length = decltype(std::declval<Network>().prefix_length());
      return {Network{address_type{key.address}, static_cast<length>(key.prefix_length)},
              *reinterpret_cast<V const*>(pages.value(i).data())};
    }
  };

  void open(map& m, field_names names, error_code& ec, diagnostics& details) {
    auto const value = shape_of<V>();
    constexpr auto name = "a view of IP networks";
    detail::check_view(m, {.name = name, .kinds = {map_type::lpm_trie}, .key = nullptr, .value = &value}, names, ec,
                       details);
    detail::check_key_size(m, name, sizeof(trie_key), ec, details);
    if (!ec) map_ = detail::view_access::make<typed_map<trie_key, V>>(std::move(m));
  }

  typed_map<trie_key, V> map_;
};

}  // namespace tinybpf

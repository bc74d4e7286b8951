// Places that packets pass: network interfaces, and the hooks of the packet filter.
#include "detail/attaching.hpp"
#include "detail/network.hpp"

#include <linux/if_link.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <cerrno>
#include <string>

namespace tinybpf::detail {
namespace {

void explain_interface(interface_ref const& interface, error_code& ec, diagnostics& details) {
  if (ec != boost::system::errc::no_such_device) return;
  details.names = interface_names();
  auto const* const name = std::get_if<std::string>(&interface);
  details.hint = "this network namespace has no such interface: `ip link` lists those it has";
  if (name != nullptr) details.message += near_names(*name, details.names);
}

}  // namespace

attach_plan plan_of(xdp_target const& t, program_core const&) {
  return {
      .kind = link_kind::xdp,
      .where = text_of(t.interface),
      .types = {program_type::xdp},
      .attach =
          [t](attach_subject const& p, attachment_list& into) {
            int const index = index_of(t.interface);
            if (index == 0) return ENODEV;
            return keep(bpf_program__attach_xdp(p.raw, index), into);
          },
      .explain =
          [t](error_code& ec, diagnostics& details) {
            explain_interface(t.interface, ec, details);
            if (ec == boost::system::errc::device_or_resource_busy || ec == boost::system::errc::file_exists)
              details.hint = "the interface has an XDP program already: `bpftool net` shows it";
          },
  };
}

attach_plan plan_of(tc_target const& t, program_core const&) { return {.where = text_of(t.interface)}; }
attach_plan plan_of(tcx_target const& t, program_core const&) { return {.where = text_of(t.interface)}; }
attach_plan plan_of(netkit_target const& t, program_core const&) { return {.where = text_of(t.interface)}; }
attach_plan plan_of(netfilter_target const&, program_core const&) { return {}; }

}  // namespace tinybpf::detail

// Places that packets pass: network interfaces, and the hooks of the packet filter.
#include "detail/attaching.hpp"
#include "detail/network.hpp"
#include "detail/report.hpp"

#include <tinybpf/link_info.hpp>

#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>

namespace tinybpf::detail {
namespace {

using namespace std::string_view_literals;

constexpr bool libbpf_has_order = LIBBPF_MAJOR_VERSION > 1 || LIBBPF_MINOR_VERSION >= 3;

void explain_interface(interface_ref const& interface, error_code const& ec, diagnostics& details) {
  if (!is(ec, ENODEV)) return;
  details.names = interface_names();
  auto const* const name = std::get_if<std::string>(&interface);
  details.hint = "this network namespace has no such interface: `ip link` lists those it has";
  if (name != nullptr) details.message += "; " + near_names(*name, details.names);
}

struct place_of_interface {
  dev_t netns_device = 0;
  ino_t netns_inode = 0;
  int index = 0;
  auto operator<=>(place_of_interface const&) const = default;
};

place_of_interface place_of(kept_netns const& netns, int index) { return {netns.device(), netns.inode(), index}; }

// Whom of this process a place is by now. The kernel tells one program from another, but not who attached it: when ours
// come one after the other with the same program, none but the last may detach it.
template <class Place>
class last_comers {
  using list = std::map<Place, attachment const*>;

 public:
  using seat = typename list::node_type;

  // Memory, before there is anything to lose.
  static seat seat_for(attachment const* who) {
    list one;
    return one.extract(one.emplace(Place{}, who).first);
  }
  void sit_down(seat s, Place const& where) {
    s.key() = where;
    all_.erase(where);
    all_.insert(std::move(s));
  }
  bool has(Place const& where, attachment const* who) const {
    auto const at = all_.find(where);
    return at != all_.end() && at->second == who;
  }
  // False if it was another's.
  bool stand_up(Place const& where, attachment const* who) {
    if (!has(where, who)) return false;
    all_.erase(where);
    return true;
  }
  bool empty() const { return all_.empty(); }
  void clear() { all_.clear(); }

 private:
  list all_;
};

// XDP

std::uint32_t flags_of(xdp_mode mode) {
  switch (mode) {
    case xdp_mode::any:
      return 0;
    case xdp_mode::native:
      return XDP_FLAGS_DRV_MODE;
    case xdp_mode::generic:
      return XDP_FLAGS_SKB_MODE;
    case xdp_mode::offload:
      return XDP_FLAGS_HW_MODE;
  }
  return 0;
}

struct place_of_xdp {
  place_of_interface interface;
  std::uint32_t mode = 0;
  auto operator<=>(place_of_xdp const&) const = default;
};

struct xdp_uses {
  std::mutex mutex;
  last_comers<place_of_xdp> last;
};

// Never destroyed: links that are static variables may be older.
xdp_uses& replacements() {
  static auto* const all = new xdp_uses;
  return *all;
}

// A program that was put in the place of another. The kernel detaches it only if it is still there.
class xdp_attachment final : public attachment {
 public:
  xdp_attachment(int index, std::uint32_t mode, owned_descriptor program)
      : index_{index}, mode_{mode}, program_{std::move(program)} {}
  ~xdp_attachment() override {
    if (!attached_) return;
    if (left())
      forget();
    else
      detach();
  }

  int attach(int in_place_of) {
    // To the kernel no descriptor means no program: it would only remove the other one.
    if (program_.get() < 0) return EMFILE;
    if (netns_.error() != 0) return netns_.error();
    auto seat = last_comers<place_of_xdp>::seat_for(this);
    auto options = sized<bpf_xdp_attach_opts>();
    options.old_prog_fd = in_place_of;
    std::lock_guard const lock{replacements().mutex};
    int const err = bpf_xdp_attach(index_, program_.get(), mode_ | XDP_FLAGS_REPLACE, &options);
    attached_ = err == 0;
    if (attached_) replacements().last.sit_down(std::move(seat), place());
    return err;
  }

  bool stays_by_itself() const noexcept override { return true; }

  int update_program(int next, int expected) noexcept override {
    if (expected >= 0 && id_of_program(expected) != id_of_program(program_.get())) return EPERM;
    auto copy = duplicate_of(next);
    if (copy.get() < 0) return errno;
    int const err = std::abs(netns_.call([&] {
      std::lock_guard const lock{replacements().mutex};
      if (!replacements().last.has(place(), this)) return EEXIST;
      auto options = sized<bpf_xdp_attach_opts>();
      options.old_prog_fd = program_.get();
      return bpf_xdp_attach(index_, copy.get(), mode_ | XDP_FLAGS_REPLACE, &options);
    }));
    if (err == 0) program_ = std::move(copy);
    return err == EBUSY ? EEXIST : err;  // there is a link now
  }

  bool describe(link_info& into) const override {
    into.program_id = id_of_program(program_.get());
    into.detail = xdp_info{.ifindex = static_cast<std::uint32_t>(index_)};
    return true;
  }

  int detach() noexcept override {
    if (!std::exchange(attached_, false)) return 0;
    int const err = std::abs(netns_.call([&] {
      std::lock_guard const lock{replacements().mutex};
      if (!replacements().last.stand_up(place(), this)) return 0;
      auto options = sized<bpf_xdp_attach_opts>();
      options.old_prog_fd = program_.get();
      return bpf_xdp_detach(index_, mode_ | XDP_FLAGS_REPLACE, &options);
    }));
    program_.reset(-1);
    // No interface, another program on it, or one behind a link.
    return err == ENODEV || err == EEXIST || err == EBUSY ? 0 : err;
  }

 private:
  place_of_xdp place() const { return {place_of(netns_, index_), mode_}; }

  void forget() const noexcept {
    std::lock_guard const lock{replacements().mutex};
    replacements().last.stand_up(place(), this);
  }

  int index_;
  std::uint32_t mode_;
  owned_descriptor program_;
  kept_netns netns_;
  bool attached_ = false;
};

struct xdp_occupant {
  std::uint32_t mode;
  std::uint32_t program_id;
};

// What `replace` is about; 0 for a program if there is none.
xdp_occupant occupant(bpf_xdp_query_opts const& found, xdp_mode mode) {
  switch (mode) {
    case xdp_mode::any:
      break;
    case xdp_mode::native:
      return {XDP_FLAGS_DRV_MODE, found.drv_prog_id};
    case xdp_mode::generic:
      return {XDP_FLAGS_SKB_MODE, found.skb_prog_id};
    case xdp_mode::offload:
      return {XDP_FLAGS_HW_MODE, found.hw_prog_id};
  }
  if (found.drv_prog_id != 0) return {XDP_FLAGS_DRV_MODE, found.drv_prog_id};
  return {XDP_FLAGS_SKB_MODE, found.skb_prog_id};
}

int attach_xdp(xdp_target const& t, attach_subject const& p, attachment_list& into) {
  int const index = index_of(t.interface);
  if (index < 0) return index;
  if (t.options.replace) {
    auto found = sized<bpf_xdp_query_opts>();
    if (int const err = bpf_xdp_query(index, 0, &found); err != 0) return err;
    auto const [mode, id] = occupant(found, t.options.mode);
    if (id != 0) {
      owned_descriptor const old{bpf_prog_get_fd_by_id(id)};
      if (old.get() < 0) return errno == ENOENT ? EBUSY : errno;  // somebody changes it just now
      auto placed = std::make_unique<xdp_attachment>(index, mode, duplicate_of(p.fd));
      into.reserve(into.size() + 1);
      if (int const err = placed->attach(old.get()); err != 0) return err;
      into.push_back(std::move(placed));
      return 0;
    }
  }
  auto options = sized<bpf_link_create_opts>();
  options.flags = flags_of(t.options.mode);
  return keep_created(bpf_link_create(p.fd, index, BPF_XDP, &options), into);
}

// clsact

struct place_of_filter {
  bpf_tc_attach_point point = BPF_TC_INGRESS;
  std::uint32_t handle = 0;
  std::uint32_t priority = 0;
  auto operator<=>(place_of_filter const&) const = default;
};

// Of one interface's qdisc, in this process.
struct qdisc_use {
  last_comers<place_of_filter> filters;
  bool made = false;  // it was not there before
};

struct qdisc_uses {
  std::mutex mutex;
  std::map<place_of_interface, qdisc_use> all;
};

// Never destroyed: links that are static variables may be older.
qdisc_uses& uses() {
  static auto* const all = new qdisc_uses;
  return *all;
}

struct traffic_question {
  nlmsghdr header{};
  tcmsg about{};

  traffic_question(std::uint16_t type, std::uint16_t flags, int index, std::uint32_t parent) {
    header.nlmsg_len = sizeof *this;
    header.nlmsg_type = type;
    header.nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags);
    about.tcm_ifindex = index;
    about.tcm_parent = parent;
  }
};

// True also if the kernel does not tell.
bool has_filters(int index, std::uint32_t parent) noexcept {
  traffic_question const question{RTM_GETTFILTER, NLM_F_DUMP, index, parent};
  bool found = false;
  int const err = ask_route(question.header, [&](std::uint16_t type, std::span<char const>) {
    found = type == RTM_NEWTFILTER;
    return !found;
  });
  return found || err != 0;
}

// clsact was made of the ingress qdisc, which has the same place. The kernel attaches a filter for egress to that one
// as well, and runs it on what comes in.
bool has_old_ingress(int index) noexcept {
  traffic_question const question{RTM_GETQDISC, NLM_F_ECHO | NLM_F_ACK, index, TC_H_INGRESS};
  bool found = false;
  ask_route(question.header, [&](std::uint16_t type, std::span<char const> said) {
    if (type != RTM_NEWQDISC || said.size() < sizeof(tcmsg)) return true;
    constexpr auto kind = "ingress\0"sv;
    auto rest = said.subspan(sizeof(tcmsg));
    for (rtattr field; rest.size() >= sizeof field;) {
      std::memcpy(&field, rest.data(), sizeof field);
      if (field.rta_len < sizeof field || field.rta_len > rest.size()) break;
      if (field.rta_type == TCA_KIND)
        found = std::string_view{rest.data() + sizeof field, field.rta_len - sizeof field} == kind;
      rest = rest.subspan(std::min<std::size_t>(RTA_ALIGN(field.rta_len), rest.size()));
    }
    return true;
  });
  return found;
}

struct tc_hook : sized<bpf_tc_hook> {
  tc_hook(int index, bpf_tc_attach_point point) {
    ifindex = index;
    attach_point = point;
  }
};

constexpr auto both_points = static_cast<bpf_tc_attach_point>(BPF_TC_INGRESS | BPF_TC_EGRESS);

// The kernel has no call that removes a qdisc only if it is empty: a filter that another process adds between the look
// and the removal is lost.
void remove_if_empty(int index) noexcept {
  for (auto const minor : {TC_H_MIN_INGRESS, TC_H_MIN_EGRESS})
    if (has_filters(index, TC_H_MAKE(TC_H_CLSACT, minor))) return;
  tc_hook hook{index, both_points};
  bpf_tc_hook_destroy(&hook);
}

// A filter. In the kernel it is known by its interface, direction, handle and priority, all of which may by now be
// somebody else's: it is ours if it runs our program.
class tc_attachment final : public attachment {
 public:
  tc_attachment(int index, tc_options const& options)
      : index_{index},
        point_{options.direction == tc_direction::egress ? BPF_TC_EGRESS : BPF_TC_INGRESS},
        handle_{options.handle},
        priority_{options.priority} {}
  ~tc_attachment() override {
    if (!attached_) return;
    if (left())
      forget();
    else
      detach();
  }

  int attach(int program, bool replace) {
    if (netns_.error() != 0) return netns_.error();
    auto seat = last_comers<place_of_filter>::seat_for(this);
    std::lock_guard const lock{uses().mutex};
    auto const at = uses().all.try_emplace(place_of(netns_, index_)).first;
    int const err = make_qdisc_and_attach(program, replace, at->second);
    attached_ = err == 0;
    if (attached_)
      at->second.filters.sit_down(std::move(seat), place());
    else
      end_if_unused(at);
    return err;
  }

  bool stays_by_itself() const noexcept override { return true; }

  /// The kernel swaps in one step, and cannot be told which program is expected: that is looked at before.
  int update_program(int next, int expected) noexcept override {
    return netns_.call([&] {
      std::lock_guard const lock{uses().mutex};
      auto const at = uses().all.find(place_of(netns_, index_));
      if (at == uses().all.end() || !at->second.filters.has(place(), this)) return ENOLINK;
      if (int const err = look(); err != 0) return err;
      if (expected >= 0 && id_of_program(expected) != program_id_) return EPERM;
      tc_hook hook{index_, point_};
      auto options = sized<bpf_tc_opts>();
      options.prog_fd = next;
      options.flags = BPF_TC_F_REPLACE;
      options.handle = handle_;
      options.priority = priority_;
      int const err = bpf_tc_attach(&hook, &options);
      if (err == 0) program_id_ = options.prog_id;
      return std::abs(err);
    });
  }

  bool describe(link_info& into) const override {
    into.program_id = program_id_;
    into.detail = tc_info{.ifindex = static_cast<std::uint32_t>(index_),
                          .egress = point_ == BPF_TC_EGRESS,
                          .handle = handle_,
                          .priority = priority_};
    return true;
  }

  int detach() noexcept override {
    if (!std::exchange(attached_, false)) return 0;
    return netns_.call([&] { return detach_here(); });
  }

 private:
  int make_qdisc_and_attach(int program, bool replace, qdisc_use& use) {
    for (bool again = false;; again = true) {
      tc_hook whole{index_, both_points};
      int const made = bpf_tc_hook_create(&whole);
      if (made != 0 && made != -EEXIST) return made;
      if (made == 0) {
        use.made = true;
        use.filters.clear();  // what there was went with the qdisc that it was in
      }
      if (made != 0 && point_ == BPF_TC_EGRESS && has_old_ingress(index_)) return EINVAL;
      // What failed may have failed because somebody removed the qdisc in between.
      if (again && made == -EEXIST) return last_;
      tc_hook hook{index_, point_};
      auto options = sized<bpf_tc_opts>();
      options.prog_fd = program;
      if (replace) options.flags = BPF_TC_F_REPLACE;
      options.handle = handle_;
      options.priority = priority_;
      last_ = bpf_tc_attach(&hook, &options);
      if (last_ == 0) {
        handle_ = options.handle;
        priority_ = options.priority;
        program_id_ = options.prog_id;
        return 0;
      }
      if (made == 0 || last_ != -EINVAL) return last_;
    }
  }

  place_of_filter place() const { return {point_, handle_, priority_}; }

  // 0 if the filter is there and runs our program, ENOLINK if not, or why that cannot be told.
  int look() const noexcept {
    tc_hook hook{index_, point_};
    auto options = sized<bpf_tc_opts>();
    options.handle = handle_;
    options.priority = priority_;
    int const err = std::abs(bpf_tc_query(&hook, &options));
    // No such filter; no interface; no qdisc, or a filter of another kind.
    if (err == ENOENT || err == ENODEV || err == EINVAL) return ENOLINK;
    return err == 0 && options.prog_id != program_id_ ? ENOLINK : err;
  }

  int detach_here() const {
    std::lock_guard const lock{uses().mutex};
    auto const at = uses().all.find(place_of(netns_, index_));
    if (at == uses().all.end() || !at->second.filters.stand_up(place(), this)) return 0;
    int err = look();
    if (err == 0) {
      tc_hook hook{index_, point_};
      auto options = sized<bpf_tc_opts>();
      options.handle = handle_;
      options.priority = priority_;
      err = std::abs(bpf_tc_detach(&hook, &options));
      if (err == ENOENT || err == ENODEV || (err != 0 && look() == ENOLINK)) err = 0;
    } else if (err == ENOLINK) {
      at->second.made = false;  // somebody else rules here, or it is another interface with the old one's number
      err = 0;
    }
    end_if_unused(at);
    return err;
  }

  // From now on the filter is as one of somebody else's.
  void forget() const noexcept {
    std::lock_guard const lock{uses().mutex};
    auto const at = uses().all.find(place_of(netns_, index_));
    if (at == uses().all.end() || !at->second.filters.stand_up(place(), this)) return;
    if (at->second.filters.empty()) uses().all.erase(at);
  }

  void end_if_unused(std::map<place_of_interface, qdisc_use>::iterator at) const {
    if (!at->second.filters.empty()) return;
    if (at->second.made) remove_if_empty(index_);
    uses().all.erase(at);
  }

  int index_;
  bpf_tc_attach_point point_;
  std::uint32_t handle_;
  std::uint32_t priority_;
  std::uint32_t program_id_ = 0;
  int last_ = 0;
  kept_netns netns_;
  bool attached_ = false;
};

bool nonsense(tc_options const& o) { return o.priority > 0xffff || (o.replace && (o.handle == 0 || o.priority == 0)); }

int attach_tc(tc_target const& t, attach_subject const& p, attachment_list& into) {
  int const index = index_of(t.interface);
  if (index < 0) return index;
  if (nonsense(t.options)) return EINVAL;
  auto filter = std::make_unique<tc_attachment>(index, t.options);
  into.reserve(into.size() + 1);
  if (int const err = filter->attach(p.fd, t.options.replace); err != 0) return err;
  into.push_back(std::move(filter));
  return 0;
}

std::string text_of(tc_direction direction) { return direction == tc_direction::egress ? "egress" : "ingress"; }

// TCX and netkit

bool nonsense(attach_order const& o) {
  bool const relative = o.where == attach_order::place::before || o.where == attach_order::place::after;
  int const given = (o.relative_program_id != 0 ? 1 : 0) + (o.relative_link_id != 0 ? 1 : 0);
  return given != (relative ? 1 : 0);
}

[[maybe_unused]] std::uint32_t flags_of(attach_order const& o) {
  constexpr std::uint32_t before = 1U << 3U;  // BPF_F_BEFORE, BPF_F_AFTER and BPF_F_LINK: linux/bpf.h of Linux 6.6
  constexpr std::uint32_t after = 1U << 4U;
  constexpr std::uint32_t link = 1U << 13U;
  bool const in_front = o.where == attach_order::place::first || o.where == attach_order::place::before;
  return (in_front ? before : after) | (o.relative_link_id != 0 ? link : 0U);
}

// Of what has the fields, whether `order` is `bpf_link_create_opts::tcx` or `::netkit`.
template <class Order>
[[maybe_unused]] int attach_in_order(attach_order const& o, bpf_link_create_opts& options, Order& order, int index,
                                     attach_type type, attach_subject const& p, attachment_list& into) {
  options.flags = flags_of(o);
  order.relative_id = o.relative_program_id != 0 ? o.relative_program_id : o.relative_link_id;
  order.expected_revision = o.expected_revision;
  return keep_created(bpf_link_create(p.fd, index, static_cast<bpf_attach_type>(type), &options), into);
}

// Where libbpf is older, the fields are not there, and the frame does not come here.
template <class Options = bpf_link_create_opts>
int attach_tcx(tcx_target const& t, attach_subject const& p, attachment_list& into) {
  int const index = index_of(t.interface);
  if (index < 0) return index;
  if (nonsense(t.options.order)) return EINVAL;
  if constexpr (requires(Options& o) { o.tcx; }) {
    auto options = sized<Options>();
    auto const type = t.options.direction == tc_direction::egress ? attach_type::tcx_egress : attach_type::tcx_ingress;
    return attach_in_order(t.options.order, options, options.tcx, index, type, p, into);
  } else {
    static_cast<void>(p);
    static_cast<void>(into);
    return EOPNOTSUPP;
  }
}

template <class Options = bpf_link_create_opts>
int attach_netkit(netkit_target const& t, attach_subject const& p, attachment_list& into) {
  int const index = index_of(t.interface);
  if (index < 0) return index;
  if (nonsense(t.options.order)) return EINVAL;
  if constexpr (requires(Options& o) { o.netkit; }) {
    auto options = sized<Options>();
    auto const type = t.options.side == netkit_side::peer ? attach_type::netkit_peer : attach_type::netkit_primary;
    return attach_in_order(t.options.order, options, options.netkit, index, type, p, into);
  } else {
    static_cast<void>(p);
    static_cast<void>(into);
    return EOPNOTSUPP;
  }
}

void explain_order(attach_order const& o, error_code const& ec, diagnostics& details) {
  if (is(ec, EINVAL) && nonsense(o))
    details.hint = "before and after take the id of one program or of one link, and first and last take none";
  else if (is(ec, ESTALE))
    details.hint = "the programs there have changed since that revision: `bpftool net` shows those it has now";
  else if (is(ec, ENOENT))
    details.hint = "what it was to be put beside is not attached there, or there is none of that id";
  else if (is(ec, EEXIST))
    details.hint = "this program is attached there already";
  else if (is(ec, ERANGE))
    details.hint = "it has as many programs as it can have, which is 64";
}

// Netfilter

template <class Options = bpf_link_create_opts>
int attach_netfilter(netfilter_options const& o, attach_subject const& p, attachment_list& into) {
  if constexpr (requires(Options& options) { options.netfilter; }) {
    auto options = sized<Options>();
    options.netfilter.pf = o.protocol_family;
    options.netfilter.hooknum = o.hook;
    options.netfilter.priority = o.priority;
    options.netfilter.flags = o.defragment ? 1U : 0U;  // BPF_F_NETFILTER_IP_DEFRAG
    return keep_created(bpf_link_create(p.fd, 0, static_cast<bpf_attach_type>(attach_type::netfilter), &options), into);
  } else {
    static_cast<void>(o);
    static_cast<void>(p);
    static_cast<void>(into);
    return EOPNOTSUPP;
  }
}

std::string text_of(netfilter_options const& o) {
  constexpr std::array hooks{"PRE_ROUTING", "LOCAL_IN", "FORWARD", "LOCAL_OUT", "POST_ROUTING"};
  auto const family = o.protocol_family == 2    ? std::string{"IPv4"}
                      : o.protocol_family == 10 ? std::string{"IPv6"}
                                                : "protocol family " + std::to_string(o.protocol_family);
  auto const hook = o.hook < hooks.size() ? std::string{hooks[o.hook]} : std::to_string(o.hook);
  return "netfilter's hook " + hook + " of " + family + " with priority " + std::to_string(o.priority);
}

// Older kernels say that of a filter that they were told to make, too.
bool no_priority_is_left(tc_options const& o, error_code const& ec, std::string const& log) {
  return is(ec, ENOSPC) || (is(ec, EINVAL) && o.priority == 0 &&
                            log.find("Filter with specified priority/protocol not found") != std::string::npos);
}

}  // namespace

attach_plan plan_of(xdp_target const& t, program_core const&) {
  return {
      .kind = link_kind::xdp,
      .where = text_of(t.interface),
      .types = {program_type::xdp},
      .attach = [t](attach_subject const& p, attachment_list& into) { return attach_xdp(t, p, into); },
      .explain =
          [t](error_code& ec, diagnostics& details) {
            explain_interface(t.interface, ec, details);
            auto const mode = t.options.mode;
            if (is(ec, EBUSY) && t.options.replace)
              details.hint =
                  "the interface has an XDP program already that is behind a link, whose owner alone can replace it "
                  "(link::update_program), or that is being replaced by somebody else: `bpftool net` shows it";
            else if (is(ec, EEXIST) && t.options.replace)
              details.hint =
                  "the interface has an XDP program in another mode, or it is being replaced by somebody else: "
                  "`bpftool net` shows it, and xdp_mode::any takes its place in the mode that it has";
            else if (is(ec, EBUSY) || is(ec, EEXIST))
              details.hint =
                  "the interface has an XDP program already, and can have one only, whether native or generic: "
                  "`bpftool net` shows it; xdp_options::replace takes the place of one without a link";
            else if (is(ec, EOPNOTSUPP) && mode != xdp_mode::any)
              details.hint = "the interface's driver cannot do that: xdp_mode::generic works on every interface";
            else if (is(ec, EINVAL) && mode == xdp_mode::offload)
              details.hint = "that takes a network card that runs BPF, and a program that was loaded for it";
            else if (is(ec, EPERM) && t.options.replace && details.log.empty())
              details.hint = "it needs CAP_NET_ADMIN, and CAP_SYS_ADMIN to open the program that is there by its id";
          },
  };
}

attach_plan plan_of(tc_target const& t, program_core const&) {
  return {
      .kind = link_kind::tc,
      .where = "the clsact " + text_of(t.options.direction) + " of " + text_of(t.interface),
      .types = {program_type::sched_cls},
      .attach = [t](attach_subject const& p, attachment_list& into) { return attach_tc(t, p, into); },
      .explain =
          [t](error_code& ec, diagnostics& details) {
            explain_interface(t.interface, ec, details);
            if (is(ec, EINVAL) && t.options.priority > 0xffff)
              details.hint = "a priority is at most 65535";
            else if (is(ec, EINVAL) && nonsense(t.options))
              details.hint = "tc_options::replace takes the handle and the priority of the filter to replace";
            else if (is(ec, EEXIST))
              details.hint =
                  "there is a filter with this handle and priority already: leave them 0 and the kernel chooses, or "
                  "tc_options::replace takes its place";
            else if (no_priority_is_left(t.options, ec, details.log))
              details.hint = "a filter has 32768, the last priority that the kernel would choose: give another";
            else if (is(ec, EOPNOTSUPP))
              details.hint = "the interface's clsact is a shared block, which filters are added to by its number only";
            else if (is(ec, ENOENT))
              details.hint = "the kernel has no clsact (CONFIG_NET_SCH_INGRESS) or no BPF filters (CONFIG_NET_CLS_BPF)";
            else if (is(ec, EINVAL))
              details.hint =
                  "the kernel says why in details.log, if it does; an interface with an old ingress qdisc has no "
                  "egress: `tc qdisc show` lists it";
          },
  };
}

attach_plan plan_of(tcx_target const& t, program_core const&) {
  return {
      .kind = link_kind::tcx,
      .where = "the TCX " + text_of(t.options.direction) + " of " + text_of(t.interface),
      .types = {program_type::sched_cls},
      .libbpf_version = libbpf_has_order ? "" : "1.3",
      .attach = [t](attach_subject const& p, attachment_list& into) { return attach_tcx(t, p, into); },
      .explain =
          [t](error_code& ec, diagnostics& details) {
            explain_interface(t.interface, ec, details);
            explain_order(t.options.order, ec, details);
            if (is(ec, EINVAL) && details.hint.empty()) details.hint = needs_linux("TCX", 6, 6);
          },
  };
}

attach_plan plan_of(netkit_target const& t, program_core const&) {
  return {
      .kind = link_kind::netkit,
      .where = (t.options.side == netkit_side::peer ? "the peer of netkit " : "netkit ") + text_of(t.interface),
      .types = {program_type::sched_cls},
      .libbpf_version = libbpf_has_order ? "" : "1.3",
      .attach = [t](attach_subject const& p, attachment_list& into) { return attach_netkit(t, p, into); },
      .explain =
          [t](error_code& ec, diagnostics& details) {
            explain_interface(t.interface, ec, details);
            explain_order(t.options.order, ec, details);
            if (is(ec, EINVAL) && details.hint.empty()) details.hint = needs_linux("netkit", 6, 7);
            // The kernel's word for an interface of another driver, and for the wrong end.
            if (is(ec, ENXIO)) details.hint = "the interface is no netkit device";
            if (is(ec, EACCES)) details.hint = "the interface is a netkit device's peer: its primary takes both";
            if (is(ec, EINVAL) && details.hint.empty())
              details.hint = "the interface is no netkit device, or this kernel has none (CONFIG_NETKIT)";
          },
  };
}

attach_plan plan_of(netfilter_target const& t, program_core const&) {
  auto const o = t.options;
  return {
      .kind = link_kind::netfilter,
      .where = text_of(o),
      .types = {program_type::netfilter},
      .libbpf_version = libbpf_has_order ? "" : "1.3",
      .attach = [o](attach_subject const& p, attachment_list& into) { return attach_netfilter(o, p, into); },
      .explain =
          [o](error_code& ec, diagnostics& details) {
            if (is(ec, EBUSY))
              details.hint = "another BPF program has this priority there, and each is for one only";
            else if (is(ec, EAFNOSUPPORT))
              details.hint = "the kernel runs programs for NFPROTO_IPV4 (2) and NFPROTO_IPV6 (10), if it was built so";
            else if (is(ec, EPROTO))
              details.hint = "the hooks are NF_INET_PRE_ROUTING (0) to NF_INET_POST_ROUTING (4)";
            else if (is(ec, ERANGE))
              details.hint = o.defragment ? "fragments are put together at priority -400: the program has to run later"
                                          : "the lowest and the highest priority are the kernel's own";
            else if (is(ec, EOPNOTSUPP) && o.defragment)
              details.hint = needs_linux("defragmenting", 6, 6);
            else if (is(ec, EINVAL))
              details.hint = needs_linux("netfilter programs", 6, 4);
          },
  };
}

}  // namespace tinybpf::detail

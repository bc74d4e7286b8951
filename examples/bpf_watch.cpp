// Loads any BPF object, attaches what its sections say, and prints its events as JSON and its maps as tables: nothing
// is known of its types but what its BTF says.
#include <tinybpf/async.hpp>
#include <tinybpf/btf.hpp>
#include <tinybpf/dynamic_map.hpp>
#include <tinybpf/dynamic_value.hpp>
#include <tinybpf/event_source.hpp>
#include <tinybpf/json.hpp>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/experimental/parallel_group.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <boost/json/value_from.hpp>
#include <boost/program_options.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <iomanip>
#include <iostream>
#include <map>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

namespace asio = boost::asio;
namespace json = boost::json;
namespace options = boost::program_options;
using tinybpf::btf_kind;
using tinybpf::btf_type;
using tinybpf::dynamic_value;
using tinybpf::map_type;

bool has_events(tinybpf::map const& m) {
  return m.type() == map_type::ringbuf || m.type() == map_type::perf_event_array;
}

bool is_struct(btf_type const& type) { return type.resolve().kind() == btf_kind::struct_; }

// Which struct a record is. Known for a map that says so, by --event or by __type(value, struct ...); guessed for
// another, if just one of those that the object shows is as long as the record.
class record_types {
 public:
  record_types(tinybpf::object const& obj, std::map<std::string, std::string> const& named) {
    tinybpf::error_code no_btf;
    auto const types = obj.btf(no_btf);
    for (auto const& m : obj.maps())
      if (auto const type = m.btf_value(); is_struct(type)) {
        if (has_events(m)) known_[std::string{m.name()}] = type;
        add(type);
      }
    for (auto const& [map, name] : named) {
      auto const type = obj.btf().type(name);
      if (!has_events(obj.map(map))) throw options::error{"--event: '" + map + "' is no ring or perf buffer"};
      if (type.size() == 0) throw options::error{"--event: no record can be a '" + type.to_string() + "'"};
      known_[map] = type;
    }

    // Whoever defines an event anchors it: by a variable, or as the parameter of a function.
    std::set<std::string_view> programs;
    for (auto const& p : obj.programs()) programs.insert(p.name());
    for (auto const& type : types.types()) {
      if (type.kind() == btf_kind::datasec && type.name() != ".maps")
        for (auto const& variable : type.members()) add(variable.type);
      if (type.kind() == btf_kind::func && !programs.contains(type.name()))
        for (auto const& parameter : type.parameters()) add(parameter.type);
    }
  }

  btf_type of(tinybpf::record<> const& r) const {
    if (auto const known = known_.find(std::string{r.map()}); known != known_.end()) return known->second;
    for (auto const fits : {as_long, cut_off}) {
      std::vector<btf_type> found;
      for (auto const& type : shown_)
        if (fits(type, r)) found.push_back(type);
      if (found.size() == 1) return found.front();
      if (found.size() > 1) break;
    }
    return {};
  }

  std::string names() const {
    std::string text;
    for (auto const& type : shown_) text += (text.empty() ? "" : ", ") + type.to_string();
    return text;
  }

 private:
  void add(btf_type type) {
    if (auto const pointer = type.resolve(); pointer.kind() == btf_kind::ptr) type = pointer.target();
    while (type.kind() == btf_kind::const_ || type.kind() == btf_kind::volatile_) type = type.target();
    auto const same = [&](btf_type const& t) { return t.resolve() == type.resolve(); };
    if (is_struct(type) && std::none_of(shown_.begin(), shown_.end(), same)) shown_.push_back(type);
  }

  // The kernel pads what comes through a perf buffer.
  static bool as_long(btf_type const& type, tinybpf::record<> const& r) {
    auto const size = r.data().size();
    return size == type.size() || (r.cpu() >= 0 && size == (type.size() + 4 + 7) / 8 * 8 - 4);
  }
  // Text at the end is often sent only as far as it goes.
  static bool cut_off(btf_type const& type, tinybpf::record<> const& r) {
    auto const members = type.resolve().members();
    return !members.empty() && members.back().type.resolve().kind() == btf_kind::array &&
           members.back().bit_offset / 8 < r.data().size() && r.data().size() < type.size();
  }

  std::map<std::string, btf_type, std::less<>> known_;
  std::vector<btf_type> shown_;
};

void print(tinybpf::record<> const& r, btf_type const& type) {
  std::vector<std::byte> data(r.data().begin(), r.data().end());
  data.resize(std::max(data.size(), type.size()));
  json::object line{{"map", r.map()}};
  if (r.cpu() >= 0) line["cpu"] = r.cpu();
  if (type) line["type"] = type.to_string();
  line[type ? "event" : "bytes"] = json::value_from(dynamic_value{type, type ? data : r.data()});
  std::cout << json::serialize(line) << std::endl;
}

asio::awaitable<void> watch(tinybpf::event_source& events, record_types const& types, std::uint64_t count) {
  std::set<std::string> told;
  while (std::cout && count-- != 0) {
    auto const r = co_await events.next<tinybpf::record<>>();
    auto const type = types.of(r);
    if (!type && told.emplace(r.map()).second) {
      auto const names = types.names();
      std::cerr << "bpf_watch: which struct the " << r.data().size() << " bytes from '" << r.map()
                << "' are cannot be told; "
                << (names.empty() ? "the object shows none: anchor it by a variable, `struct event *unused;`"
                                  : "say --event " + std::string{r.map()} + "=..., one of: " + names)
                << '\n';
    }
    print(r, type);
  }
}

asio::awaitable<void> until(asio::steady_timer& timer) {
  tinybpf::error_code ended;
  co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ended));
}

// Until the first of the two ends. That reading failed is not to be lost.
asio::awaitable<void> watch_until(asio::steady_timer& timer, tinybpf::event_source& events, record_types const& types,
                                  std::uint64_t count) {
  auto const ex = co_await asio::this_coro::executor;
  auto const [order, failed, timer_ec] =
      co_await asio::experimental::make_parallel_group(asio::co_spawn(ex, watch(events, types, count), asio::deferred),
                                                       timer.async_wait(asio::deferred))
          .async_wait(asio::experimental::wait_for_one{}, asio::use_awaitable);
  if (order.front() == 0 && failed) std::rethrow_exception(failed);
}

// A cell of a table: JSON, but without quotes around text where that needs none.
std::string cell(dynamic_value const& v) {
  auto const value = json::value_from(v);
  auto const text = json::serialize(value);
  bool const plain = value.is_string() && text.size() == value.get_string().size() + 2;
  return plain ? std::string{value.get_string()} : text;
}

using row = std::vector<std::string>;

// A column for each member of a struct, or one for all.
void add_headings(row& to, btf_type const& type, std::string const& what) {
  if (!type.resolve().has_members()) return to.push_back(what);
  for (auto const& m : type.resolve().members()) to.push_back(m.name.empty() ? "-" : std::string{m.name});
}
void add_cells(row& to, dynamic_value const& v) {
  if (!v.type().resolve().has_members()) return to.push_back(cell(v));
  for (auto const& f : v.fields()) to.push_back(cell(f.value));
}

void print(std::vector<row> const& table) {
  std::vector<std::size_t> widths;
  for (auto const& r : table) {
    widths.resize(std::max(widths.size(), r.size()));
    for (std::size_t i = 0; i < r.size(); ++i) widths[i] = std::max(widths[i], r[i].size());
  }
  for (auto const& r : table) {
    for (std::size_t i = 0; i < r.size(); ++i) {
      if (i + 1 < r.size())
        std::cout << "  " << std::left << std::setw(static_cast<int>(widths[i])) << r[i];
      else
        std::cout << "  " << r[i] << '\n';
    }
  }
}

void print(tinybpf::map const& m) {
  auto const contents = m.dynamic();
  std::cout << "\nmap " << m.name() << ", " << to_string(m.type());
  tinybpf::error_code ec;
  auto const entries = contents.entries(ec);
  if (ec) {
    std::cout << ", cannot be listed: " << ec.message() << '\n';
    return;
  }
  std::vector<row> table(1);
  bool const section = contents.value_type().kind() == btf_kind::datasec;  // of global variables: one entry
  if (!section) add_headings(table.front(), contents.key_type(), "key");
  std::string const kind{to_string(m.type())};
  bool const is_array = kind.find("array") != std::string::npos;
  bool const per_cpu = kind.find("percpu") != std::string::npos;
  if (per_cpu) table.front().push_back("cpu");
  add_headings(table.front(), contents.value_type(), "value");
  std::size_t zero = 0;
  for (auto const& e : entries)
    for (std::size_t cpu = 0; cpu < e.values.size(); ++cpu) {
      // An array is full of what nobody wrote.
      auto const value = e.values[cpu].bytes();
      bool const empty = std::all_of(value.begin(), value.end(), [](auto b) { return b == std::byte{}; });
      if (empty && is_array && entries.size() > 1) {
        ++zero;
        continue;
      }
      row line;
      if (!section) add_cells(line, e.key);
      if (per_cpu) line.push_back(std::to_string(cpu));
      add_cells(line, e.values[cpu]);
      table.push_back(std::move(line));
    }
  std::cout << ", " << entries.size() << (entries.size() == 1 ? " entry" : " entries");
  if (zero != 0) std::cout << ", " << zero << " values of zero left out";
  std::cout << '\n';
  if (table.size() > 1) print(table);
}

asio::awaitable<void> run(options::variables_map const& given, std::map<std::string, std::string> const& named) {
  auto const ex = co_await asio::this_coro::executor;
  auto obj = tinybpf::object::open(given["object"].as<std::string>());
  record_types const types{obj, named};
  co_await tinybpf::async_load(ex, obj);

  tinybpf::event_source events{ex};
  bool any = false;
  for (auto const& m : obj.maps()) {
    if (!has_events(m)) continue;
    events.add(m);
    any = true;
  }
  std::vector<tinybpf::link> links;
  for (auto const& p : obj.programs()) {
    tinybpf::diagnostics details;
    auto [ec, link] = co_await tinybpf::async_attach(ex, p, details, asio::as_tuple(asio::use_awaitable));
    if (ec)
      std::cerr << "bpf_watch: '" << p.name() << "' is not attached: " << ec.message() << " (" << details.message
                << ")\n";
    else
      links.push_back(std::move(link));
  }
  asio::signal_set signals{ex, SIGINT, SIGTERM};
  std::cerr << "bpf_watch: " << links.size() << " of " << obj.programs().size() << " programs attached" << std::endl;

  asio::steady_timer timer{ex, asio::steady_timer::time_point::max()};
  if (given.count("duration") != 0)
    timer.expires_after(std::chrono::milliseconds{static_cast<std::int64_t>(1000 * given["duration"].as<double>())});
  auto const count = given["count"].as<std::uint64_t>();
  signals.async_wait([&](tinybpf::error_code ec, int) {
    if (!ec) timer.cancel();
  });
  if (any || count == 0)
    co_await watch_until(timer, events, types, count);
  else
    co_await until(timer);
  signals.clear();  // from here on, they end the program

  if (any && events.lost().value_or(0) != 0) std::cerr << "bpf_watch: " << *events.lost() << " events were lost\n";
  if (given.count("maps") == 0) co_return;
  for (auto const& m : obj.maps())
    if (!has_events(m)) print(m);
}

int main(int argc, char** argv) try {
  std::ios::sync_with_stdio(false);  // stdio gives up a write that a signal interrupts
  options::options_description all{"bpf_watch FILE.bpf.o [options]"};
  // clang-format off
  all.add_options()
    ("help", "this text")
    ("object", options::value<std::string>(), "the BPF object, also without the option's name")
    ("event", options::value<std::vector<std::string>>(),
     "MAP=STRUCT: what the records of a ring or perf buffer are")
    ("maps", "print all other maps at the end")
    ("count", options::value<std::uint64_t>()->default_value(UINT64_MAX, "no end"), "end after so many events")
    ("duration", options::value<double>(), "end after so many seconds");
  // clang-format on
  options::positional_options_description file;
  file.add("object", 1);
  options::variables_map given;
  options::store(options::command_line_parser{argc, argv}.options(all).positional(file).run(), given);
  options::notify(given);
  if (given.count("help") != 0 || given.count("object") == 0) {
    std::cout << all;
    return given.count("help") != 0 ? EXIT_SUCCESS : EXIT_FAILURE;
  }
  if (given.count("duration") != 0 && !(given["duration"].as<double>() >= 0 && given["duration"].as<double>() < 1e9))
    throw options::error{"--duration takes seconds, from 0 to 1e9"};
  std::map<std::string, std::string> named;
  auto const events = given.count("event") != 0 ? given["event"].as<std::vector<std::string>>() : row{};
  for (auto const& text : events) {
    auto const equals = text.find('=');
    if (equals == std::string::npos) throw options::error{"--event takes MAP=STRUCT, not " + text};
    if (!named.emplace(text.substr(0, equals), text.substr(equals + 1)).second)
      throw options::error{"--event names '" + text.substr(0, equals) + "' twice"};
  }

  asio::io_context io;
  asio::co_spawn(io, run(given, named), [](std::exception_ptr e) {
    if (e) std::rethrow_exception(e);
  });
  io.run();
  if (!std::cout.flush()) throw std::runtime_error{"cannot write the output"};
} catch (std::exception const& e) {
  std::cerr << "bpf_watch: " << e.what() << '\n';
  return EXIT_FAILURE;
}

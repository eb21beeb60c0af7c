// SPDX-License-Identifier: MIT
// A broker and clients of a version that is not written yet: takes the place of dmabrokerd, starts the real one on
// another path, and rewrites what passes. Either side meets a peer with features, events, requests, sections, longer
// records and, with $LATER_ERRORS, error codes that it does not know. With it the tests of clients and broker run once
// more: $DMABROKERD names the broker that they start.
//
// Records grow because this program has a proto of its own, compiled with DMB_LATER_VERSION.
#include "proto/wire/channel.hpp"

#include <array>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <list>
#include <poll.h>
#include <string>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

using namespace dmb;

namespace {

constexpr std::uint64_t later_feature = 1ULL << 40;
constexpr std::uint16_t later_event = 60, later_request = 61, section_tag = 901;
constexpr std::uint64_t our_serials = 1ULL << 63; ///< of the requests that no client sent
const bool later_errors = std::getenv("LATER_ERRORS") != nullptr;
pid_t broker = -1;

struct Link {
    UniqueFd client, broker;
    bool greeted = false;
    std::uint64_t invented = 0;
};

struct Passing {
    std::vector<std::byte> bytes;
    wire::PacketFds fds;
    void send(int to) const
    {
        std::vector<int> numbers;
        for (const UniqueFd& fd : fds) numbers.push_back(fd.get());
        (void)wire::send(to, bytes, numbers, wire::Wait::yes);
    }
    template <class T> void poke(std::size_t at, T value) { std::memcpy(bytes.data() + at, &value, sizeof value); }
};

UniqueFd some_descriptor() { return UniqueFd::adopt(::eventfd(0, EFD_CLOEXEC)); }

/// Behind the message. What goes to the broker has no descriptor: its socket takes none.
void add_section(Passing& packet, bool with_descriptor)
{
    const std::size_t at = packet.bytes.size();
    packet.bytes.resize(at + 8 + 5, std::byte{'x'});
    packet.poke(at, section_tag);
    packet.poke(at + 2, std::uint16_t{with_descriptor});
    packet.poke(at + 4, std::uint32_t{5});
    if (with_descriptor) packet.fds.push_back(some_descriptor());
    packet.poke(2, static_cast<std::uint16_t>(packet.fds.size()));
}

Passing invented(std::uint16_t opcode, std::uint64_t serial, bool with_descriptor)
{
    Passing out{.bytes = std::vector<std::byte>(wire::header_bytes + 9, std::byte{0x21}), .fds = {}};
    out.poke(0, opcode);
    out.poke(4, std::uint32_t{0});
    out.poke(8, serial);
    if (with_descriptor) out.fds.push_back(some_descriptor());
    out.poke(2, static_cast<std::uint16_t>(out.fds.size()));
    return out;
}

void grow(wire::Hello& hello) { hello.features |= later_feature; }
void grow(wire::HelloReply& reply) { reply.features |= later_feature; }
void grow(wire::ErrorReply& reply)
{
    if (later_errors) reply.code = static_cast<Errc>(500 + static_cast<unsigned>(reply.code));
}
void grow(auto&) {}

/// The packet as a later version would have written it; what this one cannot read stays as it is.
template <class Variant> Passing rewritten(Passing packet, bool section_with_descriptor)
{
    wire::Decoded<Variant> read;
    if (!wire::decode(packet.bytes, packet.fds.size(), read)) return packet;
    std::visit(
        [&](auto& message) {
            grow(message);
            packet.bytes.resize(limits::packet_bytes);
            packet.bytes.resize(wire::encode(message, read.serial, packet.bytes).value());
        },
        read.message);
    add_section(packet, section_with_descriptor);
    return packet;
}

bool is_ours(const Passing& packet)
{
    std::uint64_t serial = 0;
    if (packet.bytes.size() >= wire::header_bytes) std::memcpy(&serial, packet.bytes.data() + 8, sizeof serial);
    return serial >= our_serials;
}

/// False: that side is gone.
bool pass_on(Link& link, bool from_client)
{
    static std::array<std::byte, limits::packet_bytes> buffer;
    const int from = from_client ? link.client.get() : link.broker.get(),
              to = from_client ? link.broker.get() : link.client.get();
    auto received = wire::receive(from, buffer, wire::Wait::no);
    if (!received) return false;
    if (!*received) return true;
    Passing packet{{buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>((*received)->size)},
                   std::move((*received)->fds)};
    if (!from_client && is_ours(packet)) return true; // "unsupported"
    if (from_client) {
        if (link.greeted) invented(later_request, our_serials + ++link.invented, false).send(to);
        rewritten<wire::Request>(std::move(packet), false).send(to);
    } else {
        if (link.greeted) invented(later_event, 0, true).send(to);
        rewritten<wire::Reply>(std::move(packet), true).send(to);
        link.greeted = true;
    }
    return true;
}

UniqueFd listen_at(const std::string& path)
{
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    UniqueFd socket = UniqueFd::adopt(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    ::unlink(path.c_str());
    if (::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 || ::listen(socket.get(), 64) != 0)
        ::_exit(3);
    return socket;
}

pid_t start_broker(std::vector<std::string>& arguments)
{
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    const pid_t child = ::fork();
    if (child != 0) return child;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::execv(argv[0], argv.data());
    ::_exit(127);
}

bool has_ended(pid_t pid)
{
    siginfo_t info{};
    return ::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid != 0;
}

/// Until the broker has ended, and its last words are passed on.
void serve(const std::string& path, const std::string& behind)
{
    const std::array listeners{listen_at(path), listen_at(path + ".manager")};
    const std::array targets{behind, behind + ".manager"};
    std::list<Link> links;
    while (!has_ended(broker)) {
        std::vector<pollfd> polls;
        for (const UniqueFd& listener : listeners) polls.push_back({listener.get(), POLLIN, 0});
        for (const Link& link : links)
            polls.insert(polls.end(), {{link.client.get(), POLLIN, 0}, {link.broker.get(), POLLIN, 0}});
        if (::poll(polls.data(), polls.size(), 200) <= 0) continue;
        std::size_t at = listeners.size();
        for (auto link = links.begin(); link != links.end(); at += 2) {
            const bool good = (!polls[at].revents || pass_on(*link, true)) && (!polls[at + 1].revents || pass_on(*link, false));
            link = good ? std::next(link) : links.erase(link);
        }
        for (std::size_t i = 0; i < listeners.size(); ++i) {
            if (!polls[i].revents) continue;
            UniqueFd client = UniqueFd::adopt(::accept4(listeners[i].get(), nullptr, nullptr, SOCK_CLOEXEC));
            if (auto connected = wire::connect(targets[i])) links.push_back({std::move(client), std::move(*connected)});
        }
    }
    for (Link& link : links)
        for (int i = 0; i < 8 && pass_on(link, false); ++i) {}
}

} // namespace

int main(int argc, char** argv)
{
    std::vector<std::string> arguments(argv, argv + argc);
    arguments[0] = DMABROKERD_BINARY;
    std::string path;
    for (std::size_t i = 1; i + 1 < arguments.size(); ++i)
        if (arguments[i] == "--socket") path = std::exchange(arguments[i + 1], arguments[i + 1] + ".now");
    if (path.empty()) return 2;
    struct sigaction stop{};
    stop.sa_handler = [](int) { ::kill(broker, SIGTERM); };
    ::signal(SIGPIPE, SIG_IGN);
    const std::string behind = path + ".now";
    broker = start_broker(arguments);
    ::sigaction(SIGTERM, &stop, nullptr);
    for (int i = 0; i < 3000 && !wire::connect(behind + ".manager"); ++i) ::usleep(10'000);
    serve(path, behind);
    int status = 0;
    ::waitpid(broker, &status, 0);
    ::unlink(path.c_str());
    ::unlink((path + ".manager").c_str());
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

// SPDX-License-Identifier: MIT
// Starts the worker with nothing but descriptor 3 and the standard ones. Everything here blocks, with a
// receive timeout that is generous: drivers take seconds to start in an emulated machine.
#include "tests/drm/worker_process.hpp"

#include "proto/wire/channel.hpp"

#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <linux/close_range.h>
#include <stdexcept>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

namespace dmb::test {
namespace {

constexpr time_t patience_seconds = 300;

const char* binary()
{
    const char* other = std::getenv("DMABROKER_WORKER");
    return other ? other : DMABROKER_WORKER_BINARY;
}

[[noreturn]] void become_worker(int socket, const std::vector<std::string>& arguments)
{
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    // dup2 to itself would keep close-on-exec.
    if (socket == 3) ::fcntl(socket, F_SETFD, 0);
    else ::dup2(socket, 3);
    ::close_range(4, ~0U, 0);
    std::vector<char*> argv{const_cast<char*>(binary())};
    for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);
    ::execv(binary(), argv.data());
    ::_exit(127);
}

template <class T> T need(Result<T> result, const char* what)
{
    if (!result) throw std::runtime_error(fmt::format("{}: {}", what, result.error().reason.view()));
    return std::move(*result);
}

} // namespace

WorkerProcess::WorkerProcess(const std::vector<std::string>& arguments)
{
    for (const std::string& argument : arguments) name_ += (name_.empty() ? "" : " ") + argument;
    int pair[2];
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) throw std::runtime_error("socketpair");
    socket_ = UniqueFd::adopt(pair[0]);
    const UniqueFd theirs = UniqueFd::adopt(pair[1]);
    const timeval patience{patience_seconds, 0};
    ::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    pid_ = ::fork();
    if (pid_ < 0) throw std::runtime_error("fork");
    if (pid_ == 0) become_worker(theirs.get(), arguments);
}

WorkerProcess::~WorkerProcess()
{
    if (pid_ < 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
}

const wire::WorkerHello& WorkerProcess::hello()
{
    if (greeted_) return hello_;
    WorkerAnswer answer = receive();
    hello_ = std::get<wire::WorkerHello>(answer.message);
    greeted_ = true;
    return hello_;
}

std::vector<Support> WorkerProcess::formats()
{
    std::vector<Support> out;
    const std::vector<Exports>& all = hello().exports;
    for (std::size_t i = 0; i < all.size(); ++i)
        for (const Capability& row : all[i].rows) out.push_back({row, static_cast<std::uint8_t>(i)});
    return out;
}

template <class Message> WorkerAnswer WorkerProcess::ask(const Message& request, std::span<const int> fds)
{
    hello();
    std::vector<std::byte> packet(limits::packet_bytes);
    packet.resize(need(wire::encode(request, ++serial_, packet), "encode"));
    send(packet, fds);
    WorkerAnswer answer = receive();
    if (answer.serial != serial_) throw std::runtime_error("an answer to another request");
    return answer;
}
template WorkerAnswer WorkerProcess::ask(const wire::WorkerProve&, std::span<const int>);
template WorkerAnswer WorkerProcess::ask(const wire::WorkerRead&, std::span<const int>);
template WorkerAnswer WorkerProcess::ask(const wire::WorkerWrite&, std::span<const int>);
template WorkerAnswer WorkerProcess::ask(const wire::WorkerBlit&, std::span<const int>);

WorkerAnswer WorkerProcess::allocate(std::uint8_t device, const AllocateSpec& spec, int contents, const LayoutRules& rules)
{
    const bool has_contents = contents >= 0;
    return ask(wire::WorkerAllocate{device, spec, rules, has_contents}, {&contents, has_contents ? 1u : 0u});
}

void WorkerProcess::send(std::span<const std::byte> packet, std::span<const int> fds)
{
    need(wire::send(socket_.get(), packet, fds, wire::Wait::yes), "send");
}

WorkerAnswer WorkerProcess::receive()
{
    std::vector<std::byte> buffer(limits::packet_bytes);
    auto packet = need(wire::receive(socket_.get(), buffer, wire::Wait::yes), "receive");
    if (!packet) throw std::runtime_error("the worker did not answer in time");
    wire::Decoded<wire::WorkerReply> decoded;
    const auto good = wire::decode(std::span(buffer).first(packet->size), packet->fds.size(), decoded);
    if (!good) throw std::runtime_error(fmt::format("decode: {}", good.error().reason.view()));
    return {std::move(decoded.message), decoded.serial, std::move(packet->fds)};
}

int WorkerProcess::finish()
{
    socket_.reset();
    int status = -1;
    ::waitpid(pid_, &status, 0);
    pid_ = -1;
    return status;
}

} // namespace dmb::test

// SPDX-License-Identifier: MIT
// dmabroker-receiver: reads what one user's clients send with descriptors and passes on to the broker what cannot hurt it:
// dma-bufs and sealed memfds. It has nothing else that anybody could want, so it may hang where the broker may not. Started
// by dmabrokerd only: descriptor 3 is a SEQPACKET socket to it, on which the clients' channels come. It ends with that socket.
#include "daemon/receiver/channel.hpp"
#include "daemon/receiver/own_table.hpp"
#include "proto/base/log.hpp"
#include "proto/wire/channel.hpp"

#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <optional>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/socket.h>

namespace {

using namespace dmb;

constexpr int usage_error = 2;
constexpr std::size_t stack_bytes = 256 * 1024;

bool is_packet_socket(int fd)
{
    int type = 0;
    socklen_t size = sizeof type;
    return ::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_SEQPACKET;
}

/// There may be a thousand channels, each with a thread.
void use_small_stacks()
{
    pthread_attr_t attributes;
    ::pthread_attr_init(&attributes);
    ::pthread_attr_setstacksize(&attributes, stack_bytes);
    ::pthread_setattr_default_np(&attributes);
    ::pthread_attr_destroy(&attributes);
}

/// The next channel of which client; its descriptors have the numbers that Channel expects.
std::optional<ClientId> receive_channel()
{
    ClientId client;
    const auto bytes = std::as_writable_bytes(std::span(&client.value, 1));
    Result<std::optional<wire::Packet>> packet = wire::receive(receiver::control, bytes, wire::Wait::yes);
    if (!packet || !*packet || (*packet)->size != bytes.size() || (*packet)->fds.size() != 2) return std::nullopt;
    const int channel = (*packet)->fds[0].release();
    const int life = (*packet)->fds[1].release();
    if (channel != receiver::channel || life != receiver::life) return std::nullopt;
    return client;
}

bool serve_next_channel(std::atomic<int>& closing)
{
    return receiver::run_in_own_table([&closing](receiver::Released& released) {
        const std::optional<ClientId> client = receive_channel();
        released.set_value(client.has_value());
        if (client) receiver::Channel(*client, closing).serve();
    });
}

} // namespace

int main()
{
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    // Who has this process's socket can speak for its user's clients.
    ::prctl(PR_SET_DUMPABLE, 0UL, 0UL, 0UL, 0UL);
    if (!is_packet_socket(receiver::control)) {
        log::error("dmabroker-receiver is started by dmabrokerd, with a SEQPACKET socket as descriptor {}", receiver::control);
        return usage_error;
    }
    use_small_stacks();
    std::atomic<int> closing = 0;
    while (serve_next_channel(closing)) {}
    // Without destructors: other threads still run, and some may never end.
    ::_exit(0);
}

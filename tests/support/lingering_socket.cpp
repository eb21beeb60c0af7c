// SPDX-License-Identifier: MIT
// A peer that is closed with unread data resets the connection, which ends the wait.
#include "tests/support/lingering_socket.hpp"

#include <cstring>
#include <net/if.h>
#include <netinet/in.h>
#include <stdexcept>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <vector>

namespace dmb::test {
namespace {

/// In a bare virtual machine nobody has done it; elsewhere it changes nothing.
void bring_up_loopback(int socket)
{
    ifreq device{};
    std::strcpy(device.ifr_name, "lo");
    if (::ioctl(socket, SIOCGIFFLAGS, &device) != 0 || device.ifr_flags & IFF_UP) return;
    device.ifr_flags |= IFF_UP;
    ::ioctl(socket, SIOCSIFFLAGS, &device);
}

} // namespace

LingeringSocket::LingeringSocket(int seconds)
{
    const UniqueFd listening = UniqueFd::adopt(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in name{};
    name.sin_family = AF_INET;
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    auto* address = reinterpret_cast<sockaddr*>(&name);
    socklen_t size = sizeof name;
    bring_up_loopback(listening.get());
    socket_ = UniqueFd::adopt(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (::bind(listening.get(), address, size) != 0 || ::listen(listening.get(), 1) != 0 ||
        ::getsockname(listening.get(), address, &size) != 0 || ::connect(socket_.get(), address, size) != 0)
        throw std::runtime_error("no TCP on the loopback device");
    peer_ = UniqueFd::adopt(::accept4(listening.get(), nullptr, nullptr, SOCK_CLOEXEC));
    const std::vector<char> data(1 << 20);
    while (::send(socket_.get(), data.data(), data.size(), MSG_DONTWAIT) > 0) {}
    const linger option{1, seconds};
    ::setsockopt(socket_.get(), SOL_SOCKET, SO_LINGER, &option, sizeof option);
}

} // namespace dmb::test

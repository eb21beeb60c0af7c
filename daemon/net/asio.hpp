// SPDX-License-Identifier: MIT
// The parts of Boost.Asio the daemon uses, configured once. Asio only waits: packets with descriptors are
// read and written by proto/wire/channel, because Asio cannot pass descriptors.
#pragma once
#include <boost/asio/basic_seq_packet_socket.hpp>
#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/basic_endpoint.hpp>
#include <boost/asio/posix/basic_stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <chrono>
#include <sys/socket.h>

namespace dmb {

namespace asio = boost::asio;
using boost::system::error_code;

/// Boost 1.81 has no local::seq_packet_protocol.
struct SeqPacket {
    int type() const { return SOCK_SEQPACKET; }
    int protocol() const { return 0; }
    int family() const { return AF_UNIX; }
    using endpoint = asio::local::basic_endpoint<SeqPacket>;
};
using Executor = asio::io_context::executor_type;
using Descriptor = asio::posix::basic_stream_descriptor<Executor>;
using Socket = asio::basic_seq_packet_socket<SeqPacket, Executor>;
using Timer = asio::basic_waitable_timer<std::chrono::steady_clock, asio::wait_traits<std::chrono::steady_clock>, Executor>;

} // namespace dmb

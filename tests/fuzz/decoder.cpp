// SPDX-License-Identifier: MIT
// Everything that reads bytes of a peer: the four directions of packets, snapshots, and JSON. The first
// byte chooses which, the second how many descriptors came along. What is accepted must come back as
// the same bytes: there is one way to write each value.
#include "proto/wire/codec.hpp"
#include "proto/wire/json.hpp"

#include <algorithm>
#include <cstdlib>

using namespace dmb;
using namespace dmb::wire;

namespace {

void require(bool holds)
{
    if (!holds) std::abort();
}

using Bytes = std::span<const std::byte>;

template <class Variant> void packet(Bytes bytes, std::size_t fds)
{
    Decoded<Variant> out;
    const Result<> result = decode(bytes, fds, out);
    if (!result) {
        require(result.error().code == Errc::protocol_violation || result.error().code == Errc::unsupported);
        require(is_printable(result.error().reason.view()));
        return;
    }
    std::visit(
        [&](const auto& message) {
            std::vector<std::byte> again(bytes.size());
            const Result<std::size_t> size = encode(message, out.serial, again);
            require(size && *size == bytes.size() && std::equal(again.begin(), again.end(), bytes.begin()));
            require(message.fd_count() == fds);
        },
        out.message);
}

void snapshot(Bytes bytes)
{
    const Result<Snapshot> value = decode_snapshot(bytes);
    if (!value) return;
    const auto again = encode_snapshot(*value);
    require(again && std::equal(again->begin(), again->end(), bytes.begin(), bytes.end()));
    (void)to_json(*value);
}

void json(std::string_view text)
{
    const Result<ImageDesc> desc = image_desc_from_json(text);
    if (!desc) return require(desc.error().code == Errc::invalid_argument);
    const Result<ImageDesc> again = image_desc_from_json(to_json(*desc));
    require(again && *again == *desc);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    if (size < 2 || size > limits::packet_bytes) return 0;
    const Bytes bytes = std::as_bytes(std::span(data + 2, size - 2));
    const std::size_t fds = data[1] % (limits::packet_fds + 2);
    switch (data[0] % 6) {
    case 0: packet<Request>(bytes, fds); break;
    case 1: packet<Reply>(bytes, fds); break;
    case 2: packet<WorkerRequest>(bytes, fds); break;
    case 3: packet<WorkerReply>(bytes, fds); break;
    case 4: snapshot(bytes); break;
    case 5: json({reinterpret_cast<const char*>(bytes.data()), bytes.size()}); break;
    }
    return 0;
}

// SPDX-License-Identifier: MIT
// Everything that reads bytes of a peer: the four directions of packets, snapshots, and JSON. The first
// byte chooses which, the second how many descriptors came along. What is accepted and written again must be read as
// the same value: there is one way to write each, but for what a later version added, which is skipped.
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
            require(size && message.fd_count() <= fds);
            Decoded<Variant> twice;
            require(decode(std::span(again).first(*size), message.fd_count(), twice).has_value());
            using Message = std::decay_t<decltype(message)>;
            require(std::get<Message>(twice.message) == message && twice.serial == out.serial);
            require(*size < bytes.size() || std::equal(again.begin(), again.end(), bytes.begin()));
        },
        out.message);
}

void snapshot(Bytes bytes)
{
    const Result<Snapshot> value = decode_snapshot(bytes);
    if (!value) return;
    const auto again = encode_snapshot(*value);
    require(again && again->size() <= bytes.size());
    require(decode_snapshot(*again).value() == *value);
    (void)to_json(*value);
}

void table(Bytes bytes)
{
    const Result<Capabilities> value = decode_capabilities(bytes);
    if (!value) return require(value.error().code == Errc::invalid_argument);
    require(value->rows.size() <= limits::capability_rows);
    require(decode_capabilities(encode_capabilities(*value).value()).value() == *value);
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
    const std::size_t fds = data[1];
    switch (data[0] % 7) {
    case 0: packet<Request>(bytes, fds); break;
    case 1: packet<Reply>(bytes, fds); break;
    case 2: packet<WorkerRequest>(bytes, fds); break;
    case 3: packet<WorkerReply>(bytes, fds); break;
    case 4: snapshot(bytes); break;
    case 6: table(bytes); break;
    case 5: json({reinterpret_cast<const char*>(bytes.data()), bytes.size()}); break;
    }
    return 0;
}

// SPDX-License-Identifier: MIT
// The owner writes, the other looks and says "seen"; the other writes and says "written", the owner looks. Each waits
// for its GPU before it says anything.
#include "tests/drm/opaque_paths/buffer_paths.hpp"

#include "libclient/headless/gl_buffer.hpp"
#include "tests/drm/opaque_paths/cuda.hpp"

#include <algorithm>
#include <cstring>
#include <dmabroker/gl.hpp>
#include <fmt/core.h>

namespace dmb::paths {
namespace {

using dmabroker::Image;
using dmabroker::Rights;
using dmabroker::Usage;
using Bytes = std::vector<std::uint8_t>;
constexpr std::uint32_t size_in_bytes = 5'000'003; // no multiple of anything

Bytes bytes(std::uint8_t seed)
{
    Bytes out(size_in_bytes);
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<std::uint8_t>(i * 7 + i / 251 + seed);
    return out;
}
Bytes owners() { return bytes(1); }
Bytes others() { return bytes(90); }

void compare_bytes(const Bytes& seen, const Bytes& wanted)
{
    const auto [left, right] = std::ranges::mismatch(wanted, seen);
    if (left != wanted.end() || right != seen.end())
        throw std::runtime_error(fmt::format("wrong bytes from {} on", left - wanted.begin()));
}

Image allocate_buffer(dmabroker::Client& client, const VulkanEnd& end)
{
    dmabroker::Allocation wanted;
    wanted.size = {size_in_bytes, 1};
    wanted.format = DMABROKER_FORMAT_BUFFER;
    wanted.usage = Usage::storage | Usage::sample;
    wanted.backends = DMABROKER_BACKEND_BIT(DMABROKER_BACKEND_VULKAN_OPAQUE);
    wanted.device = end.uuid();
    try {
        return client.allocate(wanted);
    } catch (const dmabroker::Error& e) {
        throw std::runtime_error(fmt::format("{}: {}", e.what(), client.why(client.last_request())));
    }
}

/// `write` and `read` are the other end's API.
template <class Write, class Read> void take_turns(Link& link, Write write, Read read)
{
    link.expect("written");
    compare_bytes(read(), owners());
    link.send("seen");
    write(others());
    link.send("written");
    link.expect("seen");
}

struct OpenedBuffer {
    OpenedBuffer(Link& link, const Setup& setup, const std::string& name)
        : client(connect(setup, name)), image(client.open(link.receive(), Rights::read | Rights::write, Usage::storage))
    {
    }
    dmabroker::Client client;
    Image image;
};

/// The display whose driver takes it; the others refuse by their UUIDs.
gpu::EglContext display_for(const Image& image)
{
    return gpu::first_working_display([&](const gpu::EglContext& context) {
        const auto buffer = dmabroker::gl::import_buffer(image, context.display().get_proc);
        return true;
    });
}

} // namespace

std::string buffer_owner(Link& link, const Setup& setup)
{
    const VulkanEnd end(setup.device);
    dmabroker::Client client = connect(setup, "buffer's owner");
    Image image = allocate_buffer(client, end);
    const auto buffer = dmabroker::vulkan::import_buffer(image, end.context().device(), 0, DMABROKER_IMPORT_WRITE);
    link.send(image.token(Rights::read | Rights::write));
    end.context().write(buffer, owners());
    link.send("written");
    link.expect("seen");
    link.expect("written");
    compare_bytes(end.context().read(buffer), others());
    link.send("seen");
    return "";
}

std::string vulkan_takes_buffer(Link& link, const Setup& setup)
{
    const VulkanEnd end(setup.device);
    const OpenedBuffer opened(link, setup, "vulkan takes a buffer");
    const auto buffer = dmabroker::vulkan::import_buffer(opened.image, end.context().device(), 0, DMABROKER_IMPORT_WRITE);
    take_turns(link, [&](const Bytes& data) { end.context().write(buffer, data); }, [&] { return end.context().read(buffer); });
    return "";
}

std::string gl_takes_buffer(Link& link, const Setup& setup)
{
    const OpenedBuffer opened(link, setup, "gl takes a buffer");
    const gpu::EglContext context = [&] {
        try {
            return display_for(opened.image);
        } catch (const std::exception& e) {
            throw Skip(e.what());
        }
    }();
    const auto buffer = dmabroker::gl::import_buffer(opened.image, context.display().get_proc, DMABROKER_IMPORT_WRITE);
    take_turns(
        link, [&](const Bytes& data) { gpu::write_buffer(context.gl(), buffer.name(), std::as_bytes(std::span(data))); },
        [&] {
            Bytes out(size_in_bytes);
            gpu::read_buffer(context.gl(), buffer.name(), std::as_writable_bytes(std::span(out)));
            return out;
        });
    return context.name();
}

std::string cuda_takes_buffer(Link& link, const Setup& setup)
{
    const OpenedBuffer opened(link, setup, "cuda takes a buffer");
    Uuid uuid;
    std::memcpy(uuid.data(), opened.image.info().device_uuid, uuid.size());
    const Cuda cuda = Cuda::with_uuid(uuid);
    const CudaMappedBuffer buffer(cuda, opened.image);
    take_turns(link, [&](const Bytes& data) { buffer.write(data); }, [&] { return buffer.read(); });
    return "";
}

} // namespace dmb::paths

// SPDX-License-Identifier: MIT
// The words on the link, in order:
//
//   owner: the token, with the semaphore       other: "ready" when it has imported both
//   whoever draws: "drawn"                     when the signal is submitted, or the drawing is finished
//   whoever looks: "seen"                      when its pixels were right
//
// A timeline is waited for before "ready". The owner keeps everything until "seen".
#include "tests/drm/opaque_paths/sharing.hpp"

#include <cstring>
#include <fmt/core.h>
#include <thread>

namespace dmb::paths {
namespace {

using dmabroker::Rights;

std::optional<Kind> kind_of(Sync sync)
{
    if (sync == Sync::finished) return std::nullopt;
    return sync == Sync::binary ? Kind::binary : Kind::timeline;
}

std::optional<Semaphore> make_semaphore(const VulkanEnd& end, Sync sync)
{
    const auto kind = kind_of(sync);
    if (!kind) return std::nullopt;
    return Semaphore::exportable(end, *kind);
}

At at(const std::optional<Semaphore>& semaphore, Sync sync)
{
    if (!semaphore) return {};
    return {semaphore->handle(), sync == Sync::timeline ? 1u : 0u};
}

void send_token(Link& link, dmabroker::Image& image, const std::optional<Semaphore>& semaphore)
{
    const UniqueFd fd = semaphore ? semaphore->export_fd() : UniqueFd();
    link.send(image.token(Rights::read | Rights::write), fd.get());
}

/// An image as a Vulkan device sees it, with memory of the host to draw from or to read into.
class View {
public:
    View(const VulkanEnd& end, const dmabroker::Image& image)
        : end_(end),
          images_(dmabroker::vulkan::import(image, end.context().device())),
          buffer_(end.context(), after().size(), VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT)
    {
    }
    Commands drawing(const Pixels& pixels, bool slowly)
    {
        std::memcpy(buffer_.data(), pixels.data(), pixels.size());
        return Commands(end_, [&](VkCommandBuffer commands) {
            if (slowly) end_.record_delay(commands);
            end_.record_draw(commands, images_, buffer_.buffer(), size);
        });
    }
    Commands reading()
    {
        return Commands(end_, [&](VkCommandBuffer commands) { end_.record_read(commands, images_, buffer_.buffer(), size); });
    }
    Pixels pixels() const { return {buffer_.data(), buffer_.data() + after().size()}; }

private:
    const VulkanEnd& end_;
    dmabroker::vulkan::Images images_;
    gpu::HostBuffer buffer_;
};

void draw_now(View& view, const Pixels& pixels)
{
    Commands drawing = view.drawing(pixels, false);
    drawing.submit();
    drawing.wait();
}

/// Submits the wait, and says whether it was pending.
std::string read_after(View& view, Commands& reading, At wait)
{
    reading.submit(wait);
    const bool pending = !reading.done();
    reading.wait();
    compare(view.pixels(), after());
    if (!wait.semaphore) return "";
    return pending ? "the wait was pending" : "the signal came before the wait";
}

/// The wait is submitted first: for a tenth of a second nothing may happen.
std::string read_before_signal(Link& link, View& view, Commands& reading, At wait)
{
    reading.submit(wait);
    std::this_thread::sleep_for(std::chrono::milliseconds(100)); // nothing can be waited for: nothing must happen
    if (reading.done()) throw std::runtime_error("did not wait for the timeline, which nobody signalled");
    link.send("ready");
    link.expect("drawn");
    reading.wait();
    compare(view.pixels(), after());
    return "waited before the signal was submitted";
}

} // namespace

dmabroker::Client connect(const Setup& setup, const std::string& name)
{
    dmabroker::ConnectOptions options;
    options.remote = setup.socket;
    options.name = name;
    options.timeout = std::chrono::seconds(100);
    return dmabroker::Client::connect(options);
}

dmabroker::Image allocate(dmabroker::Client& client, const VulkanEnd& end, dmabroker::Size extent)
{
    dmabroker::Allocation wanted;
    wanted.size = extent;
    wanted.format = dmabroker::fourcc("AB24");
    wanted.usage = dmabroker::Usage::render | dmabroker::Usage::sample;
    wanted.backends = DMABROKER_BACKEND_BIT(DMABROKER_BACKEND_VULKAN_OPAQUE);
    wanted.device = end.uuid();
    try {
        return client.allocate(wanted);
    } catch (const dmabroker::Error& e) {
        throw std::runtime_error(fmt::format("{}: {}", e.what(), client.why(client.last_request())));
    }
}

Pixels pattern(std::uint8_t seed)
{
    Pixels out;
    out.reserve(std::size_t{size.width} * size.height * 4);
    for (std::uint32_t y = 0; y < size.height; ++y)
        for (std::uint32_t x = 0; x < size.width; ++x)
            for (const std::uint32_t value : {x + seed, y * 3 + seed, x ^ y, 255u})
                out.push_back(static_cast<std::uint8_t>(value));
    return out;
}

Pixels before() { return pattern(1); }
Pixels after() { return pattern(90); }

void compare(const Pixels& seen, const Pixels& drawn)
{
    for (std::size_t i = 0; i < drawn.size(); ++i)
        if (i >= seen.size() || seen[i] != drawn[i])
            throw std::runtime_error(fmt::format("wrong pixels from {},{} on: {} instead of {}{}", i / 4 % size.width,
                                                 i / 4 / size.width, i < seen.size() ? seen[i] : -1, drawn[i],
                                                 seen == before() ? ": the image as it was before, nothing waited" : ""));
}

std::string owner_draws(Link& link, const Setup& setup, Sync sync)
{
    const VulkanEnd end(setup.device);
    const auto semaphore = make_semaphore(end, sync);
    dmabroker::Client client = connect(setup, "vulkan draws");
    dmabroker::Image image = allocate(client, end, size);
    View view(end, image);
    draw_now(view, before());
    Commands drawing = view.drawing(after(), sync == Sync::binary);
    send_token(link, image, semaphore);
    link.expect("ready");
    drawing.submit({}, at(semaphore, sync));
    if (sync == Sync::finished) drawing.wait();
    link.send("drawn");
    link.expect("seen");
    drawing.wait();
    return "";
}

std::string owner_reads(Link& link, const Setup& setup, Sync sync)
{
    const VulkanEnd end(setup.device);
    const auto semaphore = make_semaphore(end, sync);
    dmabroker::Client client = connect(setup, "vulkan reads");
    dmabroker::Image image = allocate(client, end, size);
    View view(end, image);
    draw_now(view, before());
    Commands reading = view.reading();
    send_token(link, image, semaphore);
    link.expect("ready");
    link.expect("drawn");
    const std::string note = read_after(view, reading, at(semaphore, sync));
    link.send("seen");
    return note;
}

Opened open_shared(Link& link, const Setup& setup, const std::string& name, Rights rights)
{
    UniqueFd semaphore;
    const std::string token = link.receive(semaphore);
    dmabroker::Client client = connect(setup, name);
    dmabroker::Image image = client.open(token, rights, dmabroker::Usage::sample | dmabroker::Usage::render);
    return {std::move(client), std::move(image), std::move(semaphore)};
}

std::string vulkan_reads(Link& link, const Setup& setup, Sync sync)
{
    const VulkanEnd end(setup.device);
    Opened opened = open_shared(link, setup, "vulkan reads", Rights::read);
    std::optional<Semaphore> semaphore;
    if (const auto kind = kind_of(sync)) semaphore.emplace(Semaphore::imported(end, *kind, std::move(opened.semaphore)));
    View view(end, opened.image);
    Commands reading = view.reading();
    std::string note;
    if (sync == Sync::timeline) {
        note = read_before_signal(link, view, reading, at(semaphore, sync));
    } else {
        link.send("ready");
        link.expect("drawn");
        note = read_after(view, reading, at(semaphore, sync));
    }
    link.send("seen");
    return note;
}

} // namespace dmb::paths

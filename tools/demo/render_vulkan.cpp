// SPDX-License-Identifier: MIT
// demo-vulkan, one of the three renderers: draws with Vulkan gradients that the device interpolates (linear blits of a
// few texels), nested and mirrored into a tunnel. No shader, so that the build needs no shader compiler. It holds its
// image until the demo ends it (stage.hpp).
#include "libclient/headless/vulkan_context.hpp"
#include "tools/demo/stage.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>

namespace {

using dmb::gpu::VulkanContext;

constexpr std::int32_t palette_size = 4; ///< texels in each direction

/// A few texels on the device, to be stretched.
class Palette {
public:
    Palette(const VulkanContext& context, float hue);
    ~Palette();
    Palette(const Palette&) = delete;
    Palette& operator=(const Palette&) = delete;
    VkImage image() const { return image_; }

private:
    void upload(float hue);
    const VulkanContext& context_;
    VkImage image_ = VK_NULL_HANDLE;
    VkDeviceMemory memory_ = VK_NULL_HANDLE;
};

Palette::Palette(const VulkanContext& context, float hue) : context_(context)
{
    const auto& vk = context.vk();
    VkImageCreateInfo info{VK_STRUCTURE_TYPE_IMAGE_CREATE_INFO};
    info.imageType = VK_IMAGE_TYPE_2D;
    info.format = VK_FORMAT_R8G8B8A8_UNORM;
    info.extent = {palette_size, palette_size, 1};
    info.mipLevels = info.arrayLayers = 1;
    info.samples = VK_SAMPLE_COUNT_1_BIT;
    info.tiling = VK_IMAGE_TILING_OPTIMAL;
    info.usage = VK_IMAGE_USAGE_TRANSFER_SRC_BIT | VK_IMAGE_USAGE_TRANSFER_DST_BIT;
    dmb::gpu::check(vk.CreateImage(context.handle(), &info, nullptr, &image_), "vkCreateImage");
    VkMemoryRequirements needed{};
    vk.GetImageMemoryRequirements(context.handle(), image_, &needed);
    const VkMemoryAllocateInfo allocation{VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO, nullptr, needed.size,
                                          context.memory_type(needed.memoryTypeBits, 0)};
    dmb::gpu::check(vk.AllocateMemory(context.handle(), &allocation, nullptr, &memory_), "vkAllocateMemory");
    dmb::gpu::check(vk.BindImageMemory(context.handle(), image_, memory_, 0), "vkBindImageMemory");
    upload(hue);
}

Palette::~Palette()
{
    context_.vk().DestroyImage(context_.handle(), image_, nullptr);
    context_.vk().FreeMemory(context_.handle(), memory_, nullptr);
}

void fill(std::uint8_t* texels, float hue)
{
    for (int i = 0; i < palette_size * palette_size; ++i) {
        const float x = static_cast<float>(i % palette_size) / (palette_size - 1),
                    y = static_cast<float>(i / palette_size) / (palette_size - 1);
        for (int k = 0; k < 3; ++k) {
            const float wave = 0.5f + 0.5f * std::cos(6.2832f * (hue + 0.35f * x + 0.2f * y + 0.33f * static_cast<float>(k)));
            *texels++ = static_cast<std::uint8_t>(std::lrint(255 * wave * (0.35f + 0.65f * (1 - x * y))));
        }
        *texels++ = static_cast<std::uint8_t>(std::lrint(255 * std::clamp(1.15f - 0.9f * x * (1 - y), 0.f, 1.f)));
    }
}

void Palette::upload(float hue)
{
    const dmb::gpu::HostBuffer buffer(context_, palette_size * palette_size * 4, VK_BUFFER_USAGE_TRANSFER_SRC_BIT);
    fill(buffer.data(), hue);
    context_.run([&](VkCommandBuffer commands) {
        context_.barrier(commands, image_, {}, {VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, VK_ACCESS_TRANSFER_WRITE_BIT});
        VkBufferImageCopy copy{};
        copy.imageSubresource = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 0, 1};
        copy.imageExtent = {palette_size, palette_size, 1};
        context_.vk().CmdCopyBufferToImage(commands, buffer.buffer(), image_, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, 1, &copy);
        context_.barrier(commands, image_, {VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, VK_ACCESS_TRANSFER_WRITE_BIT},
                         {VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL, VK_ACCESS_TRANSFER_READ_BIT});
    });
}

struct Rectangle {
    std::int32_t left, top, right, bottom;
};

/// The palette stretched over a rectangle, mirrored as asked.
void stretch(const VulkanContext& context, VkCommandBuffer commands, const Palette& from, VkImage to, Rectangle r,
             bool mirror_x, bool mirror_y)
{
    VkImageBlit blit{};
    blit.srcSubresource = blit.dstSubresource = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 0, 1};
    blit.srcOffsets[0] = {mirror_x ? palette_size : 0, mirror_y ? palette_size : 0, 0};
    blit.srcOffsets[1] = {mirror_x ? 0 : palette_size, mirror_y ? 0 : palette_size, 1};
    blit.dstOffsets[0] = {r.left, r.top, 0};
    blit.dstOffsets[1] = {r.right, r.bottom, 1};
    context.vk().CmdBlitImage(commands, from.image(), VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL, to,
                              VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, 1, &blit, VK_FILTER_LINEAR);
}

void wait_between(VkCommandBuffer commands, const VulkanContext& context, VkImage image)
{
    const auto writing = dmb::gpu::ImageState{VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, VK_ACCESS_TRANSFER_WRITE_BIT};
    context.barrier(commands, image, writing, writing);
}

void draw_tunnel(const VulkanContext& context, VkCommandBuffer commands, VkImage image, const Palette& warm,
                 const Palette& cold)
{
    const auto width = static_cast<std::int32_t>(dmb::demo::picture.width),
               height = static_cast<std::int32_t>(dmb::demo::picture.height);
    constexpr int rings = 9;
    for (int i = 0; i < rings; ++i) {
        const std::int32_t dx = width * i * (2 * rings - i) / (2 * rings * rings),
                           dy = height * i * (2 * rings - i) / (2 * rings * rings);
        const Rectangle ring{dx, dy, width - dx, height - dy};
        if (ring.right - ring.left < 8 || ring.bottom - ring.top < 8) break;
        stretch(context, commands, i % 2 ? cold : warm, image, ring, i & 1, i & 2);
        wait_between(commands, context, image);
    }
}

void draw(const VulkanContext& context, const dmabroker::vulkan::Images& target)
{
    const Palette warm(context, 0.02f), cold(context, 0.55f);
    const auto writing = context.mine(VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, VK_ACCESS_TRANSFER_WRITE_BIT);
    context.run([&](VkCommandBuffer commands) {
        context.barrier(commands, target.image(), context.external(target), writing);
        draw_tunnel(context, commands, target.image(), warm, cold);
        context.barrier(commands, target.image(), writing, context.external(target));
    });
}

struct Target {
    dmabroker::Image image;
    dmabroker::vulkan::Images imported;
};

// Opaque memory of a software driver can be imported by that driver only: a compositor on a GPU could not.
constexpr std::array hardware_first{DMABROKER_BACKEND_VULKAN, DMABROKER_BACKEND_VULKAN_OPAQUE, DMABROKER_BACKEND_UDMABUF,
                                    DMABROKER_BACKEND_MEMFD};
constexpr std::array system_first{DMABROKER_BACKEND_VULKAN, DMABROKER_BACKEND_UDMABUF, DMABROKER_BACKEND_VULKAN_OPAQUE,
                                  DMABROKER_BACKEND_MEMFD};

Target make_target(dmabroker::Client& client, const VulkanContext& context)
{
    std::string reason;
    for (const auto backend : context.software() ? system_first : hardware_first) {
        try {
            dmabroker::Allocation wanted{.size = dmb::demo::picture,
                                         .format = dmabroker::fourcc("AB24"),
                                         .usage = dmabroker::Usage::render | dmabroker::Usage::sample};
            wanted.backends = DMABROKER_BACKEND_BIT(backend);
            wanted.label = "demo: Vulkan";
            dmabroker::Image image = client.allocate(wanted);
            auto imported =
                dmabroker::vulkan::import(image, context.device(), VK_IMAGE_USAGE_TRANSFER_DST_BIT, DMABROKER_IMPORT_WRITE);
            return {std::move(image), std::move(imported)};
        } catch (const std::runtime_error& e) {
            reason = e.what();
        }
    }
    throw std::runtime_error("no image that " + context.name() + " can draw into: " + reason);
}

/// Hardware before software.
VulkanContext first_device()
{
    for (const bool software : {false, true})
        for (unsigned i = 0; i < VulkanContext::count(); ++i)
            if (VulkanContext context(i); context.software() == software) return context;
    throw std::runtime_error("there is no Vulkan device: install mesa-vulkan-drivers");
}

void render()
{
    auto client = dmabroker::Client::connect();
    const VulkanContext context = first_device();
    Target target = make_target(client, context);
    const dmb::demo::Stopwatch watch;
    draw(context, target.imported);
    dmb::demo::present("Vulkan", target.image, watch.milliseconds(), "VkImage");
}

} // namespace

int main() { return dmb::demo::run("demo-vulkan", render); }

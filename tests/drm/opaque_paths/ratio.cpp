// SPDX-License-Identifier: MIT
// A frame begins when the producer submits its drawing (a clear) and ends when the consumer has read a row of it with
// its GPU and the CPU has seen that it is the right one. Everything is made before: images, semaphores, mappings,
// commands, touched pages.
//
//   zero-copy       draw, signal | wait, read a row
//   shared memory   draw, copy to staging memory, memcpy to the memfd | memcpy to staging memory, upload, read a row
//
// Staging memory that the CPU reads is cached where the device has such a type. Rounds of both ways alternate, so
// that both see the same machine; where semaphores cannot be shared the producer waits for its GPU instead.
#include "tests/drm/opaque_paths/ratio.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <fmt/core.h>
#include <sys/mman.h>
#include <unistd.h>

namespace dmb::paths {
namespace {

using gpu::check;
constexpr unsigned rounds = 6, frames = 20, warm_up = 3;
/// What changes from frame to frame: 0 to 1 as a colour, and its byte.
constexpr unsigned shades = 16;
std::uint8_t shade(unsigned frame) { return static_cast<std::uint8_t>(frame % shades * 17); }

std::uint64_t now_ns()
{
    // CLOCK_MONOTONIC: the same in both processes.
    return static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
}

std::size_t bytes_of(dmabroker::Size extent) { return std::size_t{extent.width} * extent.height * 4; }

// --- what both have --------------------------------------------------------------------------

/// Pages that two processes map.
class SharedMemory {
public:
    explicit SharedMemory(std::size_t bytes) : SharedMemory(UniqueFd::adopt(::memfd_create("frame", MFD_CLOEXEC)), bytes)
    {
        std::memset(data_, 0, bytes);
    }
    SharedMemory(UniqueFd fd, std::size_t bytes) : fd_(std::move(fd)), bytes_(bytes)
    {
        if (::ftruncate(fd_.get(), static_cast<off_t>(bytes)) != 0) throw std::runtime_error("ftruncate failed");
        data_ = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd_.get(), 0);
        if (data_ == MAP_FAILED) throw std::runtime_error("mmap failed");
    }
    SharedMemory(const SharedMemory&) = delete;
    SharedMemory& operator=(const SharedMemory&) = delete;
    ~SharedMemory() { ::munmap(data_, bytes_); }
    void* data() const { return data_; }
    int fd() const { return fd_.get(); }

private:
    UniqueFd fd_;
    std::size_t bytes_;
    void* data_ = nullptr;
};

/// An image that nobody else sees.
class OwnImage {
public:
    OwnImage(const gpu::VulkanContext& context, dmabroker::Size extent) : context_(context)
    {
        VkImageCreateInfo info{VK_STRUCTURE_TYPE_IMAGE_CREATE_INFO};
        info.imageType = VK_IMAGE_TYPE_2D;
        info.format = VK_FORMAT_R8G8B8A8_UNORM;
        info.extent = {extent.width, extent.height, 1};
        info.mipLevels = info.arrayLayers = 1;
        info.samples = VK_SAMPLE_COUNT_1_BIT;
        info.usage = VK_IMAGE_USAGE_TRANSFER_SRC_BIT | VK_IMAGE_USAGE_TRANSFER_DST_BIT | VK_IMAGE_USAGE_SAMPLED_BIT |
                     VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT;
        check(context.vk().CreateImage(context.handle(), &info, nullptr, &image_), "vkCreateImage");
        VkMemoryRequirements needed{};
        context.vk().GetImageMemoryRequirements(context.handle(), image_, &needed);
        const VkMemoryAllocateInfo allocation{VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO, nullptr, needed.size,
                                              context.memory_type(needed.memoryTypeBits, VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT)};
        check(context.vk().AllocateMemory(context.handle(), &allocation, nullptr, &memory_), "vkAllocateMemory");
        check(context.vk().BindImageMemory(context.handle(), image_, memory_, 0), "vkBindImageMemory");
    }
    OwnImage(const OwnImage&) = delete;
    OwnImage& operator=(const OwnImage&) = delete;
    ~OwnImage()
    {
        context_.vk().DestroyImage(context_.handle(), image_, nullptr);
        context_.vk().FreeMemory(context_.handle(), memory_, nullptr);
    }
    VkImage handle() const { return image_; }

private:
    const gpu::VulkanContext& context_;
    VkImage image_ = VK_NULL_HANDLE;
    VkDeviceMemory memory_ = VK_NULL_HANDLE;
};

/// For the CPU to read: cached, if the device has that.
std::unique_ptr<gpu::HostBuffer> readable(const gpu::VulkanContext& context, std::size_t bytes)
{
    try {
        return std::make_unique<gpu::HostBuffer>(context, bytes, VK_BUFFER_USAGE_TRANSFER_DST_BIT,
                                                 VK_MEMORY_PROPERTY_HOST_CACHED_BIT);
    } catch (const std::exception&) {
        return std::make_unique<gpu::HostBuffer>(context, bytes, VK_BUFFER_USAGE_TRANSFER_DST_BIT);
    }
}

VkBufferImageCopy region(std::uint32_t width, std::uint32_t height)
{
    VkBufferImageCopy copy{};
    copy.imageSubresource = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 0, 1};
    copy.imageExtent = {width, height, 1};
    return copy;
}

constexpr gpu::ImageState nothing{VK_IMAGE_LAYOUT_UNDEFINED, 0, VK_QUEUE_FAMILY_IGNORED};
gpu::ImageState local(VkImageLayout layout, VkAccessFlags access) { return {layout, access, VK_QUEUE_FAMILY_IGNORED}; }
const gpu::ImageState drawn = local(VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, VK_ACCESS_TRANSFER_WRITE_BIT);
const gpu::ImageState read = local(VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL, VK_ACCESS_TRANSFER_READ_BIT);

void record_clear(const gpu::VulkanContext& context, VkCommandBuffer commands, VkImage image, unsigned frame)
{
    const float value = static_cast<float>(shade(frame)) / 255.0F;
    const VkClearColorValue colour{{value, value, value, value}};
    const VkImageSubresourceRange all{VK_IMAGE_ASPECT_COLOR_BIT, 0, 1, 0, 1};
    context.vk().CmdClearColorImage(commands, image, VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, &colour, 1, &all);
}

/// What the CPU writes is there for the GPU by submission; what the GPU writes, the CPU sees after this.
void record_host_barrier(const gpu::VulkanContext& context, VkCommandBuffer commands)
{
    const VkMemoryBarrier barrier{VK_STRUCTURE_TYPE_MEMORY_BARRIER, nullptr, VK_ACCESS_TRANSFER_WRITE_BIT,
                                  VK_ACCESS_HOST_READ_BIT};
    context.vk().CmdPipelineBarrier(commands, VK_PIPELINE_STAGE_TRANSFER_BIT, VK_PIPELINE_STAGE_HOST_BIT, 0, 1, &barrier, 0,
                                    nullptr, 0, nullptr);
}

using Shades = std::vector<std::unique_ptr<Commands>>;

template <class Record> Shades for_each_shade(const VulkanEnd& end, Record record)
{
    Shades out;
    for (unsigned i = 0; i < shades; ++i)
        out.push_back(std::make_unique<Commands>(end, [&](VkCommandBuffer commands) { record(commands, i); }));
    return out;
}

/// Calls it for every frame of the run, in the order that both processes know.
template <class Frame> void for_each_frame(Frame frame)
{
    unsigned number = 0;
    for (unsigned round = 0; round < rounds; ++round)
        for (const bool zero_copy : {true, false})
            for (unsigned i = 0; i < frames + warm_up; ++i) frame(number++, zero_copy, round, i >= warm_up);
}

std::uint64_t median(std::vector<std::uint64_t> values)
{
    std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2), values.end());
    return values[values.size() / 2];
}

// --- the producer ----------------------------------------------------------------------------

class Producer {
public:
    Producer(Link& link, const Setup& setup, dmabroker::Size extent)
        : link_(link),
          end_(setup.device),
          client_(connect(setup, "ratio producer")),
          image_(allocate(client_, end_, extent)),
          images_(dmabroker::vulkan::import(image_, context().device())),
          own_(context(), extent),
          staging_(readable(context(), bytes_of(extent))),
          memory_(bytes_of(extent)),
          bytes_(bytes_of(extent))
    {
        if (end_.shares(Kind::binary)) semaphore_.emplace(Semaphore::exportable(end_, Kind::binary));
        drawing_ = for_each_shade(end_, [&](VkCommandBuffer c, unsigned i) { record_shared(c, i); });
        copying_ = for_each_shade(end_, [&](VkCommandBuffer c, unsigned i) { record_copy(c, i, extent); });
    }

    void run()
    {
        const UniqueFd semaphore = semaphore_ ? semaphore_->export_fd() : UniqueFd();
        link_.send(image_.token(dmabroker::Rights::read), semaphore.get());
        link_.send("memory", memory_.fd());
        link_.expect("ready");
        for_each_frame([&](unsigned number, bool zero_copy, unsigned, bool) {
            const std::uint64_t begin = now_ns();
            zero_copy ? share(number) : copy(number);
            link_.send(std::to_string(begin));
            link_.expect("next");
        });
    }

private:
    const gpu::VulkanContext& context() const { return end_.context(); }

    void record_shared(VkCommandBuffer commands, unsigned frame)
    {
        const auto mine = context().mine(drawn.layout, drawn.access);
        context().barrier(commands, images_.image(), context().external(images_), mine);
        record_clear(context(), commands, images_.image(), frame);
        context().barrier(commands, images_.image(), mine, context().external(images_));
    }
    void record_copy(VkCommandBuffer commands, unsigned frame, dmabroker::Size extent)
    {
        context().barrier(commands, own_.handle(), nothing, drawn);
        record_clear(context(), commands, own_.handle(), frame);
        context().barrier(commands, own_.handle(), drawn, read);
        const VkBufferImageCopy all = region(extent.width, extent.height);
        context().vk().CmdCopyImageToBuffer(commands, own_.handle(), read.layout, staging_->buffer(), 1, &all);
        record_host_barrier(context(), commands);
    }
    void share(unsigned number)
    {
        Commands& commands = *drawing_[number % shades];
        commands.submit({}, {semaphore_ ? semaphore_->handle() : VK_NULL_HANDLE, 0});
        if (!semaphore_) commands.wait();
    }
    void copy(unsigned number)
    {
        Commands& commands = *copying_[number % shades];
        commands.submit();
        commands.wait();
        std::memcpy(memory_.data(), staging_->data(), bytes_);
    }

    Link& link_;
    VulkanEnd end_;
    dmabroker::Client client_;
    dmabroker::Image image_;
    dmabroker::vulkan::Images images_;
    OwnImage own_;
    std::unique_ptr<gpu::HostBuffer> staging_;
    SharedMemory memory_;
    std::size_t bytes_;
    std::optional<Semaphore> semaphore_;
    Shades drawing_, copying_;
};

// --- the consumer ----------------------------------------------------------------------------

/// Nanoseconds of each frame.
struct Times {
    std::vector<std::uint64_t> zero_copy, shared_memory;
    std::vector<double> ratios; ///< of the medians of each round
};

class Consumer {
public:
    Consumer(Link& link, const Setup& setup, dmabroker::Size extent)
        : link_(link),
          end_(setup.device),
          opened_(open_shared(link, setup, "ratio consumer", dmabroker::Rights::read)),
          images_(dmabroker::vulkan::import(opened_.image, context().device())),
          own_(context(), extent),
          staging_(context(), bytes_of(extent), VK_BUFFER_USAGE_TRANSFER_SRC_BIT),
          row_(readable(context(), std::size_t{extent.width} * 4)),
          memory_(take_memory(link), bytes_of(extent)),
          extent_(extent),
          reading_(end_, [&](VkCommandBuffer commands) { record_shared(commands); }),
          uploading_(end_, [&](VkCommandBuffer commands) { record_upload(commands); })
    {
        if (opened_.semaphore) semaphore_.emplace(Semaphore::imported(end_, Kind::binary, std::move(opened_.semaphore)));
    }

    Times run()
    {
        Times times;
        std::vector<std::uint64_t> round_zero, round_shared;
        link_.send("ready");
        for_each_frame([&](unsigned number, bool zero_copy, unsigned, bool counts) {
            const std::uint64_t begin = std::stoull(link_.receive());
            zero_copy ? look() : upload();
            check_row(number);
            const std::uint64_t took = now_ns() - begin;
            if (counts) (zero_copy ? round_zero : round_shared).push_back(took);
            if (!zero_copy && round_shared.size() == frames) finish_round(times, round_zero, round_shared);
            link_.send("next");
        });
        return times;
    }
    std::string note() const
    {
        std::string out = context().name();
        if (!semaphore_) out += ", no shared semaphores: the producer waited for its GPU";
        if (context().software()) out += ", a software driver: no measure of a GPU";
        return out;
    }

private:
    const gpu::VulkanContext& context() const { return end_.context(); }
    static UniqueFd take_memory(Link& link)
    {
        UniqueFd fd;
        link.expect("memory", &fd);
        return fd;
    }
    static void finish_round(Times& times, std::vector<std::uint64_t>& zero, std::vector<std::uint64_t>& shared)
    {
        times.ratios.push_back(static_cast<double>(median(shared)) / static_cast<double>(median(zero)));
        times.zero_copy.insert(times.zero_copy.end(), zero.begin(), zero.end());
        times.shared_memory.insert(times.shared_memory.end(), shared.begin(), shared.end());
        zero.clear();
        shared.clear();
    }

    void record_shared(VkCommandBuffer commands)
    {
        end_.record_read(commands, images_, row_->buffer(), {extent_.width, 1});
        record_host_barrier(context(), commands);
    }
    void record_upload(VkCommandBuffer commands)
    {
        const VkBufferImageCopy all = region(extent_.width, extent_.height), first = region(extent_.width, 1);
        context().barrier(commands, own_.handle(), nothing, drawn);
        context().vk().CmdCopyBufferToImage(commands, staging_.buffer(), own_.handle(), drawn.layout, 1, &all);
        context().barrier(commands, own_.handle(), drawn, read);
        context().vk().CmdCopyImageToBuffer(commands, own_.handle(), read.layout, row_->buffer(), 1, &first);
        record_host_barrier(context(), commands);
    }
    void look()
    {
        reading_.submit({semaphore_ ? semaphore_->handle() : VK_NULL_HANDLE, 0});
        reading_.wait();
    }
    void upload()
    {
        std::memcpy(staging_.data(), memory_.data(), bytes_of(extent_));
        uploading_.submit();
        uploading_.wait();
    }
    void check_row(unsigned number) const
    {
        const std::uint8_t* begin = row_->data();
        if (std::any_of(begin, begin + std::size_t{extent_.width} * 4,
                        [&](std::uint8_t value) { return value != shade(number); }))
            throw std::runtime_error(fmt::format("frame {} is not the one that was drawn", number));
    }

    Link& link_;
    VulkanEnd end_;
    Opened opened_;
    dmabroker::vulkan::Images images_;
    OwnImage own_;
    gpu::HostBuffer staging_;
    std::unique_ptr<gpu::HostBuffer> row_;
    SharedMemory memory_;
    dmabroker::Size extent_;
    Commands reading_, uploading_;
    std::optional<Semaphore> semaphore_;
};

} // namespace

std::string ratio_producer(Link& link, const Setup& setup, dmabroker::Size extent)
{
    Producer(link, setup, extent).run();
    return "";
}

std::string ratio_consumer(Link& link, const Setup& setup, dmabroker::Size extent)
{
    Consumer consumer(link, setup, extent);
    const Times times = consumer.run();
    const double zero = static_cast<double>(median(times.zero_copy)) / 1e3;
    const double shared = static_cast<double>(median(times.shared_memory)) / 1e3;
    const auto [least, most] = std::minmax_element(times.ratios.begin(), times.ratios.end());
    return fmt::format("zero-copy {:.0f} us, shared memory {:.0f} us, ratio {:.1f} (rounds {:.1f} to {:.1f}; {})", zero, shared,
                       shared / zero, *least, *most, consumer.note());
}

} // namespace dmb::paths

// SPDX-License-Identifier: MIT
// VkImages, copied byte for byte.
#include "tests/drm/matrix/vulkan_copies.hpp"
#include "tests/drm/matrix/way.hpp"

namespace dmb::matrix {
namespace {

class Images {
public:
    Images(const dmabroker_image* image, const dmabroker_vulkan& vulkan, std::uint32_t flags) : vulkan_(vulkan)
    {
        result_ = dmabroker_vulkan_import(image, &vulkan, 0, flags, &images, &error);
    }
    Images(const Images&) = delete;
    Images& operator=(const Images&) = delete;
    ~Images() { dmabroker_vulkan_release(&vulkan_, &images); }
    bool ok() const { return result_ == 0; }

    dmabroker_vulkan_images images{.struct_size = sizeof(dmabroker_vulkan_images)};
    dmabroker_error error{};

private:
    const dmabroker_vulkan& vulkan_;
    int result_;
};

class VulkanWay : public Way {
public:
    Outcome verify(const dmabroker_image* image, const Pixels& expected) override
    {
        const Images imported(image, context_.handles(), 0);
        if (!imported.ok()) return declined(imported.error);
        const Pixels actual = context_.read(imported.images, expected.format, expected.size);
        const std::string wrong = difference(expected, actual);
        if (!wrong.empty()) return failed("Vulkan reads " + wrong);
        return passed(imported.images.per_plane ? "one image per plane" : "");
    }

    Outcome fill(const dmabroker_image* image, const Pixels& pixels) override
    {
        const Images imported(image, context_.handles(), DMABROKER_IMPORT_WRITE);
        if (!imported.ok()) return declined(imported.error);
        if (!(imported.images.usage & VK_IMAGE_USAGE_TRANSFER_DST_BIT))
            return {Outcome::refused, "the driver cannot copy into this format"};
        context_.write(imported.images, pixels);
        return passed();
    }

private:
    VulkanCopies context_;
};

} // namespace

std::unique_ptr<Way> make_vulkan_way() { return std::make_unique<VulkanWay>(); }

} // namespace dmb::matrix

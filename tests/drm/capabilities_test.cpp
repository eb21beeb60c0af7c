// SPDX-License-Identifier: MIT
// Tables read from the drivers that are here, and whether what they claim is true: every row that system memory can
// serve is imported.
#include "libclient/headless/vulkan_context.hpp"
#include "proto/image/format_table.hpp"
#include "tests/drm/local_image.hpp"
#include "tests/drm/matrix/egl_context.hpp"
#include "tests/support/fixture.hpp"

#include <cstdlib>
#include <dlfcn.h>
#include <dmabroker/egl.hpp>
#include <dmabroker/gl.hpp>
#include <dmabroker/vulkan.hpp>
#include <drm.h>
#include <fcntl.h>
#include <filesystem>
#include <sys/ioctl.h>
#include <sys/stat.h>

namespace dmb::test {
namespace {

using dmabroker::Capabilities;

dmabroker_proc gbm_proc(const char* name)
{
    static void* const library = ::dlopen("libgbm.so.1", RTLD_NOW | RTLD_LOCAL);
    return library ? reinterpret_cast<dmabroker_proc>(::dlsym(library, name)) : nullptr;
}

/// Drivers open descriptors for good: they start before descriptors are counted.
class DriverCapabilities : public FdTest {
protected:
    static void SetUpTestSuite()
    {
        ::setenv("MESA_SHADER_CACHE_DISABLE", "true", 1);
        std::error_code no_folder;
        for (const auto& file : std::filesystem::directory_iterator("/usr/share/vulkan/icd.d", no_folder))
            if (file.path().filename().string().starts_with("lvp_icd")) ::setenv("VK_ICD_FILENAMES", file.path().c_str(), 0);
        try {
            display = std::make_unique<gpu::EglContext>(matrix::make_context(""));
        } catch (const std::exception& e) {
            no_egl = e.what();
        }
        try {
            vulkan = std::make_unique<gpu::VulkanContext>(0);
        } catch (const std::exception& e) {
            no_vulkan = e.what();
        }
        gbm_proc("gbm_create_device");
    }
    static void TearDownTestSuite()
    {
        vulkan.reset();
        display.reset();
    }

    static Capabilities egl_table() { return dmabroker::egl::capabilities(display->display()); }
    static Capabilities vulkan_table()
    {
        auto handles = vulkan->device();
        handles.device = VK_NULL_HANDLE;
        return dmabroker::vulkan::capabilities(handles);
    }
    /// What holds for every table, whoever it is from.
    static void check(const Capabilities& caps, std::uint32_t api)
    {
        const dmabroker_capability_table& table = caps.table();
        EXPECT_EQ(table.api, api);
        EXPECT_NE(table.driver, nullptr);
        EXPECT_EQ(Capabilities::from_json(caps.to_json()).digest(), caps.digest());
        if (table.node) {
            struct stat status{};
            EXPECT_EQ(::stat(table.node, &status), 0) << table.node;
            EXPECT_EQ(status.st_rdev, table.render_node);
        }
        std::printf("%s: %zu rows, driver %s, version %s, node %s, pci %x%s\n", caps.digest().substr(0, 8).c_str(), caps.size(),
                    table.driver, table.version ? table.version : "-", table.node ? table.node : "-", table.pci,
                    table.software ? ", software" : "");
    }
    static const dmabroker_capability* find(const Capabilities& caps, const char (&format)[5], std::uint64_t modifier,
                                            std::uint32_t kind = DMABROKER_DMA_BUF)
    {
        for (const dmabroker_capability& row : caps)
            if (row.format == fourcc(format).value && row.modifier == modifier && row.kind == kind) return &row;
        return nullptr;
    }
    /// Of the rows that a memfd serves; returns how many there were.
    template <class Import> static int import_all(const Capabilities& caps, Import import)
    {
        int tried = 0;
        for (const dmabroker_capability& row : caps) {
            if (row.kind != DMABROKER_MEMFD || !find_format({row.format})) continue;
            const bool buffer = row.format == buffer_format.value;
            const LocalImage image({row.format}, buffer ? Extent{512 * 32, 1} : Extent{512, 32});
            dmabroker_error error{};
            EXPECT_EQ(import(image.get(), &error), 0) << find_format({row.format})->name << ": " << error.text;
            ++tried;
        }
        return tried;
    }

    static std::unique_ptr<gpu::EglContext> display;
    static std::unique_ptr<gpu::VulkanContext> vulkan;
    static std::string no_egl, no_vulkan;
};
std::unique_ptr<gpu::EglContext> DriverCapabilities::display;
std::unique_ptr<gpu::VulkanContext> DriverCapabilities::vulkan;
std::string DriverCapabilities::no_egl, DriverCapabilities::no_vulkan;

TEST_F(DriverCapabilities, egl_lists_formats_with_the_implicit_layout_apart)
{
    if (!display) GTEST_SKIP() << no_egl;
    const Capabilities caps = egl_table();
    check(caps, DMABROKER_API_EGL);
    ASSERT_TRUE(find(caps, "XR24", DMABROKER_MODIFIER_INVALID));
    EXPECT_EQ(find(caps, "XR24", DMABROKER_MODIFIER_INVALID)->usage,
              std::uint32_t{DMABROKER_USAGE_SAMPLE | DMABROKER_USAGE_RENDER});
    if (caps.table().software) {
        EXPECT_TRUE(find(caps, "XR24", DMABROKER_MODIFIER_LINEAR, DMABROKER_MEMFD));
    }
}

TEST_F(DriverCapabilities, egl_imports_every_row_that_a_memfd_serves)
{
    if (!display) GTEST_SKIP() << no_egl;
    const Capabilities caps = egl_table();
    const dmabroker_egl egl = display->display().native();
    const int tried = import_all(caps, [&](const dmabroker_image* image, dmabroker_error* error) {
        dmabroker_egl_images images{};
        images.struct_size = sizeof images;
        const int result = dmabroker_egl_import(image, &egl, 0, &images, error);
        dmabroker_egl_release(&egl, &images);
        return result;
    });
    if (!caps.table().software) GTEST_SKIP() << "this EGL display is not a software one: no memfd is for it";
    EXPECT_GE(tried, 25);
}

TEST_F(DriverCapabilities, vulkan_lists_what_the_driver_confirms)
{
    if (!vulkan) GTEST_SKIP() << no_vulkan;
    const Capabilities caps = vulkan_table();
    check(caps, DMABROKER_API_VULKAN);
    const dmabroker_capability* opaque = find(caps, "AB24", DMABROKER_MODIFIER_INVALID, DMABROKER_OPAQUE);
    ASSERT_TRUE(opaque);
    EXPECT_TRUE(opaque->usage & DMABROKER_USAGE_SAMPLE);
    EXPECT_GE(opaque->max_width, 4096u);
    EXPECT_FALSE(find(caps, "AB24", DMABROKER_MODIFIER_INVALID)) << "Vulkan cannot import an implicit layout";
}

TEST_F(DriverCapabilities, vulkan_imports_every_row_that_a_memfd_serves)
{
    if (!vulkan) GTEST_SKIP() << no_vulkan;
    const Capabilities caps = vulkan_table();
    const dmabroker_vulkan handles = vulkan->device().native();
    const int tried = import_all(caps, [&](const dmabroker_image* image, dmabroker_error* error) {
        if (dmabroker_image_get_info(image)->format == DMABROKER_FORMAT_BUFFER) {
            dmabroker_vulkan_buffer buffer{};
            buffer.struct_size = sizeof buffer;
            const int result = dmabroker_vulkan_import_buffer(image, &handles, 0, 0, &buffer, error);
            dmabroker_vulkan_release_buffer(&handles, &buffer);
            return result;
        }
        dmabroker_vulkan_images images{};
        images.struct_size = sizeof images;
        const int result = dmabroker_vulkan_import(image, &handles, 0, 0, &images, error);
        dmabroker_vulkan_release(&handles, &images);
        return result;
    });
    if (!caps.table().software) GTEST_SKIP() << "this Vulkan device is not a software one: no memfd is for it";
    EXPECT_GE(tried, 15);
}

TEST_F(DriverCapabilities, gl_memory_objects_are_of_the_device_that_vulkan_names)
{
    if (!display) GTEST_SKIP() << no_egl;
    std::optional<Capabilities> gl;
    try {
        gl = dmabroker::gl::capabilities(display->display().get_proc);
    } catch (const dmabroker::Error& error) {
        EXPECT_EQ(error.code(), DMABROKER_IMPORT_REFUSED);
        GTEST_SKIP() << error.what();
    }
    check(*gl, DMABROKER_API_GL_MEMORY);
    ASSERT_TRUE(find(*gl, "AB24", DMABROKER_MODIFIER_INVALID, DMABROKER_OPAQUE));
    EXPECT_EQ(find(*gl, "AB24", DMABROKER_MODIFIER_INVALID, DMABROKER_OPAQUE)->usage,
              std::uint32_t{DMABROKER_USAGE_SAMPLE | DMABROKER_USAGE_RENDER});
    EXPECT_EQ(std::memcmp(gl->table().device_uuid, egl_table().table().device_uuid, 16), 0) << "one context, one device";
    if (!vulkan) GTEST_SKIP() << no_vulkan;
    if (!gl->table().software || !vulkan_table().table().software) GTEST_SKIP() << "two drivers";
    EXPECT_EQ(std::memcmp(gl->table().device_uuid, vulkan_table().table().device_uuid, 16), 0);
    EXPECT_EQ(std::memcmp(gl->table().driver_uuid, vulkan_table().table().driver_uuid, 16), 0);
}

TEST_F(DriverCapabilities, without_a_context_gl_is_refused)
{
    EXPECT_THROW(dmabroker::gl::capabilities([](const char*) { return dmabroker_proc(); }), dmabroker::Error);
}

std::vector<UniqueFd> open_nodes(const char* prefix)
{
    std::vector<UniqueFd> nodes;
    std::error_code no_folder;
    for (const auto& entry : std::filesystem::directory_iterator("/dev/dri", no_folder))
        if (entry.path().filename().string().starts_with(prefix))
            nodes.push_back(UniqueFd::adopt(::open(entry.path().c_str(), O_RDWR | O_CLOEXEC)));
    std::erase_if(nodes, [](const UniqueFd& fd) { return !fd; });
    return nodes;
}

TEST_F(DriverCapabilities, a_gbm_device_is_asked_about_the_implicit_layout_and_linear)
{
    const auto create = reinterpret_cast<void* (*)(int)>(gbm_proc("gbm_create_device"));
    const auto destroy = reinterpret_cast<void (*)(void*)>(gbm_proc("gbm_device_destroy"));
    if (!create || !destroy) GTEST_SKIP() << "no libgbm.so.1";
    int read = 0;
    for (const UniqueFd& node : open_nodes("card")) {
        void* device = create(node.get());
        if (!device) continue;
        const Capabilities caps = Capabilities::gbm(device, gbm_proc, {0x0200000000000001});
        destroy(device);
        check(caps, DMABROKER_API_GBM);
        EXPECT_TRUE(find(caps, "XR24", DMABROKER_MODIFIER_INVALID));
        EXPECT_NE(caps.table().node, nullptr);
        ++read;
    }
    if (!read) GTEST_SKIP() << "no DRM device that gbm takes";
}

TEST_F(DriverCapabilities, a_plane_of_a_display_lists_what_it_scans_out)
{
    std::vector<UniqueFd> nodes = open_nodes("card");
    if (nodes.empty()) GTEST_SKIP() << "no DRM device";
    int planes = 0;
    for (const UniqueFd& node : nodes) {
        drm_set_client_cap universal{DRM_CLIENT_CAP_UNIVERSAL_PLANES, 1};
        std::uint32_t ids[64] = {};
        drm_mode_get_plane_res list{reinterpret_cast<std::uintptr_t>(ids), 64};
        dmabroker_capabilities* none = nullptr;
        EXPECT_LT(dmabroker_kms_capabilities(node.get(), 0xffffff, &none, nullptr), 0) << "there is no such plane";
        if (::ioctl(node.get(), DRM_IOCTL_SET_CLIENT_CAP, &universal) != 0) continue;
        if (::ioctl(node.get(), DRM_IOCTL_MODE_GETPLANERESOURCES, &list) != 0) continue;
        for (std::uint32_t i = 0; i < std::min(list.count_planes, 64u); ++i, ++planes) {
            const Capabilities caps = Capabilities::kms(node.get(), ids[i]);
            check(caps, DMABROKER_API_KMS);
            EXPECT_GT(caps.size(), 0u);
            for (const dmabroker_capability& row : caps) {
                EXPECT_EQ(row.usage, std::uint32_t{DMABROKER_USAGE_SCANOUT});
                EXPECT_GE(row.max_width, 64u);
            }
        }
    }
    if (!planes) GTEST_SKIP() << "no DRM device with planes";
}

} // namespace
} // namespace dmb::test

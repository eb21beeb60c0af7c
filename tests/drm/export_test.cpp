// SPDX-License-Identifier: MIT
// Images that a client made, with the drivers that are here and the real broker: exported and registered in one call,
// opened by another client, and compared.
#include "tests/drm/local_image.hpp"
#include "tests/drm/matrix/vulkan_copies.hpp"
#include "tests/drm/matrix/way.hpp"
#include "tests/libclient/fake_broker.hpp"
#include "tests/support/broker_process.hpp"
#include "tests/support/fixture.hpp"

#include <cstdlib>
#include <cstring>
#include <dmabroker/egl.hpp>
#include <dmabroker/vulkan.hpp>
#include <EGL/egl.h>
#include <EGL/eglext.h>
#include <fcntl.h>
#include <filesystem>
#include <fmt/core.h>
#include <GLES3/gl3.h>
#include <grp.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vulkan/vulkan.h>

namespace dmb::test {
namespace {

using dmabroker::Client;
using dmabroker::Direction;
using dmabroker::Image;
using dmabroker::Rights;
using dmabroker::Usage;
using matrix::Outcome;
using matrix::Pixels;

constexpr Extent size{64, 48};
const FourCC ab24 = fourcc("AB24");

dmabroker_proc egl_proc(const char* name) { return reinterpret_cast<dmabroker_proc>(eglGetProcAddress(name)); }

class ExportTest : public FdTest {
protected:
    static void use_lavapipe()
    {
        ::setenv("MESA_SHADER_CACHE_DISABLE", "true", 1);
        std::error_code no_folder;
        for (const auto& file : std::filesystem::directory_iterator("/usr/share/vulkan/icd.d", no_folder))
            if (file.path().filename().string().starts_with("lvp_icd")) ::setenv("VK_ICD_FILENAMES", file.path().c_str(), 0);
    }
    Client connect() const { return Client::connect({.remote = broker_.socket()}); }
    Image open(Image& image, Usage usage)
    {
        return other_.open(image.token(Rights::read | Rights::write), Rights::read | Rights::write, usage);
    }
    /// Through an importer, as another client.
    void expect_pixels(Image& image, matrix::Way& importer, const Pixels& expected, const char* what)
    {
        const Image opened = open(image, Usage::sample | Usage::render);
        const Outcome seen = importer.verify(opened.native(), expected);
        EXPECT_EQ(seen.kind, Outcome::pass) << what << ": " << seen.text;
    }

    BrokerProcess broker_;
    Client client_ = connect(), other_ = connect();
};

// ---- OpenGL ------------------------------------------------------------------------------------------

/// Drivers open descriptors for good: each display is opened once, before descriptors are counted.
struct Display {
    std::string node;
    std::unique_ptr<matrix::Way> way;
    EGLDisplay display = EGL_NO_DISPLAY;
    EGLContext context = EGL_NO_CONTEXT;
    std::string problem;

    void make_current() const { eglMakeCurrent(display, EGL_NO_SURFACE, EGL_NO_SURFACE, context); }
    dmabroker_egl egl() const
    {
        struct stat status{};
        const bool found = !node.empty() && ::stat(node.c_str(), &status) == 0;
        return {sizeof(dmabroker_egl), display, egl_proc, found ? status.st_rdev : 0};
    }
};

class GlExport : public ExportTest {
protected:
    static void SetUpTestSuite()
    {
        use_lavapipe();
        add("");
        std::error_code no_folder;
        for (const auto& entry : std::filesystem::directory_iterator("/dev/dri", no_folder))
            if (entry.path().filename().string().starts_with("card")) add(entry.path().string());
    }
    static void TearDownTestSuite() { displays.clear(); }
    static void add(const std::string& node)
    {
        Display made{node};
        try {
            made.way = matrix::make_egl_way(node);
            made.display = eglGetCurrentDisplay();
            made.context = eglGetCurrentContext();
            settle(made);
        } catch (const std::exception& e) {
            made.problem = e.what();
        }
        displays.push_back(std::move(made));
    }

    /// Mesa keeps what was sampled last until it samples something else: so this, before and after.
    static void settle(const Display& display)
    {
        const LocalImage image(ab24, size);
        display.way->verify(image.get(), matrix::make_pattern(ab24, size, 9));
        glFinish();
    }
    static GLuint make_texture(const Pixels& pixels)
    {
        GLuint texture = 0;
        glGenTextures(1, &texture);
        glBindTexture(GL_TEXTURE_2D, texture);
        glTexStorage2D(GL_TEXTURE_2D, 1, GL_RGBA8, size.width, size.height);
        glTexParameteri(GL_TEXTURE_2D, GL_TEXTURE_MIN_FILTER, GL_NEAREST);
        upload(texture, pixels);
        return texture;
    }
    static void upload(GLuint texture, const Pixels& pixels)
    {
        glBindTexture(GL_TEXTURE_2D, texture);
        glTexSubImage2D(GL_TEXTURE_2D, 0, 0, 0, size.width, size.height, GL_RGBA, GL_UNSIGNED_BYTE, pixels.planes[0].data());
        glFinish();
    }
    /// Null where this display does not export.
    dmabroker_image* export_from(const Display& display, const dmabroker_egl_source& source, std::string& refusal)
    {
        dmabroker_image* made = nullptr;
        dmabroker_error error{};
        dmabroker_export_options options = DMABROKER_EXPORT_OPTIONS_INIT;
        options.usage = DMABROKER_USAGE_SAMPLE | DMABROKER_USAGE_RENDER;
        options.label = "texture";
        const dmabroker_egl egl = display.egl();
        if (dmabroker_egl_export(client_.native(), &egl, &source, &options, &made, &error) == 0) return made;
        refusal = error.text;
        std::printf("%s: refused: %s\n", display.node.empty() ? "device" : display.node.c_str(), error.text);
        EXPECT_TRUE(error.code == DMABROKER_UNSUPPORTED || error.code == DMABROKER_IMPORT_FAILED ||
                    error.code == DMABROKER_BAD_DESCRIPTOR)
            << error.code << ' ' << error.text;
        return nullptr;
    }
    /// By everybody who can be expected to understand it.
    void compare(const Display& display, Image& image, const Pixels& expected)
    {
        const dmabroker_image_info& info = image.info();
        std::printf("%s: modifier %016llx, kind %u, stride %u\n", display.node.empty() ? "device" : display.node.c_str(),
                    static_cast<unsigned long long>(info.modifier), info.kind, info.planes[0].stride);
        const Image opened = open(image, Usage::sample | Usage::render);
        const Outcome seen = display.way->verify(opened.native(), expected);
        // Where GBM draws in software nobody can tell a display's own memory from memory on which it crashes.
        const bool own_only = seen.text.find("its own device did not allocate") != std::string::npos;
        EXPECT_TRUE(seen.kind == Outcome::pass || (own_only && !display.node.empty())) << display.node << seen.text;
        if (info.modifier == DMABROKER_MODIFIER_LINEAR) expect_pixels(image, *matrix::make_cpu_way(), expected, "the CPU");
    }
    void round_trip(const Display& display)
    {
        display.make_current();
        const Pixels first = matrix::make_pattern(ab24, size, 1), second = matrix::make_pattern(ab24, size, 2);
        const GLuint texture = make_texture(first);
        const dmabroker_egl_source source{sizeof source, nullptr, display.context, texture, size.width, size.height};
        if (dmabroker_image* made = export_from(display, source, refusal_)) {
            ++exported_;
            Image image(made);
            EXPECT_EQ(image.info().format, ab24.value);
            compare(display, image, first);
            upload(texture, second);
            compare(display, image, second);
        }
        glDeleteTextures(1, &texture);
        settle(display);
    }

    static std::vector<Display> displays;
    std::string refusal_ = "no EGL display";
    int exported_ = 0;
};
std::vector<Display> GlExport::displays;

TEST_F(GlExport, a_texture_is_seen_by_another_client_also_when_it_changes)
{
    for (const Display& display : displays) {
        if (display.problem.empty()) round_trip(display);
        else std::printf("%s: %s\n", display.node.c_str(), (refusal_ = display.problem).c_str());
    }
    if (!exported_) GTEST_SKIP() << refusal_;
}

TEST_F(GlExport, a_size_that_the_memory_cannot_hold_is_refused)
{
    int refused = 0;
    for (const Display& display : displays) {
        if (!display.problem.empty()) continue;
        display.make_current();
        const GLuint texture = make_texture(matrix::make_pattern(ab24, size, 1));
        const dmabroker_egl egl = display.egl();
        const dmabroker_egl_source source{sizeof source, nullptr, display.context, texture, size.width, 8192};
        dmabroker_image* made = nullptr;
        dmabroker_error error{};
        EXPECT_LT(dmabroker_egl_export(client_.native(), &egl, &source, nullptr, &made, &error), 0);
        if (error.code == DMABROKER_BAD_LAYOUT) ++refused;
        else refusal_ = error.text;
        glDeleteTextures(1, &texture);
    }
    if (!refused) GTEST_SKIP() << refusal_;
}

// ---- Vulkan ------------------------------------------------------------------------------------------

/// A VkImage with its memory, as an application would make it for sharing.
class VulkanSource {
public:
    VulkanSource(const dmabroker_vulkan& vulkan, VkImageTiling tiling, VkExternalMemoryHandleTypeFlagBits type)
        : vulkan_(vulkan)
    {
        const std::uint64_t linear = 0;
        VkImageDrmFormatModifierListCreateInfoEXT modifiers{VK_STRUCTURE_TYPE_IMAGE_DRM_FORMAT_MODIFIER_LIST_CREATE_INFO_EXT};
        modifiers.drmFormatModifierCount = 1;
        modifiers.pDrmFormatModifiers = &linear;
        VkExternalMemoryImageCreateInfo external{VK_STRUCTURE_TYPE_EXTERNAL_MEMORY_IMAGE_CREATE_INFO};
        external.handleTypes = static_cast<VkExternalMemoryHandleTypeFlags>(type);
        if (tiling == VK_IMAGE_TILING_DRM_FORMAT_MODIFIER_EXT) external.pNext = &modifiers;
        VkImageCreateInfo info{VK_STRUCTURE_TYPE_IMAGE_CREATE_INFO, &external};
        info.imageType = VK_IMAGE_TYPE_2D;
        info.format = VK_FORMAT_R8G8B8A8_UNORM;
        info.extent = {size.width, size.height, 1};
        info.mipLevels = info.arrayLayers = 1;
        info.samples = VK_SAMPLE_COUNT_1_BIT;
        info.tiling = tiling;
        info.usage = VK_IMAGE_USAGE_TRANSFER_SRC_BIT | VK_IMAGE_USAGE_TRANSFER_DST_BIT;
        failed_ = vkCreateImage(vulkan.device, &info, nullptr, &source.image);
        if (failed_ == VK_SUCCESS) allocate(type);
        source.handle_type = type;
        source.tiling = tiling;
        source.format = info.format;
        source.width = size.width;
        source.height = size.height;
    }
    VulkanSource(const VulkanSource&) = delete;
    VulkanSource& operator=(const VulkanSource&) = delete;
    ~VulkanSource()
    {
        vkDestroyImage(vulkan_.device, source.image, nullptr);
        vkFreeMemory(vulkan_.device, source.memory, nullptr);
    }
    VkResult failed() const { return failed_; }
    dmabroker_vulkan_images as_images() const
    {
        dmabroker_vulkan_images images{};
        images.struct_size = sizeof images;
        images.count = 1;
        images.images[0] = source.image;
        images.memory[0] = source.memory;
        images.formats[0] = source.format;
        images.extents[0] = {size.width, size.height};
        images.external_queue_family = VK_QUEUE_FAMILY_EXTERNAL;
        images.external_layout = VK_IMAGE_LAYOUT_GENERAL;
        return images;
    }
    dmabroker_vulkan_source source{.struct_size = sizeof(dmabroker_vulkan_source)};

private:
    void allocate(VkExternalMemoryHandleTypeFlagBits type)
    {
        VkMemoryRequirements needs;
        vkGetImageMemoryRequirements(vulkan_.device, source.image, &needs);
        VkMemoryDedicatedAllocateInfo dedicated{VK_STRUCTURE_TYPE_MEMORY_DEDICATED_ALLOCATE_INFO};
        dedicated.image = source.image;
        VkExportMemoryAllocateInfo exporting{VK_STRUCTURE_TYPE_EXPORT_MEMORY_ALLOCATE_INFO, &dedicated};
        exporting.handleTypes = static_cast<VkExternalMemoryHandleTypeFlags>(type);
        VkMemoryAllocateInfo info{VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO, &exporting};
        info.allocationSize = needs.size;
        info.memoryTypeIndex = static_cast<std::uint32_t>(__builtin_ctz(needs.memoryTypeBits));
        failed_ = vkAllocateMemory(vulkan_.device, &info, nullptr, &source.memory);
        if (failed_ == VK_SUCCESS) failed_ = vkBindImageMemory(vulkan_.device, source.image, source.memory, 0);
    }
    const dmabroker_vulkan& vulkan_;
    VkResult failed_ = VK_SUCCESS;
};

class VulkanExport : public ExportTest {
protected:
    static void SetUpTestSuite()
    {
        use_lavapipe();
        try {
            context = std::make_unique<matrix::VulkanCopies>();
            importer = matrix::make_vulkan_way();
        } catch (const std::exception& e) {
            problem = e.what();
        }
    }
    static void TearDownTestSuite()
    {
        importer.reset();
        context.reset();
    }
    void SetUp() override
    {
        if (!context) GTEST_SKIP() << problem;
    }
    int code(const dmabroker_vulkan_source& source, const char* part)
    {
        dmabroker_image* made = nullptr;
        dmabroker_error error{};
        if (dmabroker_vulkan_export(client_.native(), &context->handles(), &source, nullptr, &made, &error) == 0) {
            dmabroker_image_close(made);
            return 0;
        }
        EXPECT_NE(std::strstr(error.text, part), nullptr) << error.text;
        return error.code;
    }

    static std::unique_ptr<matrix::VulkanCopies> context;
    static std::unique_ptr<matrix::Way> importer;
    static std::string problem;
};
std::unique_ptr<matrix::VulkanCopies> VulkanExport::context;
std::unique_ptr<matrix::Way> VulkanExport::importer;
std::string VulkanExport::problem;

TEST_F(VulkanExport, an_image_is_seen_by_another_client)
{
    int exported = 0;
    for (const VkImageTiling tiling : {VK_IMAGE_TILING_DRM_FORMAT_MODIFIER_EXT, VK_IMAGE_TILING_LINEAR}) {
        if (tiling == VK_IMAGE_TILING_DRM_FORMAT_MODIFIER_EXT &&
            !vkGetDeviceProcAddr(context->handles().device, "vkGetImageDrmFormatModifierPropertiesEXT"))
            continue;
        const VulkanSource made(context->handles(), tiling, VK_EXTERNAL_MEMORY_HANDLE_TYPE_DMA_BUF_BIT_EXT);
        if (made.failed() != VK_SUCCESS) {
            problem = fmt::format("this Vulkan driver exports no dma-buf: VkResult {}", static_cast<int>(made.failed()));
            continue;
        }
        const Pixels pattern = matrix::make_pattern(ab24, size, static_cast<unsigned>(tiling));
        context->write(made.as_images(), pattern);
        dmabroker_image* result = nullptr;
        dmabroker_error error{};
        ASSERT_EQ(dmabroker_vulkan_export(client_.native(), &context->handles(), &made.source, nullptr, &result, &error), 0)
            << error.text;
        Image image(result);
        EXPECT_EQ(image.info().format, ab24.value);
        EXPECT_EQ(image.info().modifier, DMABROKER_MODIFIER_LINEAR);
        expect_pixels(image, *matrix::make_cpu_way(), pattern, "the CPU");
        expect_pixels(image, *importer, pattern, "Vulkan");
        ++exported;
    }
    if (!exported) GTEST_SKIP() << problem;
}

TEST_F(VulkanExport, what_nobody_else_could_read_is_refused_with_a_reason)
{
    const VulkanSource opaque(context->handles(), VK_IMAGE_TILING_OPTIMAL, VK_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD_BIT);
    ASSERT_EQ(opaque.failed(), VK_SUCCESS);
    EXPECT_EQ(code(opaque.source, "OPAQUE_FD"), DMABROKER_UNSUPPORTED);
    dmabroker_vulkan_source bad = opaque.source;
    bad.handle_type = VK_EXTERNAL_MEMORY_HANDLE_TYPE_DMA_BUF_BIT_EXT;
    EXPECT_EQ(code(bad, "OPTIMAL"), DMABROKER_UNSUPPORTED);
    bad.tiling = VK_IMAGE_TILING_LINEAR;
    bad.fourcc = fourcc("XR24").value;
    EXPECT_EQ(code(bad, "XR24"), DMABROKER_UNKNOWN_FORMAT);
    bad.fourcc = 0;
    bad.format = VK_FORMAT_D16_UNORM;
    EXPECT_EQ(code(bad, "VkFormat"), DMABROKER_UNKNOWN_FORMAT);
    bad.memory = VK_NULL_HANDLE;
    EXPECT_EQ(code(bad, "VkDeviceMemory"), DMABROKER_INVALID_ARGUMENT);
}

// ---- another process's descriptors -------------------------------------------------------------------

class ProcessExport : public ExportTest {
protected:
    /// A process that has this descriptor open and does nothing. Ended by the destructor.
    class Peer {
    public:
        explicit Peer(uid_t uid = 0)
        {
            int ready[2];
            EXPECT_EQ(::pipe2(ready, O_CLOEXEC), 0);
            pid_ = ::fork();
            if (pid_ == 0) {
                ::prctl(PR_SET_PDEATHSIG, SIGKILL);
                if (uid && ::setuid(uid) != 0) ::_exit(1);
                ::prctl(PR_SET_PDEATHSIG, SIGKILL); // a change of user forgets it
                if (::write(ready[1], "x", 1) != 1) ::_exit(1);
                for (;;) ::pause();
            }
            char x;
            EXPECT_EQ(::read(ready[0], &x, 1), 1);
            ::close(ready[0]);
            ::close(ready[1]);
        }
        Peer(const Peer&) = delete;
        Peer& operator=(const Peer&) = delete;
        ~Peer()
        {
            ::kill(pid_, SIGKILL);
            ::waitpid(pid_, nullptr, 0);
        }
        pid_t pid() const { return pid_; }

    private:
        pid_t pid_;
    };
    static dmabroker_image_info describe(const ImageDesc& desc)
    {
        dmabroker_image_info info{};
        info.struct_size = sizeof info;
        info.width = desc.size.width;
        info.height = desc.size.height;
        info.format = desc.format.value;
        info.kind = DMABROKER_MEMFD;
        info.plane_count = info.memory_count = 1;
        info.planes[0] = {0, desc.planes[0].stride, desc.planes[0].offset};
        info.memory_size[0] = desc.memories[0].size;
        return info;
    }
    static int code(Client& client, int pid, int remote, dmabroker_image** image = nullptr)
    {
        const dmabroker_image_info info = describe(linear_desc(size, ab24));
        dmabroker_image* made = nullptr;
        dmabroker_error error{};
        if (dmabroker_register_from_process(client.native(), &info, pid, &remote, "peer", 0, &made, &error) < 0) {
            EXPECT_STRNE(error.text, "");
            return error.code;
        }
        if (image) *image = made;
        else dmabroker_image_close(made);
        return 0;
    }
};

TEST_F(ProcessExport, memory_that_only_a_process_and_a_number_name_is_registered)
{
    const ImageDesc desc = linear_desc(size, ab24);
    UniqueFd memory = sealed_memfd(desc.memories[0].size);
    const int number = memory.get();
    const std::uint32_t pixel = 0x55667788;
    ASSERT_EQ(::pwrite(number, &pixel, 4, desc.planes[0].stride * 2 + 4), 4);
    const Peer peer;
    memory.reset(); // only the peer has it now
    dmabroker_image* made = nullptr;
    ASSERT_EQ(code(client_, peer.pid(), number, &made), 0);
    Image image(made);
    auto mapping = open(image, Usage::cpu_read).map(Direction::read);
    EXPECT_EQ(mapping.begin(Direction::read).row<std::uint32_t>(2)[1], pixel);
}

TEST_F(ProcessExport, what_cannot_be_taken_is_refused_with_the_reason)
{
    EXPECT_EQ(code(client_, 0x7ffffff, 3), DMABROKER_NOT_FOUND);
    EXPECT_EQ(code(client_, -1, 3), DMABROKER_NOT_FOUND);
    const Peer peer;
    EXPECT_EQ(code(client_, peer.pid(), 9999), DMABROKER_BAD_DESCRIPTOR);
    const UniqueFd null = UniqueFd::adopt(::open("/dev/null", O_RDWR | O_CLOEXEC));
    const Peer other;
    EXPECT_EQ(code(client_, other.pid(), null.get()), DMABROKER_BAD_DESCRIPTOR) << "it is no memory";
}

TEST_F(ProcessExport, a_process_that_may_not_trace_the_other_is_denied)
{
    if (::getuid() != 0) GTEST_SKIP() << "only root can become somebody else";
    const UniqueFd memory = sealed_memfd(linear_desc(size, ab24).memories[0].size);
    const Peer peer;
    const pid_t child = ::fork();
    if (child == 0) {
        Client client = connect(); // for itself, and before the rights are gone
        if (::setgroups(0, nullptr) != 0 || ::setgid(65534) != 0 || ::setuid(65534) != 0) ::_exit(2);
        ::_exit(code(client, peer.pid(), memory.get()) == DMABROKER_DENIED ? 0 : 1);
    }
    int status = -1;
    ::waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
}

} // namespace
} // namespace dmb::test

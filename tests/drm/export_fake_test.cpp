// SPDX-License-Identifier: MIT
// dmabroker_egl_export against a driver made of a few functions and the real broker: several planes, shared memory,
// and what a driver may export that nobody must be given. It needs no GPU.
#include "tests/libclient/fake_broker.hpp"
#include "tests/support/broker_process.hpp"
#include "tests/support/fixture.hpp"

#include <cstring>
#include <dmabroker/egl.hpp>
#include <EGL/egl.h>
#include <EGL/eglext.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <map>

namespace dmb::test {
namespace {

using dmabroker::Client;
using dmabroker::Direction;
using dmabroker::Image;
using dmabroker::Rights;

/// The driver: what it says of its only image.
struct FakeDriver {
    std::string extensions = "EGL_KHR_image_base EGL_EXT_image_dma_buf_import EGL_MESA_image_dma_buf_export "
                             "EGL_KHR_gl_texture_2D_image";
    FourCC format = fourcc("XR24");
    int planes = 1;
    std::vector<std::uint64_t> modifiers{0, 0, 0, 0};
    std::vector<int> fds; ///< duplicated at each export; -1 as it is
    std::vector<EGLint> strides, offsets;
    int alive = 0; ///< EGLImages
};
FakeDriver* driver;

EGLint get_error() { return EGL_BAD_MATCH; }
const char* query_string(EGLDisplay display, EGLint) { return display ? driver->extensions.c_str() : ""; }
EGLImage create_image(EGLDisplay, EGLContext context, EGLenum target, EGLClientBuffer, const EGLint*)
{
    if (!context || target != EGL_GL_TEXTURE_2D_KHR) return EGL_NO_IMAGE;
    ++driver->alive;
    return driver;
}
EGLBoolean destroy_image(EGLDisplay, EGLImage)
{
    --driver->alive;
    return EGL_TRUE;
}
EGLBoolean query_export(EGLDisplay, EGLImage, int* format, int* planes, EGLuint64KHR* modifiers)
{
    *format = static_cast<int>(driver->format.value);
    *planes = driver->planes;
    for (int i = 0; modifiers && i < driver->planes; ++i) modifiers[i] = driver->modifiers[static_cast<std::size_t>(i)];
    return EGL_TRUE;
}
EGLBoolean export_image(EGLDisplay, EGLImage, int* fds, EGLint* strides, EGLint* offsets)
{
    if (driver->fds.empty()) return EGL_FALSE;
    for (std::size_t i = 0; i < driver->fds.size(); ++i) {
        fds[i] = driver->fds[i] < 0 ? -1 : ::fcntl(driver->fds[i], F_DUPFD_CLOEXEC, 0);
        strides[i] = driver->strides[i];
        offsets[i] = driver->offsets[i];
    }
    return EGL_TRUE;
}
dmabroker_proc get_proc(const char* name)
{
    const std::map<std::string_view, dmabroker_proc> functions{
        {"eglGetError", reinterpret_cast<dmabroker_proc>(get_error)},
        {"eglQueryString", reinterpret_cast<dmabroker_proc>(query_string)},
        {"eglCreateImageKHR", reinterpret_cast<dmabroker_proc>(create_image)},
        {"eglDestroyImageKHR", reinterpret_cast<dmabroker_proc>(destroy_image)},
        {"eglExportDMABUFImageQueryMESA", reinterpret_cast<dmabroker_proc>(query_export)},
        {"eglExportDMABUFImageMESA", reinterpret_cast<dmabroker_proc>(export_image)},
    };
    const auto found = functions.find(name);
    return found == functions.end() ? nullptr : found->second;
}

class EglExport : public FdTest {
protected:
    EglExport() { driver = &driver_; }
    ~EglExport() override { EXPECT_EQ(driver_.alive, 0) << "an EGLImage was not destroyed"; }

    void serve(const std::vector<int>& fds, const std::vector<EGLint>& strides, const std::vector<EGLint>& offsets)
    {
        driver_.fds = fds;
        driver_.strides = strides;
        driver_.offsets = offsets;
        driver_.planes = static_cast<int>(fds.size());
    }
    static dmabroker_egl_source texture() { return {sizeof(dmabroker_egl_source), nullptr, driver, 7, 64, 32}; }
    /// The code; `image` is left null then.
    int code(dmabroker_egl_source source, const char* part, dmabroker_image** image = nullptr)
    {
        dmabroker_image* made = nullptr;
        dmabroker_error error{};
        const dmabroker_egl egl{sizeof egl, &driver_, get_proc, 0};
        if (dmabroker_egl_export(client_.native(), &egl, &source, nullptr, &made, &error) == 0) {
            if (image) *image = made;
            else dmabroker_image_close(made);
            return 0;
        }
        EXPECT_NE(std::strstr(error.text, part), nullptr) << error.text;
        return error.code;
    }
    Image take(dmabroker_egl_source source = texture())
    {
        dmabroker_image* image = nullptr;
        EXPECT_EQ(code(source, "", &image), 0);
        return Image(image);
    }

    FakeDriver driver_;
    BrokerProcess broker_;
    Client client_ = Client::connect({.remote = broker_.socket()});
    UniqueFd memory_ = sealed_memfd(64 * 1024), second_ = sealed_memfd(64 * 1024);
};

TEST_F(EglExport, a_texture_is_described_as_the_driver_says)
{
    serve({memory_.get()}, {512}, {4096});
    driver_.modifiers[0] = DMABROKER_MODIFIER_INVALID;
    const Image image = take();
    EXPECT_EQ(image.info().modifier, DMABROKER_MODIFIER_INVALID) << "the implicit layout must stay that";
    EXPECT_EQ(image.info().planes[0].stride, 512u);
    EXPECT_EQ(image.info().planes[0].offset, 4096u);
    EXPECT_EQ(image.info().backend, std::uint32_t{DMABROKER_BACKEND_CLIENT});
    EXPECT_EQ(image.info().width, 64u);
}

TEST_F(EglExport, an_egl_image_of_the_caller_stays_the_callers)
{
    serve({memory_.get()}, {256}, {0});
    take({sizeof(dmabroker_egl_source), driver, nullptr, 0, 64, 32});
    EXPECT_EQ(driver_.alive, 0) << "an image that was not ours was destroyed";
}

TEST_F(EglExport, planes_share_a_memory_whether_the_driver_says_so_or_repeats_it)
{
    driver_.format = fourcc("NV12");
    for (const int again : {-1, memory_.get()}) {
        serve({memory_.get(), again}, {64, 64}, {0, 4096});
        const Image image = take();
        EXPECT_EQ(image.info().memory_count, 1u);
        EXPECT_EQ(image.info().plane_count, 2u);
        EXPECT_EQ(image.info().planes[1].memory, 0u);
        EXPECT_EQ(image.info().planes[1].offset, 4096u);
    }
    serve({memory_.get(), second_.get()}, {64, 64}, {0, 0});
    const Image image = take();
    EXPECT_EQ(image.info().memory_count, 2u);
    EXPECT_EQ(image.info().planes[1].memory, 1u);
}

TEST_F(EglExport, what_it_drew_another_client_sees)
{
    serve({memory_.get()}, {256}, {0});
    Image image = take();
    const std::uint32_t pixel = 0x12345678;
    ASSERT_EQ(::pwrite(memory_.get(), &pixel, 4, 256 * 3 + 4 * 5), 4);
    Client other = Client::connect({.remote = broker_.socket()});
    auto mapping = other.open(image.token(Rights::read)).map(Direction::read);
    EXPECT_EQ(mapping.begin(Direction::read).row<std::uint32_t>(3)[5], pixel);
}

TEST_F(EglExport, what_nobody_must_be_given_is_refused_with_what_to_do)
{
    const UniqueFd read_only =
        UniqueFd::adopt(::open(fmt::format("/proc/self/fd/{}", memory_.get()).c_str(), O_RDONLY | O_CLOEXEC));
    const UniqueFd unsealed = sealed_memfd(64 * 1024, 0), null = UniqueFd::adopt(::open("/dev/null", O_RDWR | O_CLOEXEC));
    const auto bad = [&](int fd) {
        serve({fd}, {256}, {0});
        return texture();
    };
    EXPECT_EQ(code(bad(read_only.get()), "O_RDWR"), DMABROKER_BAD_DESCRIPTOR);
    EXPECT_EQ(code(bad(unsealed.get()), "F_SEAL"), DMABROKER_BAD_DESCRIPTOR);
    EXPECT_EQ(code(bad(null.get()), "neither"), DMABROKER_BAD_DESCRIPTOR);
    EXPECT_EQ(code(bad(-1), "no descriptor"), DMABROKER_BACKEND_FAILED);
}

TEST_F(EglExport, what_a_driver_must_not_say_is_refused)
{
    serve({memory_.get()}, {-256}, {0});
    EXPECT_EQ(code(texture(), "stride"), DMABROKER_BAD_LAYOUT);
    serve({memory_.get()}, {256}, {1 << 20});
    EXPECT_EQ(code(texture(), ""), DMABROKER_BAD_LAYOUT) << "past the end of its memory";
    driver_.format = fourcc("ZZZZ");
    EXPECT_EQ(code(texture(), "ZZZZ"), DMABROKER_UNKNOWN_FORMAT);
    driver_.format = fourcc("NV12");
    serve({memory_.get(), second_.get()}, {64, 64}, {0, 0});
    driver_.modifiers = {0, 1, 0, 0};
    EXPECT_EQ(code(texture(), "different modifiers"), DMABROKER_UNSUPPORTED);
    driver_.planes = 9;
    EXPECT_EQ(code(texture(), "9 planes"), DMABROKER_BAD_LAYOUT);
    driver_.fds.clear();
    driver_.planes = 1;
    EXPECT_EQ(code(texture(), "EGL_BAD_MATCH"), DMABROKER_IMPORT_FAILED);
}

TEST_F(EglExport, wrong_arguments_are_told_apart)
{
    serve({memory_.get()}, {256}, {0});
    dmabroker_egl_source both = texture(), neither = texture(), homeless = texture(), empty = texture(), old = texture();
    both.image = driver;
    neither.texture = 0;
    homeless.context = nullptr;
    empty.width = 0;
    old.struct_size = 4;
    EXPECT_EQ(code(both, "either"), DMABROKER_INVALID_ARGUMENT);
    EXPECT_EQ(code(neither, "either"), DMABROKER_INVALID_ARGUMENT);
    EXPECT_EQ(code(homeless, "EGLContext"), DMABROKER_INVALID_ARGUMENT);
    EXPECT_EQ(code(empty, ""), DMABROKER_BAD_SIZE);
    EXPECT_EQ(code(old, "struct_size"), DMABROKER_INVALID_ARGUMENT);
    driver_.extensions = "EGL_KHR_image_base EGL_EXT_image_dma_buf_import";
    EXPECT_EQ(code(texture(), "EGL_MESA_image_dma_buf_export"), DMABROKER_UNSUPPORTED);
}

} // namespace
} // namespace dmb::test

// SPDX-License-Identifier: MIT
// What the EGL importer asks of a driver, seen by a driver made of a few functions: it needs no GPU, and can
// be as wrong as we like.
#include "libclient/handle.hpp"
#include "tests/drm/local_image.hpp"
#include "tests/support/fixture.hpp"

#include <cstring>
#include <dmabroker/egl.hpp>
#include <dmabroker/gl.h>
#include <EGL/egl.h>
#include <EGL/eglext.h>
#include <fcntl.h>
#include <map>
#include <set>
#include <sys/sysmacros.h>
#include <tuple>

namespace dmb::test {
namespace {

/// The driver: what it claims, what it refuses, what it was asked.
struct FakeDriver {
    std::string display_extensions =
        "EGL_KHR_image_base EGL_MESA_query_driver EGL_EXT_image_dma_buf_import EGL_EXT_image_dma_buf_import_modifiers";
    std::string device_extensions = "EGL_MESA_device_software";
    const char* device_node = nullptr; ///< primary
    const char* name = "swrast";
    std::map<std::uint32_t, bool> formats; ///< those listed; true: external only
    std::vector<std::uint64_t> modifiers{0};
    std::set<std::uint32_t> refused; ///< listed, and still failing
    std::vector<std::map<EGLint, EGLint>> created;
    int alive = 0;
};
FakeDriver* driver;

EGLint get_error() { return EGL_BAD_ALLOC; }
const char* query_string(EGLDisplay display, EGLint)
{
    return display ? driver->display_extensions.c_str() : "EGL_EXT_client_extensions EGL_EXT_device_query";
}
EGLBoolean query_display(EGLDisplay, EGLint, EGLAttrib* device)
{
    *device = 1;
    return EGL_TRUE;
}
const char* query_device(EGLDeviceEXT, EGLint what)
{
    return what == EGL_EXTENSIONS ? driver->device_extensions.c_str() : driver->device_node;
}
const char* driver_name(EGLDisplay) { return driver->name; }
EGLBoolean query_formats(EGLDisplay, EGLint maximum, EGLint* out, EGLint* count)
{
    *count = static_cast<EGLint>(driver->formats.size());
    for (const auto& [format, external] : driver->formats)
        if (maximum-- > 0) *out++ = static_cast<EGLint>(format);
    return EGL_TRUE;
}
EGLBoolean query_modifiers(EGLDisplay, EGLint format, EGLint maximum, EGLuint64KHR* modifiers, EGLBoolean* external,
                           EGLint* count)
{
    *count = static_cast<EGLint>(driver->modifiers.size());
    for (EGLint i = 0; i < std::min(maximum, *count); ++i) {
        modifiers[i] = driver->modifiers[static_cast<std::size_t>(i)];
        if (driver->formats.at(static_cast<std::uint32_t>(format))) external[i] = EGL_TRUE; // as llvmpipe: never EGL_FALSE
    }
    return EGL_TRUE;
}
EGLImage create_image(EGLDisplay, EGLContext, EGLenum, EGLClientBuffer, const EGLint* attributes)
{
    std::map<EGLint, EGLint> seen;
    for (; *attributes != EGL_NONE; attributes += 2) seen[attributes[0]] = attributes[1];
    driver->created.push_back(seen);
    if (driver->refused.contains(static_cast<std::uint32_t>(seen[EGL_LINUX_DRM_FOURCC_EXT]))) return EGL_NO_IMAGE;
    ++driver->alive;
    return driver;
}
EGLBoolean destroy_image(EGLDisplay, EGLImage)
{
    --driver->alive;
    return EGL_TRUE;
}

dmabroker_proc get_proc(const char* name)
{
    const std::map<std::string_view, dmabroker_proc> functions{
        {"eglGetError", reinterpret_cast<dmabroker_proc>(get_error)},
        {"eglQueryString", reinterpret_cast<dmabroker_proc>(query_string)},
        {"eglQueryDisplayAttribEXT", reinterpret_cast<dmabroker_proc>(query_display)},
        {"eglQueryDeviceStringEXT", reinterpret_cast<dmabroker_proc>(query_device)},
        {"eglQueryDmaBufFormatsEXT", reinterpret_cast<dmabroker_proc>(query_formats)},
        {"eglQueryDmaBufModifiersEXT", reinterpret_cast<dmabroker_proc>(query_modifiers)},
        {"eglGetDisplayDriverName", reinterpret_cast<dmabroker_proc>(driver_name)},
        {"eglCreateImageKHR", reinterpret_cast<dmabroker_proc>(create_image)},
        {"eglDestroyImageKHR", reinterpret_cast<dmabroker_proc>(destroy_image)},
    };
    const auto found = functions.find(name);
    return found == functions.end() ? nullptr : found->second;
}

constexpr Extent size{61, 37};
const FourCC xr24 = fourcc("XR24"), nv12 = fourcc("NV12"), r8 = fourcc("R8  "), gr88 = fourcc("GR88");

class EglImport : public FdTest {
protected:
    EglImport()
    {
        driver = &driver_;
        for (const char* word : {"XR24", "R8  ", "GR88", "AB4H"}) driver_.formats[parse_fourcc(word)->value] = false;
        for (const char* word : {"NV12", "NV21", "YUYV"}) driver_.formats[parse_fourcc(word)->value] = true;
    }
    ~EglImport() override
    {
        dmabroker_egl_release(&egl_, &images_);
        EXPECT_EQ(driver_.alive, 0) << "an EGLImage was not destroyed";
    }

    int import(const LocalImage& image, std::uint32_t flags = 0)
    {
        dmabroker_egl_release(&egl_, &images_);
        driver_.created.clear();
        return dmabroker_egl_import(image.get(), &egl_, flags, &images_, &error_);
    }
    void expect_refused(const LocalImage& image, std::uint32_t flags, const char* part)
    {
        EXPECT_LT(import(image, flags), 0);
        EXPECT_EQ(error_.code, DMABROKER_IMPORT_REFUSED) << error_.text;
        EXPECT_NE(std::strstr(error_.text, part), nullptr) << error_.text;
        EXPECT_TRUE(driver_.created.empty()) << "the driver was asked";
    }

    FakeDriver driver_;
    dmabroker_egl egl_{sizeof(dmabroker_egl), &driver_, get_proc, 0};
    dmabroker_egl_images images_{.struct_size = sizeof(dmabroker_egl_images)};
    dmabroker_error error_{};
};

TEST_F(EglImport, a_modifier_is_stated_in_two_halves)
{
    const LocalImage image(xr24, size);
    ASSERT_EQ(import(image), 0) << error_.text;
    ASSERT_EQ(driver_.created.size(), 1u);
    auto& seen = driver_.created[0];
    EXPECT_EQ(seen[EGL_WIDTH], 61);
    EXPECT_EQ(seen[EGL_HEIGHT], 37);
    EXPECT_EQ(seen[EGL_DMA_BUF_PLANE0_PITCH_EXT], 256);
    EXPECT_TRUE(seen.contains(EGL_DMA_BUF_PLANE0_MODIFIER_LO_EXT) && seen.contains(EGL_DMA_BUF_PLANE0_MODIFIER_HI_EXT));
    EXPECT_EQ(images_.count, 1u);
    EXPECT_FALSE(images_.per_plane || images_.external_only);
}

TEST_F(EglImport, a_driver_without_modifiers_is_told_none)
{
    driver_.display_extensions = "EGL_KHR_image_base EGL_EXT_image_dma_buf_import";
    const LocalImage image(xr24, size);
    ASSERT_EQ(import(image), 0) << error_.text;
    EXPECT_FALSE(driver_.created[0].contains(EGL_DMA_BUF_PLANE0_MODIFIER_LO_EXT));
}

TEST_F(EglImport, planes_are_imported_when_the_whole_is_listed_and_fails)
{
    driver_.refused = {nv12.value};
    const LocalImage image(nv12, size);
    ASSERT_EQ(import(image), 0) << error_.text;
    ASSERT_EQ(driver_.created.size(), 3u);
    EXPECT_EQ(driver_.created[0][EGL_YUV_COLOR_SPACE_HINT_EXT], EGL_ITU_REC709_EXT);
    EXPECT_EQ(driver_.created[0][EGL_SAMPLE_RANGE_HINT_EXT], EGL_YUV_NARROW_RANGE_EXT);
    EXPECT_TRUE(images_.per_plane);
    EXPECT_FALSE(images_.external_only);
    ASSERT_EQ(images_.count, 2u);
    EXPECT_EQ(images_.formats[0], r8.value);
    EXPECT_EQ(images_.formats[1], gr88.value);
    EXPECT_EQ(images_.widths[1], 31u);
    EXPECT_EQ(images_.heights[1], 19u);
}

TEST_F(EglImport, a_whole_yuv_image_is_external)
{
    const LocalImage image(nv12, size);
    ASSERT_EQ(import(image), 0) << error_.text;
    EXPECT_EQ(images_.count, 1u);
    EXPECT_TRUE(images_.external_only);
}

TEST_F(EglImport, no_image_is_left_when_a_later_plane_fails)
{
    driver_.refused = {nv12.value, gr88.value};
    const LocalImage image(nv12, size);
    EXPECT_LT(import(image), 0);
    EXPECT_EQ(error_.code, DMABROKER_IMPORT_FAILED);
    EXPECT_NE(std::strstr(error_.text, "EGL_BAD_ALLOC"), nullptr) << error_.text;
    EXPECT_EQ(images_.count, 0u);
    EXPECT_EQ(driver_.alive, 0);
}

TEST_F(EglImport, flags_choose_between_whole_and_planes)
{
    driver_.refused = {nv12.value};
    const LocalImage yuv(nv12, size), rgb(xr24, size);
    EXPECT_LT(import(yuv, DMABROKER_IMPORT_WHOLE), 0);
    EXPECT_EQ(import(yuv, DMABROKER_IMPORT_PER_PLANE), 0);
    EXPECT_EQ(driver_.created.size(), 2u) << "the whole was tried";
    for (const std::uint32_t wrong : {3u, 8u}) {
        EXPECT_LT(import(rgb, wrong), 0);
        EXPECT_EQ(error_.code, DMABROKER_INVALID_ARGUMENT);
    }
    EXPECT_LT(import(rgb, DMABROKER_IMPORT_PER_PLANE), 0);
    EXPECT_EQ(error_.code, DMABROKER_INVALID_ARGUMENT);
}

TEST_F(EglImport, colour_becomes_the_hints_that_egl_has)
{
    const std::pair<Colour, EGLint> matrices[] = {
        {{.matrix = MatrixCoefficients::bt470bg}, EGL_ITU_REC601_EXT},
        {{.matrix = MatrixCoefficients::smpte170m}, EGL_ITU_REC601_EXT},
        {{.matrix = MatrixCoefficients::bt709}, EGL_ITU_REC709_EXT},
        {{.matrix = MatrixCoefficients::bt2020_ncl}, EGL_ITU_REC2020_EXT},
        {{.primaries = Primaries::bt2020}, EGL_ITU_REC2020_EXT},
    };
    for (const auto& [colour, hint] : matrices) {
        ASSERT_EQ(import(LocalImage(nv12, size, {.colour = colour})), 0);
        EXPECT_EQ(driver_.created.at(0)[EGL_YUV_COLOR_SPACE_HINT_EXT], hint);
        EXPECT_EQ(driver_.created.at(0)[EGL_SAMPLE_RANGE_HINT_EXT], EGL_YUV_FULL_RANGE_EXT);
    }
    const EGLint on = EGL_YUV_CHROMA_SITING_0_EXT, between = EGL_YUV_CHROMA_SITING_0_5_EXT;
    const std::tuple<ChromaSiting, EGLint, EGLint> sitings[] = {
        {ChromaSiting::left, on, between}, {ChromaSiting::centre, between, between}, {ChromaSiting::top_left, on, on},
        {ChromaSiting::top, between, on},  {ChromaSiting::bottom_left, on, between}, {ChromaSiting::bottom, between, between}};
    for (const auto& [siting, across, down] : sitings) {
        ASSERT_EQ(import(LocalImage(nv12, size, {.colour = Colour{.siting = siting}})), 0);
        EXPECT_EQ(driver_.created.at(0)[EGL_YUV_CHROMA_HORIZONTAL_SITING_HINT_EXT], across) << to_string(siting);
        EXPECT_EQ(driver_.created.at(0)[EGL_YUV_CHROMA_VERTICAL_SITING_HINT_EXT], down) << to_string(siting);
    }
}

TEST_F(EglImport, a_matrix_that_egl_does_not_know_is_the_application_s_work)
{
    for (const auto matrix :
         {MatrixCoefficients::ycgco, MatrixCoefficients::bt2020_cl, MatrixCoefficients::ictcp, MatrixCoefficients{99}}) {
        const LocalImage image(nv12, size, {.colour = Colour{.matrix = matrix}});
        expect_refused(image, DMABROKER_IMPORT_WHOLE, to_string(matrix).c_str());
        ASSERT_EQ(import(image), 0) << error_.text;
        EXPECT_EQ(images_.per_plane, 1);
        const bool converts = matrix == MatrixCoefficients::ycgco;
        EXPECT_EQ(images_.yuv.matrix[0] != 0, converts) << to_string(matrix);
    }
    expect_refused(LocalImage(fourcc("YUYV"), {60, 37}, {.colour = Colour{.matrix = MatrixCoefficients::ictcp}}), 0, "ictcp");
}

TEST_F(EglImport, the_order_of_chroma_is_folded_into_the_matrix)
{
    driver_.refused = {nv12.value, fourcc("NV21").value};
    const LocalImage blue_first(nv12, size), red_first(fourcc("NV21"), size);
    ASSERT_EQ(import(blue_first), 0);
    const dmabroker_yuv normal = images_.yuv;
    ASSERT_EQ(import(red_first), 0);
    for (std::size_t row = 0; row < 3; ++row) {
        EXPECT_EQ(images_.yuv.matrix[3 * row], normal.matrix[3 * row]);
        EXPECT_EQ(images_.yuv.matrix[3 * row + 1], normal.matrix[3 * row + 2]);
        EXPECT_EQ(images_.yuv.matrix[3 * row + 2], normal.matrix[3 * row + 1]);
    }
}

TEST_F(EglImport, what_crashes_software_drivers_never_reaches_them)
{
    const std::uint32_t write = DMABROKER_IMPORT_WRITE;
    expect_refused(LocalImage(xr24, size, {.read_only = true}), 0, "read-only");
    expect_refused(LocalImage(xr24, size, {.protection = Protection::read_only_descriptor}), 0, "read-only");
    expect_refused(LocalImage(xr24, size, {.seals = F_SEAL_WRITE}), 0, "sealed against writing");
    expect_refused(LocalImage(xr24, size, {.seals = 0x10 /* F_SEAL_FUTURE_WRITE */}), 0, "sealed against writing");
    expect_refused(LocalImage(xr24, size, {.cut = 4096}), 0, "read past its end");
    expect_refused(LocalImage(xr24, size, {.stride = 244}), 0, "multiple of 16");
    expect_refused(LocalImage(xr24, size, {.offset = 8}), 0, "multiple of 16");
    expect_refused(LocalImage(xr24, size, {.exact = true}), write, "pad the rows");
    expect_refused(LocalImage(fourcc("AB4H"), size, {.stride = 496}), write, "pad the rows");
    expect_refused(LocalImage(fourcc("YUYV"), size), 0, "even width");
}

TEST_F(EglImport, a_reader_needs_no_padding)
{
    const LocalImage image(xr24, size, {.exact = true});
    EXPECT_EQ(import(image), 0) << error_.text;
}

TEST_F(EglImport, memfds_are_for_software_drivers)
{
    driver_.device_extensions = "EGL_EXT_device_drm";
    expect_refused(LocalImage(xr24, size), 0, "not a software one");
}

TEST_F(EglImport, software_on_a_drm_device_takes_only_its_own_memory)
{
    const dev_t own = makedev(1, 3), other = makedev(1, 5); // /dev/null stands for the device
    driver_.name = "kms_swrast";
    expect_refused(LocalImage(xr24, size, {.gbm_node = own}), 0, "state its DRM node");
    egl_.drm_node = own;
    EXPECT_EQ(import(LocalImage(xr24, size, {.gbm_node = own})), 0) << error_.text;
    expect_refused(LocalImage(xr24, size, {.gbm_node = other}), 0, "its own device");
    expect_refused(LocalImage(xr24, size), 0, "its own device");
    driver_.device_node = "/dev/zero"; // what EGL says counts
    EXPECT_EQ(import(LocalImage(xr24, size, {.gbm_node = other})), 0) << error_.text;
}

TEST_F(EglImport, formats_and_displays_that_cannot_are_refused)
{
    expect_refused(LocalImage(fourcc("XR48"), size), 0, "XR48");
    driver_.display_extensions = "EGL_KHR_image_base";
    expect_refused(LocalImage(xr24, size), 0, "EGL_EXT_image_dma_buf_import");
}

TEST_F(EglImport, drawing_needs_the_write_right)
{
    const LocalImage image(xr24, size, {.rights = Right::read});
    EXPECT_LT(import(image, DMABROKER_IMPORT_WRITE), 0);
    EXPECT_EQ(error_.code, DMABROKER_DENIED);
    EXPECT_EQ(import(image), 0) << error_.text;
}

TEST_F(EglImport, arguments_that_are_missing_are_named)
{
    const LocalImage image(xr24, size);
    dmabroker_egl_images old{.struct_size = 8};
    EXPECT_LT(dmabroker_egl_import(nullptr, &egl_, 0, &images_, nullptr), 0);
    EXPECT_LT(dmabroker_egl_import(image.get(), nullptr, 0, &images_, nullptr), 0);
    EXPECT_LT(dmabroker_egl_import(image.get(), &egl_, 0, nullptr, nullptr), 0);
    EXPECT_LT(dmabroker_egl_import(image.get(), &egl_, 0, &old, &error_), 0);
    EXPECT_EQ(error_.code, DMABROKER_INVALID_ARGUMENT);
}

TEST_F(EglImport, a_memfd_is_no_gl_memory_object)
{
    const LocalImage image(xr24, size);
    dmabroker_gl_texture texture{.struct_size = sizeof texture};
    EXPECT_LT(dmabroker_gl_import(image.get(), get_proc, 0, &texture, &error_), 0);
    EXPECT_EQ(error_.code, DMABROKER_IMPORT_REFUSED);
    EXPECT_NE(std::strstr(error_.text, "dmabroker_egl_import"), nullptr) << error_.text;
}

// ---- capabilities

class EglCapabilities : public EglImport {
protected:
    static dmabroker::Capabilities table() { return dmabroker::egl::capabilities({&driver, get_proc}); }
    static const dmabroker_capability* find(const dmabroker::Capabilities& table, FourCC format, std::uint64_t modifier,
                                            std::uint32_t kind = DMABROKER_DMA_BUF)
    {
        for (const dmabroker_capability& row : table)
            if (row.format == format.value && row.modifier == modifier && row.kind == kind) return &row;
        return nullptr;
    }
    static constexpr std::uint32_t draw = DMABROKER_USAGE_SAMPLE | DMABROKER_USAGE_RENDER;
};

TEST_F(EglCapabilities, every_format_has_its_modifiers_and_the_implicit_layout_as_rows_of_their_own)
{
    driver_.modifiers = {0, 0x0200000000000001, 0x0100000000000002};
    driver_.device_extensions = "";
    const auto caps = table();
    EXPECT_EQ(caps.size(), driver_.formats.size() * 4);
    for (const std::uint64_t modifier : {driver_.modifiers[0], driver_.modifiers[1], modifier_invalid.value}) {
        ASSERT_TRUE(find(caps, xr24, modifier));
        EXPECT_EQ(find(caps, xr24, modifier)->usage, draw);
        EXPECT_EQ(find(caps, nv12, modifier)->usage, std::uint32_t{DMABROKER_USAGE_SAMPLE});
        EXPECT_TRUE(find(caps, nv12, modifier)->external_only);
        EXPECT_FALSE(find(caps, xr24, modifier)->external_only);
    }
}

TEST_F(EglCapabilities, a_driver_that_lists_no_modifiers_is_not_said_to_take_linear)
{
    driver_.modifiers.clear();
    const auto caps = table();
    EXPECT_FALSE(find(caps, xr24, 0));
    EXPECT_TRUE(find(caps, xr24, modifier_invalid.value));
    EXPECT_TRUE(find(caps, nv12, modifier_invalid.value)->external_only);
    EXPECT_FALSE(find(caps, xr24, 0, DMABROKER_MEMFD));
}

TEST_F(EglCapabilities, only_displays_that_map_for_themselves_take_memfds)
{
    EXPECT_TRUE(find(table(), xr24, 0, DMABROKER_MEMFD));
    EXPECT_FALSE(find(table(), xr24, modifier_invalid.value, DMABROKER_MEMFD));
    EXPECT_TRUE(table().table().software);
    driver_.name = "kms_swrast"; // draws with the CPU, maps through the device
    EXPECT_FALSE(find(table(), xr24, 0, DMABROKER_MEMFD));
    driver_.name = "radeonsi";
    driver_.device_extensions = "EGL_EXT_device_drm";
    EXPECT_FALSE(find(table(), xr24, 0, DMABROKER_MEMFD));
    EXPECT_FALSE(table().table().software);
    EXPECT_STREQ(table().table().driver, "radeonsi");
}

TEST_F(EglCapabilities, a_display_without_the_list_is_refused_with_what_to_do)
{
    driver_.display_extensions = "EGL_KHR_image_base EGL_EXT_image_dma_buf_import";
    dmabroker_capabilities* made = nullptr;
    dmabroker_error error{};
    EXPECT_EQ(dmabroker_egl_capabilities(&egl_, &made, &error), -EOPNOTSUPP);
    EXPECT_NE(std::strstr(error.text, "dmabroker_capabilities_create"), nullptr) << error.text;
    EXPECT_EQ(made, nullptr);
}

} // namespace
} // namespace dmb::test

// SPDX-License-Identifier: MIT
// Memory of this process through the drivers that are here, without a broker: every format and odd
// sizes, both directions. The matrix does the same across processes.
#include "proto/image/format_table.hpp"
#include "tests/drm/local_image.hpp"
#include "tests/drm/matrix/vulkan_copies.hpp"
#include "tests/drm/matrix/way.hpp"
#include "tests/support/fixture.hpp"

#include <cstdlib>
#include <filesystem>

namespace dmb::test {
namespace {

using matrix::Outcome;

/// Drivers open descriptors for good: they start before descriptors are counted.
class ImportPixels : public FdTest {
protected:
    static void SetUpTestSuite()
    {
        // Mesa writes its cache in a thread of its own, whenever it likes.
        ::setenv("MESA_SHADER_CACHE_DISABLE", "true", 1);
        std::error_code no_folder;
        for (const auto& file : std::filesystem::directory_iterator("/usr/share/vulkan/icd.d", no_folder))
            if (file.path().filename().string().starts_with("lvp_icd")) ::setenv("VK_ICD_FILENAMES", file.path().c_str(), 0);
        start(egl, problem_egl, [] { return matrix::make_egl_way(""); });
        start(vulkan, problem_vulkan, [] { return matrix::make_vulkan_way(); });
    }
    static void TearDownTestSuite()
    {
        egl.reset();
        vulkan.reset();
    }

    /// Images here are memfds, which a GPU's driver does not take.
    static bool is_for_dma_bufs_only(const Outcome& seen)
    {
        const auto says = [&](const char* part) { return seen.text.find(part) != std::string::npos; };
        return seen.kind == Outcome::refused &&
               (says("is not a software one") || says("has no VK_EXT_external_memory_dma_buf"));
    }

    template <class Make> static void start(std::unique_ptr<matrix::Way>& way, std::string& problem, Make make)
    {
        try {
            way = make();
            const LocalImage image(fourcc("AB24"), {4, 4});
            const Outcome seen = way->verify(image.get(), matrix::make_pattern(fourcc("AB24"), {4, 4}, 0));
            if (!is_for_dma_bufs_only(seen)) return;
            problem = seen.text;
            way.reset();
        } catch (const std::exception& e) {
            problem = e.what();
        }
    }

    /// Counts the formats that were read in every size.
    static void try_all(matrix::Way& way, std::size_t at_least)
    {
        std::size_t read = 0;
        for (const FormatInfo& format : all_formats()) {
            bool all = true;
            for (const Extent size : {Extent{64, 37}, Extent{128, 64}}) all &= try_one(way, format, size);
            read += all;
        }
        EXPECT_GE(read, at_least);
        for (const Extent size : {Extent{1, 1}, Extent{61, 37}, Extent{255, 3}})
            for (const char* word : {"AB24", "XR30", "RG16", "R8", "NV12", "YUYV"})
                try_one(way, *find_format(*parse_fourcc(word)), size);
    }

    static bool try_one(matrix::Way& way, const FormatInfo& format, Extent size)
    {
        const auto first = matrix::make_pattern(format.fourcc, size, 1), second = matrix::make_pattern(format.fourcc, size, 2);
        LocalImage image(format.fourcc, size);
        image.write(first);
        const Outcome seen = way.verify(image.get(), first);
        EXPECT_NE(seen.kind, Outcome::failed) << format.name << ' ' << size.width << 'x' << size.height << ": " << seen.text;
        const Outcome drawn = way.fill(image.get(), second);
        EXPECT_NE(drawn.kind, Outcome::failed) << format.name << ": " << drawn.text;
        const auto& expected = drawn.kind == Outcome::pass ? second : first;
        EXPECT_EQ(matrix::difference(expected, image.read()), "") << format.name;
        return seen.kind == Outcome::pass;
    }

    static std::unique_ptr<matrix::Way> egl, vulkan;
    static std::string problem_egl, problem_vulkan;
};
std::unique_ptr<matrix::Way> ImportPixels::egl, ImportPixels::vulkan;
std::string ImportPixels::problem_egl, ImportPixels::problem_vulkan;

TEST_F(ImportPixels, egl_samples_and_draws_what_the_cpu_sees)
{
    if (!egl) GTEST_SKIP() << problem_egl;
    try_all(*egl, 25);
}

TEST_F(ImportPixels, vulkan_copies_what_the_cpu_sees)
{
    if (!vulkan) GTEST_SKIP() << problem_vulkan;
    try_all(*vulkan, 10);
}

TEST_F(ImportPixels, vulkan_is_told_how_to_convert)
{
    if (!vulkan) GTEST_SKIP() << problem_vulkan;
    const matrix::VulkanCopies context;
    const auto told = [&](const Colour& colour) {
        dmabroker_vulkan_images images{.struct_size = sizeof images};
        dmabroker_error error{};
        const LocalImage image(fourcc("NV12"), {256, 64}, {.colour = colour}); // as wide as its stride
        EXPECT_EQ(dmabroker_vulkan_import(image.get(), &context.handles(), 0, 0, &images, &error), 0) << error.text;
        const dmabroker_vulkan_images said = images; // which the release makes 0
        dmabroker_vulkan_release(&context.handles(), &images);
        return said;
    };
    const auto hdr10 =
        told({Primaries::bt2020, Transfer::pq, MatrixCoefficients::bt2020_ncl, ColourRange::limited, ChromaSiting::top_left});
    EXPECT_EQ(hdr10.ycbcr_model, VK_SAMPLER_YCBCR_MODEL_CONVERSION_YCBCR_2020);
    EXPECT_EQ(hdr10.ycbcr_range, VK_SAMPLER_YCBCR_RANGE_ITU_NARROW);
    EXPECT_EQ(hdr10.x_chroma_offset, VK_CHROMA_LOCATION_COSITED_EVEN);
    EXPECT_EQ(hdr10.y_chroma_offset, VK_CHROMA_LOCATION_COSITED_EVEN);
    const auto jpeg = told({.matrix = MatrixCoefficients::bt470bg, .siting = ChromaSiting::centre});
    EXPECT_EQ(jpeg.ycbcr_model, VK_SAMPLER_YCBCR_MODEL_CONVERSION_YCBCR_601);
    EXPECT_EQ(jpeg.ycbcr_range, VK_SAMPLER_YCBCR_RANGE_ITU_FULL);
    EXPECT_EQ(jpeg.x_chroma_offset, VK_CHROMA_LOCATION_MIDPOINT);
    EXPECT_EQ(jpeg.y_chroma_offset, VK_CHROMA_LOCATION_MIDPOINT);
    EXPECT_EQ(told({.matrix = MatrixCoefficients::ictcp}).ycbcr_model, VK_SAMPLER_YCBCR_MODEL_CONVERSION_YCBCR_IDENTITY);
}

TEST_F(ImportPixels, vulkan_is_not_handed_what_crashes_it)
{
    if (!vulkan) GTEST_SKIP() << problem_vulkan;
    const FourCC format = fourcc("AB24");
    const auto pattern = matrix::make_pattern(format, {64, 37}, 1);
    for (const LocalOptions& options :
         {LocalOptions{.read_only = true}, LocalOptions{.cut = 4096}, LocalOptions{.stride = 264}, LocalOptions{.offset = 4}}) {
        const LocalImage image(format, {64, 37}, options);
        const Outcome outcome = vulkan->verify(image.get(), pattern);
        EXPECT_EQ(outcome.kind, Outcome::refused) << outcome.text;
    }
}

} // namespace
} // namespace dmb::test

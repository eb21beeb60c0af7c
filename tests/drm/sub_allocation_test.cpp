// SPDX-License-Identifier: MIT
// Several images in one memory object, each registered with its own offset: one after the other with pages and less
// between them, and side by side in the rows of an atlas. Every importer must see its image and draw into no other.
#include "tests/drm/local_image.hpp"
#include "tests/drm/matrix/way.hpp"
#include "tests/support/broker_process.hpp"
#include "tests/support/fixture.hpp"

#include <cstdlib>
#include <cstring>
#include <dmabroker/dmabroker.hpp>
#include <fcntl.h>
#include <linux/udmabuf.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

namespace dmb::test {
namespace {

using dmabroker::Client;
using dmabroker::Image;
using dmabroker::Rights;
using dmabroker::Usage;
using matrix::Outcome;
using matrix::Pixels;

const FourCC ab24 = fourcc("AB24");
constexpr std::size_t memory_bytes = 256 << 10;

/// Where an image lies.
struct Place {
    const char* what;
    Extent size;
    std::uint64_t offset;
    std::uint32_t stride;
};

/// An atlas of rows of 1 KiB begins at 128 KiB. Software drivers store blocks of 4x4 pixels: what of a block belongs to
/// the image below they must store as it was.
constexpr Place places[] = {
    {"at the beginning", {64, 48}, 0, 256},           {"on a page", {64, 48}, 12288, 256},
    {"between pages", {50, 30}, 24576 + 64, 256},     {"after a row of 16 bytes more", {60, 40}, 36864 + 192, 272},
    {"left in the atlas", {50, 30}, 131072, 1024},    {"right of it", {64, 30}, 131072 + 52 * 4, 1024},
    {"below it", {80, 20}, 131072 + 30 * 1024, 1024},
};
constexpr std::size_t count = std::size(places);

/// A memfd, and the dma-buf over it where the machine makes such.
class Memory {
public:
    explicit Memory(bool dma_buf) : fd_(UniqueFd::adopt(::memfd_create("atlas", MFD_CLOEXEC | MFD_ALLOW_SEALING)))
    {
        EXPECT_EQ(::ftruncate(fd_.get(), memory_bytes), 0);
        data_ = ::mmap(nullptr, memory_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd_.get(), 0);
        EXPECT_NE(data_, MAP_FAILED);
        ::fcntl(fd_.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
        if (dma_buf) wrap();
    }
    Memory(const Memory&) = delete;
    Memory& operator=(const Memory&) = delete;
    ~Memory() { ::munmap(data_, memory_bytes); }

    int fd() const { return fd_.get(); }
    bool exists() const { return static_cast<bool>(fd_); }
    std::uint8_t* at(std::uint64_t offset) const { return static_cast<std::uint8_t*>(data_) + offset; }

private:
    void wrap()
    {
        const UniqueFd device = UniqueFd::adopt(::open("/dev/udmabuf", O_RDWR | O_CLOEXEC));
        udmabuf_create request{static_cast<__u32>(fd_.get()), UDMABUF_FLAGS_CLOEXEC, 0, memory_bytes};
        fd_.reset(device ? ::ioctl(device.get(), UDMABUF_CREATE, &request) : -1);
    }
    UniqueFd fd_;
    void* data_ = nullptr;
};

class SubAllocation : public FdTest, public ::testing::WithParamInterface<bool> {
protected:
    /// Drivers open descriptors for good: once, before they are counted.
    static void SetUpTestSuite()
    {
        ::setenv("MESA_SHADER_CACHE_DISABLE", "true", 1);
        std::error_code no_folder;
        for (const auto& file : std::filesystem::directory_iterator("/usr/share/vulkan/icd.d", no_folder))
            if (file.path().filename().string().starts_with("lvp_icd")) ::setenv("VK_ICD_FILENAMES", file.path().c_str(), 0);
        add("cpu", [] { return matrix::make_cpu_way(); });
        add("egl", [] { return matrix::make_egl_way(""); });
        add("vulkan", [] { return matrix::make_vulkan_way(); });
        settle();
    }
    void TearDown() override { settle(); }
    /// Mesa keeps what was sampled last until it samples something else: so this, before and after.
    static void settle()
    {
        constexpr Extent small{64, 48};
        const LocalImage image(ab24, small);
        const Pixels pixels = matrix::make_pattern(ab24, small, 9);
        for (const auto& importer : importers) importer.way->verify(image.get(), pixels);
    }
    static void TearDownTestSuite() { importers.clear(); }
    void SetUp() override
    {
        if (!memory_.exists()) GTEST_SKIP() << "no /dev/udmabuf on this machine";
        for (std::size_t i = 0; i < count; ++i) {
            seen_.push_back(matrix::make_pattern(ab24, places[i].size, static_cast<unsigned>(i)));
            draw(places[i], seen_[i]);
            images_.push_back(client_.register_image(describe(places[i]), &fd_, places[i].what));
        }
    }
    template <class Make> static void add(const char* name, Make make)
    {
        try {
            importers.push_back({name, make()});
        } catch (const std::exception& e) {
            std::printf("SKIP %s: %s\n", name, e.what());
        }
    }
    dmabroker_image_info describe(const Place& place) const
    {
        dmabroker_image_info info{};
        info.width = place.size.width;
        info.height = place.size.height;
        info.format = ab24.value;
        info.usage = DMABROKER_USAGE_SAMPLE | DMABROKER_USAGE_RENDER;
        info.modifier = DMABROKER_MODIFIER_LINEAR;
        info.kind = GetParam() ? DMABROKER_DMA_BUF : DMABROKER_MEMFD;
        info.plane_count = info.memory_count = 1;
        info.planes[0] = {0, place.stride, place.offset};
        info.memory_size[0] = memory_bytes;
        return info;
    }
    void draw(const Place& place, const Pixels& pixels)
    {
        const std::size_t row = std::size_t{place.size.width} * 4;
        for (std::size_t y = 0; y < place.size.height; ++y)
            std::memcpy(memory_.at(place.offset + y * place.stride), &pixels.planes[0][y * row], row);
    }
    /// By the token, as another client.
    Image open(std::size_t index)
    {
        const Rights rights = Rights::read | Rights::write;
        return other_.open(images_[index].token(rights), rights, Usage::sample | Usage::render);
    }
    /// Linear images without modifiers have the driver's own stride: any other is refused, with that reason.
    static bool may_refuse(const Outcome& outcome)
    {
        return outcome.kind == Outcome::refused &&
               outcome.text.find("without VK_EXT_image_drm_format_modifier") != std::string::npos;
    }
    void expect_all(matrix::Way& way, const std::string& who)
    {
        for (std::size_t i = 0; i < count; ++i) {
            const Outcome outcome = way.verify(open(i).native(), seen_[i]);
            EXPECT_TRUE(outcome.kind == Outcome::pass || may_refuse(outcome))
                << who << " of the image " << places[i].what << ": " << outcome.text;
        }
    }

    struct Importer {
        std::string name;
        std::unique_ptr<matrix::Way> way;
    };
    static std::vector<Importer> importers;

    BrokerProcess broker_;
    Client client_ = Client::connect({.remote = broker_.socket()}), other_ = Client::connect({.remote = broker_.socket()});
    Memory memory_{GetParam()};
    int fd_ = memory_.fd();
    std::vector<Image> images_;
    std::vector<Pixels> seen_; ///< what each image shows
};
std::vector<SubAllocation::Importer> SubAllocation::importers;

TEST_P(SubAllocation, each_image_is_seen_where_it_lies)
{
    for (const auto& [name, way] : importers) expect_all(*way, name);
}

TEST_P(SubAllocation, drawing_into_one_image_leaves_the_others_as_they_are)
{
    const auto cpu = matrix::make_cpu_way();
    for (const auto& [name, way] : importers)
        for (std::size_t i = 0; i < count; ++i) {
            const Pixels drawn = matrix::make_pattern(ab24, places[i].size, static_cast<unsigned>(100 + i) + name[0]);
            const Outcome outcome = way->fill(open(i).native(), drawn);
            if (may_refuse(outcome)) continue;
            seen_[i] = drawn;
            ASSERT_EQ(outcome.kind, Outcome::pass) << name << " into the image " << places[i].what << ": " << outcome.text;
            expect_all(*cpu, name + " drew " + places[i].what + ", pixels");
        }
}

TEST_P(SubAllocation, the_memory_stays_the_clients_until_its_last_image_is_gone)
{
    while (!images_.empty()) {
        EXPECT_THROW(other_.register_image(describe(places[0]), &fd_), dmabroker::Error) << images_.size() << " images left";
        images_.pop_back();
    }
    static_cast<void>(client_.inspect()); // the releases were heard
    EXPECT_NO_THROW(other_.register_image(describe(places[0]), &fd_));
}

INSTANTIATE_TEST_SUITE_P(Kinds, SubAllocation, ::testing::Values(false, true),
                         [](const auto& kind) { return kind.param ? "dma_buf" : "memfd"; });

} // namespace
} // namespace dmb::test

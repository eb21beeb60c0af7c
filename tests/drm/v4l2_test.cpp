// SPDX-License-Identifier: MIT
// Buffers of the kernel's test camera (vivid), which draws eight colour bars, with the real broker: in every format that both
// sides know another client finds the bars where the description says.
#include "tests/libclient/fake_broker.hpp"
#include "tests/support/broker_process.hpp"
#include "tests/support/fixture.hpp"

#include <array>
#include <cstring>
#include <dmabroker/v4l2.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <functional>
#include <linux/videodev2.h>
#include <poll.h>
#include <set>
#include <sys/ioctl.h>

namespace dmb::test {
namespace {

using dmabroker::Client;
using dmabroker::Direction;
using dmabroker::Image;
using dmabroker::Rights;
using dmabroker::Usage;

constexpr Extent size{640, 360};
constexpr unsigned red_bar = 5, blue_bar = 6;

/// One camera, streaming while it lives.
class Camera {
public:
    explicit Camera(UniqueFd device, std::uint32_t type) : device_(std::move(device)), type_(type) {}
    ~Camera() { stop(); }
    Camera(const Camera&) = delete;
    Camera& operator=(const Camera&) = delete;

    static std::unique_ptr<Camera> open(bool multi_planar)
    {
        const std::uint32_t wanted = multi_planar ? V4L2_CAP_VIDEO_CAPTURE_MPLANE : V4L2_CAP_VIDEO_CAPTURE;
        for (int i = 0; i < 16; ++i) {
            UniqueFd device = UniqueFd::adopt(::open(fmt::format("/dev/video{}", i).c_str(), O_RDWR | O_CLOEXEC));
            v4l2_capability capability{};
            if (!device || ::ioctl(device.get(), VIDIOC_QUERYCAP, &capability) != 0) continue;
            if (std::strcmp(reinterpret_cast<const char*>(capability.driver), "vivid") != 0) continue;
            if (capability.device_caps & wanted)
                return std::make_unique<Camera>(std::move(device), multi_planar ? V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE
                                                                                : V4L2_BUF_TYPE_VIDEO_CAPTURE);
        }
        return nullptr;
    }

    std::vector<std::uint32_t> formats() const
    {
        std::vector<std::uint32_t> out;
        v4l2_fmtdesc description{};
        for (description.type = type_; ::ioctl(device_.get(), VIDIOC_ENUM_FMT, &description) == 0; ++description.index)
            out.push_back(description.pixelformat);
        return out;
    }
    /// One captured frame, in buffer 0. False: not in this format.
    bool capture(std::uint32_t code)
    {
        stop();
        v4l2_format format{};
        format.type = type_;
        if (multi_planar()) {
            format.fmt.pix_mp.width = size.width;
            format.fmt.pix_mp.height = size.height;
            format.fmt.pix_mp.pixelformat = code;
        } else {
            format.fmt.pix.width = size.width;
            format.fmt.pix.height = size.height;
            format.fmt.pix.pixelformat = code;
        }
        if (::ioctl(device_.get(), VIDIOC_S_FMT, &format) != 0) return false;
        planes_ = multi_planar() ? format.fmt.pix_mp.num_planes : 1;
        if ((multi_planar() ? format.fmt.pix_mp.pixelformat : format.fmt.pix.pixelformat) != code) return false;
        v4l2_requestbuffers request{};
        request.count = 2;
        request.type = type_;
        request.memory = V4L2_MEMORY_MMAP;
        if (::ioctl(device_.get(), VIDIOC_REQBUFS, &request) != 0) return false;
        const int type = static_cast<int>(type_);
        if (!buffer(VIDIOC_QBUF) || ::ioctl(device_.get(), VIDIOC_STREAMON, &type) != 0) return false;
        pollfd p{device_.get(), POLLIN, 0};
        return ::poll(&p, 1, 20'000) == 1 && buffer(VIDIOC_DQBUF);
    }
    dmabroker_v4l2_source source(std::uint32_t index = 0) const
    {
        return {sizeof(dmabroker_v4l2_source), device_.get(), type_, index};
    }
    std::uint32_t planes() const { return planes_; }

private:
    bool multi_planar() const { return type_ == V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE; }
    bool buffer(unsigned long request)
    {
        std::array<v4l2_plane, VIDEO_MAX_PLANES> planes{};
        v4l2_buffer buffer{};
        buffer.type = type_;
        buffer.memory = V4L2_MEMORY_MMAP;
        if (multi_planar()) {
            buffer.m.planes = planes.data();
            buffer.length = planes_;
        }
        return ::ioctl(device_.get(), request, &buffer) == 0 && buffer.index == 0;
    }
    void stop()
    {
        const int type = static_cast<int>(type_);
        v4l2_requestbuffers none{};
        none.type = type_;
        none.memory = V4L2_MEMORY_MMAP;
        ::ioctl(device_.get(), VIDIOC_STREAMOFF, &type);
        ::ioctl(device_.get(), VIDIOC_REQBUFS, &none);
    }
    UniqueFd device_;
    std::uint32_t type_, planes_ = 1;
};

class V4l2Test : public FdTest {
protected:
    struct Colour3 {
        int a, b, c; ///< r, g, b; or y, u, v
    };
    using Read = std::function<const std::uint8_t*(std::uint32_t plane, unsigned x, unsigned y)>;
    /// The pixel, in the channels of its kind. Of formats that are not here: nothing.
    static std::optional<Colour3> pixel(std::uint32_t format, const Read& at, unsigned x, unsigned y)
    {
        const auto rgb = [&](unsigned bytes, unsigned r, unsigned g, unsigned b) {
            const std::uint8_t* p = at(0, x * bytes, y);
            return Colour3{p[r], p[g], p[b]};
        };
        const auto planar = [&](unsigned h, unsigned v, std::uint32_t u_plane) {
            return Colour3{*at(0, x, y), *at(u_plane, x / h, y / v), *at(3 - u_plane, x / h, y / v)};
        };
        const auto semi = [&](unsigned v, unsigned u) {
            const std::uint8_t* p = at(1, x / 2 * 2, y / v);
            return Colour3{*at(0, x, y), p[u], p[1 - u]};
        };
        const auto is = [&](const char(&word)[5]) { return format == fourcc(word).value; };
        const std::uint8_t* pair = at(0, x / 2 * 4, y);
        if (is("XR24") || is("AR24")) return rgb(4, 2, 1, 0);
        if (is("XB24") || is("AB24")) return rgb(4, 0, 1, 2);
        if (is("BX24") || is("BA24")) return rgb(4, 1, 2, 3);
        if (is("RX24") || is("RA24")) return rgb(4, 3, 2, 1);
        if (is("RG24")) return rgb(3, 2, 1, 0);
        if (is("BG24")) return rgb(3, 0, 1, 2);
        if (is("YUYV")) return Colour3{pair[x % 2 * 2], pair[1], pair[3]};
        if (is("UYVY")) return Colour3{pair[x % 2 * 2 + 1], pair[0], pair[2]};
        if (is("NV12")) return semi(2, 0);
        if (is("NV21")) return semi(2, 1);
        if (is("NV16")) return semi(1, 0);
        if (is("YU12")) return planar(2, 2, 1);
        if (is("YV12")) return planar(2, 2, 2);
        if (is("YU16")) return planar(2, 1, 1);
        if (is("YU24")) return planar(1, 1, 1);
        return std::nullopt;
    }
    static bool is_yuv(std::uint32_t format)
    {
        static const std::set<std::uint32_t> rgb = [] {
            std::set<std::uint32_t> out;
            for (const char* word : {"XR24", "AR24", "XB24", "AB24", "BX24", "BA24", "RX24", "RA24", "RG24", "BG24"})
                out.insert(parse_fourcc(word)->value);
            return out;
        }();
        return !rgb.contains(format);
    }
    /// Red and blue where the camera drew them, in the lowest quarter, where it writes no text. False: not known here.
    bool see_bars(Image& image)
    {
        const Image opened = other_.open(image.token(Rights::read), Rights::read, Usage::cpu_read);
        auto mapping = opened.map(Direction::read);
        auto mapped = mapping.begin(Direction::read);
        const Read at = [&](std::uint32_t plane, unsigned x, unsigned y) { return mapped.row<std::uint8_t>(y, plane) + x; };
        const auto bar = [&](unsigned index) {
            return pixel(image.info().format, at, size.width / 16 * (2 * index + 1), size.height - 21);
        };
        const auto red = bar(red_bar), blue = bar(blue_bar);
        if (!red || !blue) return false;
        const std::string name = to_string(FourCC{image.info().format});
        if (is_yuv(image.info().format)) {
            EXPECT_TRUE(red->c > 160 && red->b < 130) << name << " red: " << red->a << ' ' << red->b << ' ' << red->c;
            EXPECT_TRUE(blue->b > 160 && blue->c < 130) << name << " blue: " << blue->a << ' ' << blue->b << ' ' << blue->c;
        } else {
            EXPECT_TRUE(red->a > 140 && red->b < 80 && red->c < 80) << name << ' ' << red->a << ' ' << red->b << ' ' << red->c;
            EXPECT_TRUE(blue->c > 140 && blue->a < 80 && blue->b < 80)
                << name << ' ' << blue->a << ' ' << blue->b << ' ' << blue->c;
        }
        return true;
    }
    /// vivid's first input has V4L2_COLORSPACE_SRGB and leaves the rest to the defaults.
    static void expect_colour_of_a_webcam(const dmabroker_image_info& info)
    {
        const std::string name = to_string(FourCC{info.format});
        const bool rgb = !is_yuv(info.format) || name.starts_with("R");
        EXPECT_EQ(info.colour.primaries, unsigned{DMABROKER_PRIMARIES_BT709}) << name;
        EXPECT_EQ(info.colour.transfer, unsigned{DMABROKER_TRANSFER_SRGB}) << name;
        EXPECT_EQ(info.colour.matrix, unsigned(rgb ? DMABROKER_MATRIX_IDENTITY : DMABROKER_MATRIX_SMPTE170M)) << name;
        EXPECT_EQ(info.colour.range, unsigned(rgb ? DMABROKER_RANGE_FULL : DMABROKER_RANGE_LIMITED)) << name;
    }
    /// Names of the formats in which the bars were looked at.
    std::set<std::string> look_at_all(Camera& camera)
    {
        std::set<std::string> seen;
        for (const std::uint32_t code : camera.formats()) {
            if (!camera.capture(code)) continue;
            const dmabroker_v4l2_source source = camera.source();
            dmabroker_image* made = nullptr;
            dmabroker_error error{};
            if (dmabroker_v4l2_export(client_.native(), &source, nullptr, &made, &error) < 0) {
                EXPECT_TRUE(error.code == DMABROKER_UNKNOWN_FORMAT) << to_string(FourCC{code}) << ": " << error.text;
                continue;
            }
            Image image(made);
            EXPECT_EQ(image.info().kind, std::uint32_t{DMABROKER_DMA_BUF});
            EXPECT_EQ(image.info().modifier, DMABROKER_MODIFIER_LINEAR);
            EXPECT_EQ(image.info().memory_count, camera.planes());
            expect_colour_of_a_webcam(image.info());
            if (see_bars(image)) seen.insert(to_string(FourCC{code}));
        }
        return seen;
    }

    BrokerProcess broker_;
    Client client_ = Client::connect({.remote = broker_.socket()}), other_ = Client::connect({.remote = broker_.socket()});
};

TEST_F(V4l2Test, what_a_camera_captured_another_client_sees_in_every_format)
{
    const auto camera = Camera::open(false);
    if (!camera) GTEST_SKIP() << "no vivid test camera on this machine";
    const auto seen = look_at_all(*camera);
    for (const auto& name : seen) std::printf("%s ", name.c_str());
    std::printf("\n");
    EXPECT_GE(seen.size(), 15u);
}

TEST_F(V4l2Test, planes_in_memories_of_their_own_are_memories_of_one_image)
{
    const auto camera = Camera::open(true);
    if (!camera) GTEST_SKIP() << "no multi-planar vivid test camera on this machine";
    const auto seen = look_at_all(*camera);
    for (const auto& name : seen) std::printf("%s ", name.c_str());
    std::printf("\n");
    EXPECT_GE(seen.size(), 15u);
    EXPECT_TRUE(seen.contains("NM12"));
}

TEST_F(V4l2Test, what_is_no_buffer_is_refused_with_the_reason)
{
    const auto code = [&](const dmabroker_v4l2_source& source) {
        dmabroker_image* made = nullptr;
        dmabroker_error error{};
        EXPECT_LT(dmabroker_v4l2_export(client_.native(), &source, nullptr, &made, &error), 0);
        return error.code;
    };
    const UniqueFd null = UniqueFd::adopt(::open("/dev/null", O_RDWR | O_CLOEXEC));
    EXPECT_EQ(code({sizeof(dmabroker_v4l2_source), null.get(), V4L2_BUF_TYPE_VIDEO_CAPTURE, 0}), DMABROKER_INVALID_ARGUMENT);
    const auto camera = Camera::open(false);
    if (!camera) GTEST_SKIP() << "no vivid test camera on this machine; a file that is no camera was refused";
    ASSERT_TRUE(camera->capture(V4L2_PIX_FMT_YUYV));
    EXPECT_EQ(code(camera->source(31)), DMABROKER_BAD_DESCRIPTOR);
    dmabroker_v4l2_source wrong = camera->source();
    wrong.type = V4L2_BUF_TYPE_VIDEO_OUTPUT;
    EXPECT_EQ(code(wrong), DMABROKER_INVALID_ARGUMENT);
}

} // namespace
} // namespace dmb::test

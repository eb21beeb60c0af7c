// SPDX-License-Identifier: MIT
// dmabrokerctl against the real broker: pixels go in and come out, and every end has its exit status.
#include "tests/tools/ctl_fixture.hpp"

#include <csignal>
#include <filesystem>
#include <fstream>
#include <png.h>
#include <random>
#include <sstream>
#include <sys/stat.h>
#include <thread>

namespace dmb::test {
namespace {

std::string random_bytes(std::size_t size)
{
    std::mt19937 random(static_cast<unsigned>(size));
    std::string bytes(size, '\0');
    for (char& byte : bytes) byte = static_cast<char>(random());
    return bytes;
}

constexpr std::size_t buffer_sizes[] = {1, 4095, 4096, 1000003};

TEST_F(CtlTest, pixels_of_every_size_come_back_the_same)
{
    for (const auto& [width, height] : {std::pair{1u, 1u}, {1u, 7u}, {333u, 1u}, {257u, 129u}, {1023u, 511u}})
        for (const int bits : {8, 16})
            expect_round_trip(random_png(width, height, PNG_COLOR_TYPE_RGB_ALPHA, bits, width + height));
}

TEST_F(CtlTest, every_kind_of_png_is_widened_without_loss)
{
    for (const bool interlaced : {false, true})
        for (const bool transparent : {false, true})
            for (const auto& [colour, bits] : {std::pair{0, 1},
                                               {0, 2},
                                               {0, 4},
                                               {0, 8},
                                               {0, 16},
                                               {2, 8},
                                               {2, 16},
                                               {3, 1},
                                               {3, 2},
                                               {3, 4},
                                               {3, 8},
                                               {4, 8},
                                               {4, 16},
                                               {6, 8},
                                               {6, 16}}) {
                PngFile file = random_png(37, 21, colour, bits, 5);
                file.interlaced = interlaced;
                file.transparent = transparent && colour != 4 && colour != 6;
                if (file.transparent) std::fill_n(file.samples.begin(), 6, std::uint16_t{1});
                expect_round_trip(file);
            }
}

TEST_F(CtlTest, an_interlaced_file_can_be_put_in_any_format)
{
    PngFile file = random_png(37, 21, PNG_COLOR_TYPE_RGB, 8, 9);
    file.interlaced = true;
    const PngFile back = get(put(file, {"--format", "XR24"}));
    EXPECT_EQ(back.colour, PNG_COLOR_TYPE_RGB);
    EXPECT_TRUE(back.samples == file.samples);
}

TEST_F(CtlTest, formats_without_loss_give_the_same_pixels)
{
    const PngFile eight = random_png(65, 33, PNG_COLOR_TYPE_RGB, 8, 3);
    for (const char* format : {"XR24", "XB24", "RX24", "BX24", "RG24", "BG24"})
        EXPECT_TRUE(get(put(eight, {"--format", format})).samples == eight.samples) << format;
    const PngFile sixteen = random_png(65, 33, PNG_COLOR_TYPE_RGB, 16, 4);
    for (const char* format : {"XR48", "XB48"})
        EXPECT_TRUE(get(put(sixteen, {"--format", format})).samples == sixteen.samples) << format;
    const PngFile alpha = random_png(65, 33, PNG_COLOR_TYPE_RGB_ALPHA, 8, 6);
    for (const char* format : {"AR24", "AB24", "RA24", "BA24"})
        EXPECT_TRUE(get(put(alpha, {"--format", format})).samples == alpha.samples) << format;
    const PngFile grey = random_png(65, 33, PNG_COLOR_TYPE_GRAY, 8, 7);
    EXPECT_TRUE(get(put(grey, {"--format", "R8"})).samples == grey.samples);
    const PngFile deep = random_png(65, 33, PNG_COLOR_TYPE_GRAY, 16, 8);
    EXPECT_TRUE(get(put(deep, {"--format", "R16"})).samples == deep.samples);
}

TEST_F(CtlTest, formats_of_more_than_eight_bits_become_sixteen_bit_files)
{
    const PngFile file = random_png(9, 9, PNG_COLOR_TYPE_RGB, 16, 1);
    for (const char* format : {"XR30", "AB30", "AB4H", "XR4H"})
        EXPECT_EQ(get(put(file, {"--format", format})).bits, 16) << format;
    EXPECT_EQ(get(put(file, {"--format", "RG16"})).bits, 8);
}

TEST_F(CtlTest, standard_streams_are_files_too)
{
    write_png(path("in.png"), random_png(5, 5, PNG_COLOR_TYPE_RGB_ALPHA, 8, 2));
    std::ostringstream text;
    text << std::ifstream(path("in.png")).rdbuf();
    const ToolResult put = ctl({"put", "-"}, text.str());
    ASSERT_EQ(put.status, 0) << put.err;
    std::ofstream(path("out.png")) << ctl({"get", put.last_word(), "-"}).out;
    EXPECT_TRUE(read_png(path("out.png")).samples == read_png(path("in.png")).samples);
}

TEST_F(CtlTest, broken_files_leave_no_image_behind)
{
    write_png(path("in.png"), random_png(200, 200, PNG_COLOR_TYPE_RGB_ALPHA, 8, 1));
    std::ostringstream text;
    text << std::ifstream(path("in.png")).rdbuf();
    const std::string good = text.str();
    for (const std::size_t length : {std::size_t{0}, std::size_t{7}, std::size_t{40}, good.size() / 2, good.size() - 5}) {
        const ToolResult result = ctl({"put", "-"}, good.substr(0, length));
        EXPECT_EQ(result.status, 1) << length;
        EXPECT_NE(result.err.find("PNG"), std::string::npos) << result.err;
    }
    std::string flipped = good;
    flipped[good.size() / 2] = static_cast<char>(~flipped[good.size() / 2]);
    EXPECT_EQ(ctl({"put", "-"}, flipped).status, 1);
    EXPECT_EQ(images(), 0u);
}

TEST_F(CtlTest, a_file_that_cannot_be_written_leaves_none)
{
    std::filesystem::create_directory(path("folder"));
    std::filesystem::create_directory(path("folder/taken"));
    for (const std::string& token :
         {put(random_png(3, 3, PNG_COLOR_TYPE_RGB_ALPHA, 8, 1)), put_bytes(random_bytes(100000)).last_word()}) {
        EXPECT_EQ(ctl({"get", token, path("no/such/folder.png")}).status, 1);
        EXPECT_EQ(ctl({"get", token, path("folder/taken")}).status, 1);
        const ToolResult full = ctl({"get", token, "/dev/full"});
        EXPECT_EQ(full.status, 1);
        EXPECT_NE(full.err.find("No space left"), std::string::npos) << full.err;
    }
    const std::filesystem::directory_iterator left(path("folder"));
    EXPECT_EQ(std::distance(begin(left), end(left)), 1);
}

TEST_F(CtlTest, bytes_of_every_number_come_back_the_same)
{
    for (const std::size_t size : buffer_sizes) {
        const std::string bytes = random_bytes(size);
        const ToolResult put = put_bytes(bytes);
        ASSERT_EQ(put.status, 0) << put.err;
        EXPECT_NE(put.out.find("BLOB " + std::to_string(size) + " B"), std::string::npos) << put.out;
        EXPECT_TRUE(get_bytes(put.last_word()) == bytes) << size;
    }
}

TEST_F(CtlTest, standard_streams_are_files_of_bytes_too)
{
    const std::string bytes = random_bytes(1000003);
    const ToolResult put = ctl({"put", "--bytes", "-"}, bytes);
    ASSERT_EQ(put.status, 0) << put.err;
    EXPECT_TRUE(ctl({"get", put.last_word(), "-"}).out == bytes);
}

TEST_F(CtlTest, what_comes_through_a_pipe_can_be_put)
{
    const std::string bytes = random_bytes(1000003);
    const std::string pipe = path("pipe");
    ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
    std::thread writer([&] { std::ofstream(pipe, std::ios::binary) << bytes; });
    const ToolResult put = ctl({"put", "--bytes", pipe});
    writer.join();
    ASSERT_EQ(put.status, 0) << put.err;
    EXPECT_TRUE(get_bytes(put.last_word()) == bytes);
}

TEST_F(CtlTest, what_cannot_be_a_buffer_leaves_none_behind)
{
    const auto code = [&](const std::string& file) {
        EXPECT_EQ(ctl({"put", "--bytes", file}).status, 1) << file;
        return json({"put", "--bytes", file}).at("error").at("code").get<std::string>();
    };
    std::ofstream(path("empty"), std::ios::binary);
    std::ofstream(path("large"), std::ios::binary);
    std::filesystem::resize_file(path("large"), std::uint64_t{1} << 32);
    EXPECT_EQ(code(path("empty")), "bad_size");
    EXPECT_EQ(code("/dev/null"), "bad_size");
    EXPECT_EQ(code(path("large")), "bad_size");
    EXPECT_EQ(code(path("missing")), "invalid_argument");
    EXPECT_EQ(code(broker_.folder()), "invalid_argument");
    EXPECT_EQ(images(), 0u);
}

TEST_F(CtlTest, a_buffer_of_so_many_bytes_can_be_allocated)
{
    const ToolResult result = ctl({"alloc", "--buffer", "64kb", "--label", "mesh"});
    ASSERT_EQ(result.status, 0) << result.err;
    EXPECT_NE(result.out.find("BLOB 65536 B"), std::string::npos) << result.out;
    EXPECT_EQ(get_bytes(result.last_word()), std::string(65536, '\0'));
    const Json desc = json({"show", result.last_word()}).at("image").at("desc");
    EXPECT_EQ(desc.at("format"), "BLOB");
    EXPECT_EQ(desc.at("size").at("width"), 65536);
    EXPECT_EQ(desc.at("size").at("height"), 1);
    EXPECT_NE(ctl({"list"}).out.find("65536 B"), std::string::npos);
    EXPECT_NE(ctl({"show", "1"}).out.find("65536 B"), std::string::npos);
    EXPECT_EQ(ctl({"alloc", "--size", "100x1", "--format", "BLOB"}).status, 0);
}

TEST_F(CtlTest, a_picture_or_a_buffer_is_asked_for_and_not_both)
{
    const auto expect_refusal = [&](std::vector<std::string> words, const std::string& sentence) {
        const ToolResult result = ctl(std::move(words));
        EXPECT_EQ(result.status, 2);
        EXPECT_EQ(result.err.substr(0, sentence.size()), sentence);
    };
    expect_refusal({"alloc"}, "At least 1 option from [--buffer,--size,--format] is required");
    expect_refusal({"alloc", "--size", "4x4"}, "--size requires --format");
    expect_refusal({"alloc", "--format", "XR24"}, "--format requires --size");
    expect_refusal({"alloc", "--buffer", "4", "--format", "XR24"}, "--buffer excludes --format");
    expect_refusal({"alloc", "--buffer", "4", "--size", "4x4"}, "--buffer excludes --size");
    expect_refusal({"alloc", "--buffer", "4", "--size", "4x4", "--format", "XR24"}, "--buffer excludes --size");
    for (const char* bytes : {"0", "-1", "4294967296", "4gb", "99999999999999999999", "4x", "many", ""})
        expect_refusal({"alloc", "--buffer", bytes}, "--buffer");
    expect_refusal({"put", "--bytes", path("in.bin"), "--format", "AB24"}, "--format excludes --bytes");
    expect_refusal({"put", "--bytes"}, "FILE is required");
}

TEST_F(CtlTest, exit_statuses_say_what_happened)
{
    const std::string none(32, '0');
    EXPECT_EQ(ctl({}).status, 2);
    EXPECT_EQ(ctl({"nonsense"}).status, 2);
    EXPECT_EQ(ctl({"alloc", "--size", "4x4"}).status, 2);
    EXPECT_EQ(ctl({"alloc", "--size", "4", "--format", "XR24"}).status, 2);
    EXPECT_EQ(ctl({"put", path("missing.png"), "--lease", "0"}).status, 2);
    EXPECT_EQ(ctl({"put", path("missing.png")}).status, 1);
    EXPECT_EQ(ctl({"alloc", "--size", "0x4", "--format", "XR24"}).status, 1);
    EXPECT_EQ(ctl({"alloc", "--size", "4x4", "--format", "ZZZZ"}).status, 1);
    EXPECT_EQ(run_tool({"--socket", path("nobody"), "list"}).status, 3);
    EXPECT_EQ(ctl({"get", none, path("out.png")}).status, 4);
    EXPECT_EQ(ctl({"get", "nonsense", path("out.png")}).status, 4);
    EXPECT_EQ(ctl({"show", "999999"}).status, 4);
    EXPECT_EQ(ctl({"revoke", "999999"}).status, 4);
    EXPECT_EQ(ctl({"--help"}).status, 0);
    EXPECT_EQ(ctl({"get", "--help"}).status, 0);
}

TEST_F(CtlTest, a_token_without_the_right_is_denied)
{
    const std::string token = put(random_png(3, 3, PNG_COLOR_TYPE_RGB_ALPHA, 8, 1), {"--rights", "write"});
    EXPECT_EQ(ctl({"get", token, path("out.png")}).status, 5);
}

TEST_F(CtlTest, a_one_shot_token_opens_once)
{
    const std::string token = put(random_png(3, 3, PNG_COLOR_TYPE_RGB_ALPHA, 8, 1), {"--one-shot"});
    EXPECT_EQ(ctl({"get", token, path("out.png")}).status, 0);
    EXPECT_EQ(ctl({"get", token, path("out.png")}).status, 4);
}

TEST_F(CtlTest, a_token_may_come_from_standard_input)
{
    const PngFile file = random_png(3, 3, PNG_COLOR_TYPE_RGB_ALPHA, 8, 1);
    const std::string token = put(file);
    EXPECT_EQ(ctl({"get", "-", path("out.png")}, token + "\n").status, 0);
    EXPECT_TRUE(read_png(path("out.png")).samples == file.rgba());
    EXPECT_EQ(ctl({"show", "-"}, token).status, 0);
    EXPECT_EQ(ctl({"revoke", "-"}, token).status, 0);
    EXPECT_EQ(ctl({"get", "-", path("out.png")}, token).status, 4);
    EXPECT_EQ(ctl({"get", "-", path("out.png")}).status, 2) << "nothing there";
}

std::vector<pid_t> children()
{
    std::vector<pid_t> out;
    for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
        std::ifstream file(task.path() / "children");
        for (pid_t child; file >> child;) out.push_back(child);
    }
    return out;
}

TEST_F(CtlTest, p07_a_token_does_not_stay_on_the_command_line)
{
    const std::string token = put(random_png(3, 3, PNG_COLOR_TYPE_RGB_ALPHA, 8, 1));
    ::kill(broker_.pid(), SIGSTOP); // so that the tool waits where it can be looked at
    std::thread tool([&] { EXPECT_EQ(ctl({"get", token, path("out.png")}).status, 0); });
    const auto shows = [&](const std::string& word) {
        for (const pid_t pid : children()) {
            std::stringstream words;
            words << std::ifstream("/proc/" + std::to_string(pid) + "/cmdline").rdbuf();
            if (words.str().find(word) != std::string::npos) return true;
        }
        return false;
    };
    EXPECT_TRUE(eventually([&] { return shows("out.png") && !shows(token); }))
        << "at first the token is there: the kernel put it there";
    EXPECT_TRUE(shows(std::string(32, '*')));
    ::kill(broker_.pid(), SIGCONT);
    tool.join();
}

TEST_F(CtlTest, revoked_and_expired_images_are_gone)
{
    const PngFile file = random_png(3, 3, PNG_COLOR_TYPE_RGB_ALPHA, 8, 1);
    const std::string first = put(file, {"--lease", "forever"}), second = put(file), third = put(file, {"--lease", "0.2"});
    const Json image = json({"show", first}).at("image");
    EXPECT_EQ(ctl({"revoke", std::to_string(image.at("id").get<std::uint64_t>())}).status, 0);
    EXPECT_EQ(ctl({"get", first, path("out.png")}).status, 4);
    EXPECT_EQ(ctl({"revoke", second}).status, 0);
    EXPECT_EQ(ctl({"get", second, path("out.png")}).status, 4);
    EXPECT_TRUE(eventually([&] { return images() == 1; }, 5)) << "the second image has its lease, the others are gone";
    EXPECT_EQ(ctl({"get", third, path("out.png")}).status, 4);
}

TEST_F(CtlTest, alloc_says_what_was_chosen_and_ends_with_a_token)
{
    const ToolResult result =
        ctl({"alloc", "--size", "640x480", "--format", "NV12", "--backend", "memfd", "--label", "camera"});
    ASSERT_EQ(result.status, 0) << result.err;
    EXPECT_NE(result.out.find("NV12 640x480"), std::string::npos) << result.out;
    EXPECT_NE(result.out.find("chosen"), std::string::npos) << result.out;
    EXPECT_EQ(result.last_word().size(), 32u);
    const PngFile file = get(result.last_word());
    EXPECT_EQ(file.colour, PNG_COLOR_TYPE_RGB);
    EXPECT_EQ(file.width, 640u);
    const Json image = json({"list"}).at("snapshot").at("images").at(0);
    EXPECT_EQ(image.at("label"), "camera");
    EXPECT_EQ(image.at("desc").at("format"), "NV12");
}

TEST_F(CtlTest, json_is_valid_for_every_command)
{
    write_png(path("in.png"), random_png(3, 3, PNG_COLOR_TYPE_RGB_ALPHA, 8, 1));
    const Json put = json({"put", path("in.png")});
    const std::string token = put.at("token");
    EXPECT_EQ(put.at("image").at("format"), "AB24");
    EXPECT_EQ(json({"alloc", "--size", "4x4", "--format", "XR24"}).at("candidates").back().at("verdict"), "chosen");
    EXPECT_EQ(json({"get", token, path("out.png")}).at("width"), 3);
    const std::string buffer = put_bytes("bytes").last_word();
    EXPECT_EQ(json({"get", buffer, path("out.bin")}),
              (Json{{"file", path("out.bin")}, {"id", 3}, {"width", 5}, {"height", 1}, {"format", "BLOB"}}));
    EXPECT_TRUE(json({"revoke", buffer}).contains("revoked"));
    EXPECT_EQ(json({"show", token}).at("image").at("desc").at("size").at("width"), 3);
    EXPECT_FALSE(json({"devices"}).at("snapshot").at("exports").empty());
    EXPECT_FALSE(json({"formats"}).at("snapshot").at("exports").at(0).at("rows").empty());
    EXPECT_EQ(json({"list"}).at("snapshot").at("images").size(), 3u);
    EXPECT_TRUE(json({"revoke", token}).contains("revoked"));
    EXPECT_EQ(json({"get", token, path("out.png")}).at("error").at("code"), "token_revoked");
}

TEST_F(CtlTest, tables_name_what_is_there)
{
    put(random_png(30, 20, PNG_COLOR_TYPE_RGB_ALPHA, 8, 1), {"--label", "photo"});
    const std::string list = ctl({"list"}).out;
    for (const char* word : {"30x20", "AB24", "LINEAR", "memfd", "photo"})
        EXPECT_NE(list.find(word), std::string::npos) << word << "\n" << list;
    EXPECT_NE(ctl({"devices"}).out.find("memfd"), std::string::npos);
    EXPECT_NE(ctl({"formats"}).out.find("NV12"), std::string::npos);
    EXPECT_NE(ctl({"show", "1"}).out.find("stride"), std::string::npos);
}

TEST_F(CtlTest, without_the_manager_socket_strangers_images_are_unseen)
{
    put(random_png(3, 3, PNG_COLOR_TYPE_RGB_ALPHA, 8, 1));
    std::filesystem::remove(broker_.socket() + ".manager");
    EXPECT_EQ(images(), 0u);
    EXPECT_EQ(ctl({"show", "1"}).status, 4);
    EXPECT_EQ(ctl({"revoke", "1"}).status, 4);
    const std::string token = put(random_png(3, 3, PNG_COLOR_TYPE_RGB_ALPHA, 8, 1), {"--rights", "read,manage"});
    EXPECT_EQ(ctl({"revoke", token}).status, 0);
    const std::string weak = put(random_png(3, 3, PNG_COLOR_TYPE_RGB_ALPHA, 8, 1));
    EXPECT_EQ(ctl({"revoke", weak}).status, 5);
}

/// With GPU workers.
class GpuCtlTest : public CtlTest {
protected:
    GpuCtlTest() : CtlTest({}) {}
};

TEST_F(GpuCtlTest, memory_that_the_cpu_cannot_map_is_read_by_its_driver)
{
    const PngFile file = random_png(61, 43, PNG_COLOR_TYPE_RGB_ALPHA, 8, 11);
    write_png(path("in.png"), file);
    const ToolResult result = ctl({"put", path("in.png"), "--backend", "vulkan_opaque"});
    if (result.status != 0) GTEST_SKIP() << "no opaque memory here: " << result.err;
    EXPECT_TRUE(get(result.last_word()).samples == file.samples);
}

TEST_F(GpuCtlTest, bytes_that_the_cpu_cannot_map_are_read_by_their_driver)
{
    for (const std::size_t size : buffer_sizes) {
        const std::string bytes = random_bytes(size);
        const ToolResult put = put_bytes(bytes, {"--backend", "vulkan_opaque"});
        if (put.status != 0) GTEST_SKIP() << "no opaque memory here: " << put.err;
        EXPECT_TRUE(get_bytes(put.last_word()) == bytes) << size;
    }
}

} // namespace
} // namespace dmb::test

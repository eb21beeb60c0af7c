// SPDX-License-Identifier: MIT
// The headers are the interface: what they declare is exported, nothing else is, and no GPU library
// is linked. Compiled as C++17, the oldest that dmabroker.hpp promises.
#include <dmabroker/capabilities.hpp>
#include <dmabroker/dmabroker.hpp>
#include <dmabroker/egl.hpp>
#include <dmabroker/gl.hpp>
#include <dmabroker/v4l2.h>
#ifdef HAVE_VULKAN
#include <dmabroker/vulkan.hpp>
#endif

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <iterator>
#include <regex>
#include <set>

extern "C" int compiled_as_c11(void);

namespace {

std::string output_of(const std::string& command)
{
    std::string text;
    std::array<char, 4096> buffer;
    FILE* pipe = ::popen(command.c_str(), "r");
    while (const std::size_t got = std::fread(buffer.data(), 1, buffer.size(), pipe)) text.append(buffer.data(), got);
    EXPECT_EQ(::pclose(pipe), 0) << command;
    return text;
}

std::set<std::string> find_all(const std::string& text, const char* pattern)
{
    std::set<std::string> found;
    const std::regex expression(pattern);
    for (std::sregex_iterator at(text.begin(), text.end(), expression), end; at != end; ++at) found.insert((*at)[1]);
    return found;
}

/// Whatever follows DMABROKER_API up to its opening parenthesis.
std::set<std::string> declared_functions()
{
    std::set<std::string> all;
    for (const auto& header : std::filesystem::directory_iterator(HEADERS)) {
        if (header.path().extension() != ".h") continue;
#ifndef HAVE_VULKAN
        if (header.path().filename() == "vulkan.h") continue;
#endif
        std::ifstream file(header.path());
        const std::string text(std::istreambuf_iterator<char>(file), {});
        all.merge(find_all(text, R"(DMABROKER_API\s[^;(]*?(dmabroker_\w+)\()"));
    }
    return all;
}

TEST(HeaderTest, the_library_exports_exactly_what_the_headers_declare)
{
    const std::string symbols = output_of("nm -D --defined-only " LIBRARY);
    EXPECT_EQ(find_all(symbols, "[0-9a-f]+ [A-Za-z] (\\S+)"), declared_functions());
    EXPECT_GE(declared_functions().size(), 27u);
}

TEST(HeaderTest, the_library_links_no_gpu_library)
{
    const std::string needed = output_of("readelf -d " LIBRARY);
    EXPECT_NE(needed.find("libc.so"), std::string::npos);
    for (const char* unwanted : {"libEGL", "libGL", "libvulkan", "libgbm", "libdrm", "libboost"})
        EXPECT_EQ(needed.find(unwanted), std::string::npos) << unwanted;
}

TEST(HeaderTest, the_headers_compile_as_c11_and_their_initialisers_fit) { EXPECT_EQ(compiled_as_c11(), 0); }

TEST(HeaderTest, owners_move_and_do_not_copy)
{
    static_assert(std::is_nothrow_move_constructible<dmabroker::Client>::value, "");
    static_assert(std::is_nothrow_move_constructible<dmabroker::Image>::value, "");
    static_assert(std::is_nothrow_move_constructible<dmabroker::Mapping>::value, "");
    static_assert(std::is_nothrow_move_constructible<dmabroker::Access>::value, "");
    static_assert(std::is_nothrow_move_constructible<dmabroker::egl::Images>::value, "");
    static_assert(std::is_nothrow_move_constructible<dmabroker::gl::Texture>::value, "");
    static_assert(!std::is_copy_constructible<dmabroker::Image>::value, "");
    static_assert(!std::is_copy_constructible<dmabroker::Access>::value, "");
    static_assert(!std::is_copy_constructible<dmabroker::egl::Images>::value, "");
}

TEST(HeaderTest, flags_and_fourccs_are_those_of_the_c_interface)
{
    using dmabroker::Usage;
    EXPECT_EQ(dmabroker::fourcc("AB24"), 0x34324241u);
    EXPECT_EQ(dmabroker::bits(Usage::cpu_read | Usage::render), 9u);
    EXPECT_EQ(dmabroker::bits(dmabroker::Rights::all), 7u);
    EXPECT_EQ(dmabroker::detail::nanoseconds(dmabroker::forever), DMABROKER_FOREVER);
    EXPECT_EQ(dmabroker::detail::nanoseconds(std::chrono::seconds(-1)), 0u);
}

} // namespace

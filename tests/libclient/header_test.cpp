// SPDX-License-Identifier: MIT
// The headers are the interface: what they declare is exported, nothing else is, and no GPU library
// is linked. Compiled as C++17, the oldest that dmabroker.hpp promises.
#include <dmabroker/capabilities.hpp>
#include <dmabroker/cuda.hpp>
#include <dmabroker/dmabroker.hpp>
#include <dmabroker/egl.hpp>
#include <dmabroker/gl.hpp>
#include <dmabroker/v4l2.hpp>
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

std::string read(const std::filesystem::path& path)
{
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
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
        all.merge(find_all(read(header.path()), R"(DMABROKER_API\s[^;(]*?(dmabroker_\w+)\()"));
    }
    return all;
}

TEST(HeaderTest, the_library_exports_exactly_what_the_headers_declare)
{
    const std::string symbols = output_of("nm -D --defined-only --with-symbol-versions " LIBRARY);
    EXPECT_EQ(find_all(symbols, "[0-9a-f]+ [B-Z] (\\S+)@@DMABROKER_0"), declared_functions());
    EXPECT_EQ(find_all(symbols, "[0-9a-f]+ A (\\S+)"), std::set<std::string>{"DMABROKER_0"});
    EXPECT_GE(declared_functions().size(), 27u);
}

TEST(HeaderTest, the_library_needs_what_every_cpp_program_has_and_nothing_else)
{
#ifdef __SANITIZE_ADDRESS__
    GTEST_SKIP() << "a library with sanitizers needs theirs, too";
#endif
    const std::set<std::string> usual{"libc.so.6", "libm.so.6", "libgcc_s.so.1", "libstdc++.so.6"};
    for (const std::string& needed : find_all(output_of("readelf -d " LIBRARY), "\\(NEEDED\\).*\\[(\\S+)\\]"))
        EXPECT_TRUE(usual.count(needed) || needed.rfind("ld-linux", 0) == 0) << needed;
}

TEST(HeaderTest, the_headers_and_the_library_have_the_version_of_the_build)
{
    const std::string version = std::to_string(DMABROKER_VERSION_MAJOR) + "." + std::to_string(DMABROKER_VERSION_MINOR) + "." +
                                std::to_string(DMABROKER_VERSION_PATCH);
    EXPECT_EQ(version, VERSION);
    EXPECT_EQ(dmabroker::version(), DMABROKER_VERSION);
    EXPECT_EQ(DMABROKER_VERSION_NUMBER(1, 2, 3), 0x10203u);
}

TEST(HeaderTest, every_c_function_has_its_form_for_cpp)
{
    std::string text;
    for (const auto& header : std::filesystem::directory_iterator(HEADERS))
        if (header.path().extension() == ".hpp") text += read(header.path());
    for (const std::string& function : declared_functions())
        EXPECT_TRUE(std::regex_search(text, std::regex("\\b" + function + "\\b"))) << function;
}

TEST(HeaderTest, every_function_says_its_errors_whether_it_waits_and_which_thread_may_call)
{
    for (const auto& header : std::filesystem::directory_iterator(HEADERS)) {
        if (header.path().extension() != ".h") continue;
        std::string text = read(header.path());
        for (std::smatch at; std::regex_search(text, at, std::regex(R"(DMABROKER_API\s[^;(]*?(dmabroker_\w+)\()"));
             text = at.suffix()) {
            const std::string before = at.prefix();
            const std::string comment = before.substr(std::min(before.rfind("/**"), before.size()));
            for (const char* word : {"Errors: ", "Waits: ", "Threads: "})
                EXPECT_NE(comment.find(word), std::string::npos) << at[1] << " lacks " << word;
        }
    }
}

TEST(HeaderTest, the_headers_compile_as_c11_and_their_initialisers_fit) { EXPECT_EQ(compiled_as_c11(), 0); }

TEST(HeaderTest, owners_move_and_do_not_copy)
{
    static_assert(std::is_nothrow_move_constructible<dmabroker::Client>::value, "");
    static_assert(std::is_nothrow_move_constructible<dmabroker::Image>::value, "");
    static_assert(std::is_nothrow_move_constructible<dmabroker::Mapping>::value, "");
    static_assert(std::is_nothrow_move_constructible<dmabroker::MappedBytes>::value, "");
    static_assert(std::is_nothrow_move_constructible<dmabroker::egl::Images>::value, "");
    static_assert(std::is_nothrow_move_constructible<dmabroker::gl::Texture>::value, "");
    static_assert(!std::is_copy_constructible<dmabroker::Image>::value, "");
    static_assert(!std::is_copy_constructible<dmabroker::MappedBytes>::value, "");
    static_assert(!std::is_copy_constructible<dmabroker::egl::Images>::value, "");
}

TEST(HeaderTest, flags_and_fourccs_are_those_of_the_c_interface)
{
    using dmabroker::Usage;
    EXPECT_EQ(dmabroker::fourcc("AB24"), 0x34324241u);
    EXPECT_EQ(DMABROKER_FOURCC('A', 'B', '2', '4'), 0x34324241u);
    EXPECT_EQ(dmabroker::bits(Usage::cpu_read | Usage::render), 9u);
    EXPECT_EQ(dmabroker::bits(dmabroker::Rights::all), 7u);
    EXPECT_EQ(dmabroker::detail::nanoseconds(dmabroker::forever), DMABROKER_FOREVER);
    EXPECT_EQ(dmabroker::detail::nanoseconds(std::chrono::seconds(-1)), 0u);
}

} // namespace

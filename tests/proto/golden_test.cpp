// SPDX-License-Identifier: MIT
// The bytes of every message, once and for all: golden/NAME.hex, golden/*.json, and the dumps in
// PROTOCOL.md. A change here is a change of the protocol. After a deliberate one:
//     DMABROKER_REGENERATE_GOLDEN=1 BUILD/tests/proto/proto_test --gtest_filter='Golden.*'
// rewrites the files and the dumps in PROTOCOL.md; the commit then shows what changed.
#include "proto/wire/json.hpp"
#include "tests/proto/samples.hpp"

#include <cstdlib>
#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <gtest/gtest.h>
#include <set>
#include <sstream>
#include <typeindex>

namespace dmb::wire {
namespace {

const std::filesystem::path folder = GOLDEN_FOLDER;
bool regenerate() { return std::getenv("DMABROKER_REGENERATE_GOLDEN") != nullptr; }

std::string read(const std::filesystem::path& path)
{
    std::ostringstream text;
    text << std::ifstream(path, std::ios::binary).rdbuf();
    return text.str();
}

/// Offset, sixteen bytes, the same as text.
std::string dump(std::span<const std::byte> bytes)
{
    std::string out;
    for (std::size_t line = 0; line < bytes.size(); line += 16) {
        std::string hex, text;
        for (std::size_t i = line; i < line + 16 && i < bytes.size(); ++i) {
            const auto byte = static_cast<unsigned char>(bytes[i]);
            hex += fmt::format("{:02x} ", byte);
            text += byte >= 0x20 && byte < 0x7f ? static_cast<char>(byte) : '.';
        }
        out += fmt::format("{:04x}  {:<48} {}\n", line, hex, text);
    }
    return out;
}

void expect_golden(const std::string& file, const std::string& wanted)
{
    if (regenerate()) std::ofstream(folder / file, std::ios::binary) << wanted;
    EXPECT_EQ(read(folder / file), wanted) << file;
}

/// Of a variant's messages.
template <class Variant> std::size_t sampled()
{
    std::set<std::type_index> seen;
    test::for_each_sample([&](const char*, const auto& message) {
        using Message = std::decay_t<decltype(message)>;
        if constexpr (test::is_in<Message, Variant>) seen.insert(typeid(Message));
    });
    return seen.size();
}

TEST(Golden, every_message_has_a_sample)
{
    EXPECT_EQ(sampled<Request>(), std::variant_size_v<Request>);
    EXPECT_EQ(sampled<Reply>(), std::variant_size_v<Reply>);
    EXPECT_EQ(sampled<WorkerRequest>(), std::variant_size_v<WorkerRequest>);
    EXPECT_EQ(sampled<WorkerReply>(), std::variant_size_v<WorkerReply>);
}

TEST(Golden, every_message_has_the_bytes_it_always_had)
{
    test::for_each_sample([](const char* name, const auto& message) {
        using Message = std::decay_t<decltype(message)>;
        expect_golden(std::string(name) + ".hex", dump(test::encoded(message, test::sample_serial<Message>())));
    });
    expect_golden("snapshot.hex", dump(encode_snapshot(test::sample_snapshot()).value()));
    expect_golden("capabilities.hex", dump(encode_capabilities(test::sample_capabilities()).value()));
}

TEST(Golden, descriptions_and_snapshots_have_the_json_they_always_had)
{
    expect_golden("image_desc.json", to_json(test::sample_desc()));
    expect_golden("image_desc_opaque.json", to_json(test::sample_opaque_desc()));
    expect_golden("snapshot.json", to_json(test::sample_snapshot()));
    EXPECT_EQ(image_desc_from_json(read(folder / "image_desc.json")).value(), test::sample_desc());
    EXPECT_EQ(image_desc_from_json(read(folder / "image_desc_opaque.json")).value(), test::sample_opaque_desc());
}

/// Replaces what stands in the block "```hex NAME" of `text`; false when there is no such block.
bool replace_block(std::string& text, const std::string& name, const std::string& body)
{
    const std::string opening = "```hex " + name + "\n";
    const std::size_t at = text.find(opening);
    if (at == std::string::npos) return false;
    const std::size_t begin = at + opening.size(), end = text.find("```", begin);
    text.replace(begin, end - begin, body);
    return true;
}

TEST(Golden, the_dumps_in_protocol_md_are_these_bytes)
{
    const std::string before = read(PROTOCOL_FILE);
    std::string after = before;
    for (const auto& entry : std::filesystem::directory_iterator(folder))
        if (entry.path().extension() == ".hex") {
            EXPECT_TRUE(replace_block(after, entry.path().stem(), read(entry.path())))
                << entry.path().stem() << " is not shown in PROTOCOL.md";
        }
    if (regenerate()) std::ofstream(PROTOCOL_FILE, std::ios::binary) << after;
    EXPECT_EQ(read(PROTOCOL_FILE), after);
}

TEST(Golden, protocol_md_names_every_error_code_and_limit)
{
    const std::string text = read(PROTOCOL_FILE);
    for (std::uint16_t i = 1; is_valid(static_cast<Errc>(i)); ++i)
        EXPECT_NE(text.find(fmt::format("| {} | `{}` |", i, name(static_cast<Errc>(i)))), std::string::npos)
            << name(static_cast<Errc>(i));
    for (const std::size_t limit : {limits::packet_bytes, limits::snapshot_bytes, limits::modifiers, limits::wrong_tokens})
        EXPECT_NE(text.find(fmt::format(" {} |", limit)), std::string::npos) << limit;
}

} // namespace
} // namespace dmb::wire

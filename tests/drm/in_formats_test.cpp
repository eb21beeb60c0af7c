// SPDX-License-Identifier: MIT
// The IN_FORMATS blob, well-formed and not. And the addresses that sysfs writes.
#include "libclient/import/device_node.hpp"
#include "libclient/import/in_formats.hpp"
#include "tests/support/fixture.hpp"

#include <algorithm>
#include <cstring>
#include <drm_mode.h>
#include <random>

namespace dmb::import {
namespace {

class InFormatsTest : public test::FdTest {
protected:
    /// Formats 0x1000, 0x1001, ...
    static std::vector<std::byte> blob(std::uint32_t formats, const std::vector<drm_format_modifier>& modifiers)
    {
        drm_format_modifier_blob header{};
        header.version = FORMAT_BLOB_CURRENT;
        header.count_formats = formats;
        header.formats_offset = sizeof header;
        header.count_modifiers = static_cast<std::uint32_t>(modifiers.size());
        header.modifiers_offset = static_cast<std::uint32_t>(sizeof header + (formats + formats % 2) * 4);
        std::vector<std::byte> out(header.modifiers_offset + modifiers.size() * sizeof(drm_format_modifier));
        std::memcpy(out.data(), &header, sizeof header);
        for (std::uint32_t i = 0; i < formats; ++i) {
            const std::uint32_t code = 0x1000 + i;
            std::memcpy(out.data() + header.formats_offset + 4 * i, &code, 4);
        }
        if (!modifiers.empty())
            std::memcpy(out.data() + header.modifiers_offset, modifiers.data(), modifiers.size() * sizeof modifiers[0]);
        return out;
    }
    static drm_format_modifier modifier(std::uint64_t value, std::uint64_t mask, std::uint32_t offset = 0)
    {
        drm_format_modifier out{};
        out.formats = mask;
        out.offset = offset;
        out.modifier = value;
        return out;
    }
    static bool has(const std::vector<ListedFormat>& list, std::uint32_t format, std::uint64_t value)
    {
        return std::ranges::any_of(
            list, [&](const ListedFormat& p) { return p.format.value == format && p.modifier.value == value; });
    }
};

TEST_F(InFormatsTest, each_bit_of_a_mask_is_one_format)
{
    const auto list = parse_in_formats(blob(70, {modifier(0, 0b101), modifier(7, 1ull << 63), modifier(7, 0b11, 64)})).value();
    EXPECT_EQ(list.size(), 5u);
    EXPECT_TRUE(has(list, 0x1000, 0) && has(list, 0x1002, 0));
    EXPECT_TRUE(has(list, 0x1000 + 63, 7) && has(list, 0x1000 + 64, 7) && has(list, 0x1000 + 65, 7));
    EXPECT_FALSE(has(list, 0x1001, 0));
}

TEST_F(InFormatsTest, bits_beyond_the_last_format_mean_nothing)
{
    EXPECT_EQ(parse_in_formats(blob(2, {modifier(0, UINT64_MAX)})).value().size(), 2u);
    EXPECT_EQ(parse_in_formats(blob(2, {modifier(0, UINT64_MAX, UINT32_MAX)})).value().size(), 0u);
    EXPECT_TRUE(parse_in_formats(blob(0, {})).value().empty());
}

TEST_F(InFormatsTest, a_blob_that_points_past_its_end_is_refused)
{
    const auto whole = blob(6, {modifier(0, 1), modifier(1, 2)});
    for (std::size_t size = 0; size < whole.size(); ++size)
        EXPECT_FALSE(parse_in_formats(std::span(whole).first(size))) << size;
    EXPECT_TRUE(parse_in_formats(whole));
    for (const std::size_t field : {0u, 8u, 12u, 16u, 20u}) { // version, counts and offsets
        auto bad = whole;
        std::memset(bad.data() + field, 0xff, 4);
        EXPECT_FALSE(parse_in_formats(bad)) << field;
    }
}

TEST_F(InFormatsTest, random_bytes_are_never_read_past_their_end)
{
    std::mt19937 random(1);
    for (int round = 0; round < 20'000; ++round) {
        auto bytes = blob(6, {modifier(0, 1), modifier(1, 2)});
        for (int i = 0; i < 3; ++i) bytes[random() % bytes.size()] = static_cast<std::byte>(random());
        const auto list = parse_in_formats(bytes);
        EXPECT_TRUE(!list || list->size() <= bytes.size() / sizeof(drm_format_modifier) * 64);
    }
}

TEST_F(InFormatsTest, pci_addresses_are_read_as_the_kernel_writes_them)
{
    EXPECT_EQ(parse_pci("0000:03:00.1"), 0x301u);
    EXPECT_EQ(parse_pci("0001:ff:1f.7"), 0x1ffffu);
    for (const char* wrong : {"", "0000:03:00", "0000:03:20.0", "0000:03:00.8", "0000-03:00.0", "virtio0", "0000:0g:00.0"})
        EXPECT_EQ(parse_pci(wrong), 0u) << wrong;
}

} // namespace
} // namespace dmb::import

// SPDX-License-Identifier: MIT
// Capability tables as values: what a program may state, what is refused, and that a table survives JSON.
#include "tests/support/fixture.hpp"

#include <algorithm>
#include <dmabroker/capabilities.hpp>
#include <random>
#include <tuple>

namespace dmb::test {
namespace {

using dmabroker::Capabilities;
using dmabroker::fourcc;

constexpr std::uint64_t linear = DMABROKER_MODIFIER_LINEAR, implicit = DMABROKER_MODIFIER_INVALID;

class CapabilitiesTest : public FdTest {
protected:
    static Capabilities state(const std::vector<dmabroker_capability>& rows, std::uint32_t api = DMABROKER_API_OTHER)
    {
        dmabroker_capability_table table = DMABROKER_CAPABILITY_TABLE_INIT;
        table.api = api;
        table.rows = rows.data();
        table.row_count = rows.size();
        return Capabilities(table);
    }
    static int code(const dmabroker_capability_table& table, const char* part = "")
    {
        dmabroker_capabilities* made = nullptr;
        dmabroker_error error{};
        if (dmabroker_capabilities_create(&table, &made, &error) == 0) {
            dmabroker_capabilities_free(made);
            return 0;
        }
        EXPECT_EQ(made, nullptr);
        EXPECT_NE(std::string(error.text).find(part), std::string::npos) << error.text;
        return error.code;
    }
    static int code(const dmabroker_capability& row, const char* part = "")
    {
        dmabroker_capability_table table = DMABROKER_CAPABILITY_TABLE_INIT;
        table.rows = &row;
        table.row_count = 1;
        return code(table, part);
    }
};

dmabroker_capability row(std::uint32_t format, std::uint64_t modifier, std::uint32_t usage = DMABROKER_USAGE_SAMPLE)
{
    return {modifier, format, DMABROKER_DMA_BUF, usage, 1, 0, 0, 0, 0};
}
bool comes_before(const dmabroker_capability& a, const dmabroker_capability& b)
{
    return std::tie(a.kind, a.format, a.modifier) < std::tie(b.kind, b.format, b.modifier);
}

TEST_F(CapabilitiesTest, a_table_is_sorted_and_says_everything_once)
{
    const auto xr24 = fourcc("XR24"), ab24 = fourcc("AB24");
    dmabroker_capability big = row(xr24, 5), small = row(xr24, 5, DMABROKER_USAGE_RENDER);
    big.max_width = big.max_height = 8192;
    small.max_width = small.max_height = 4096;
    small.external_only = 1;
    const Capabilities table = state({row(xr24, implicit), big, row(ab24, linear), small});
    ASSERT_EQ(table.size(), 3u);
    EXPECT_TRUE(std::is_sorted(table.begin(), table.end(), comes_before));
    const auto* merged = std::find_if(table.begin(), table.end(), [](const auto& r) { return r.modifier == 5; });
    ASSERT_NE(merged, table.end());
    EXPECT_EQ(merged->usage, std::uint32_t{DMABROKER_USAGE_SAMPLE | DMABROKER_USAGE_RENDER});
    EXPECT_EQ(merged->max_width, 4096u);
    EXPECT_EQ(merged->external_only, 1u);
}

TEST_F(CapabilitiesTest, the_implicit_layout_and_linear_are_two_rows)
{
    const Capabilities table = state({row(fourcc("XR24"), linear), row(fourcc("XR24"), implicit)});
    EXPECT_EQ(table.size(), 2u);
    EXPECT_NE(state({row(fourcc("XR24"), linear)}).digest(), state({row(fourcc("XR24"), implicit)}).digest());
}

TEST_F(CapabilitiesTest, the_digest_names_the_meaning_and_not_the_order)
{
    std::mt19937_64 random(1);
    std::vector<dmabroker_capability> rows;
    for (int i = 0; i < 1000; ++i) rows.push_back(row(fourcc("XR24"), random()));
    const std::string digest = state(rows).digest();
    EXPECT_EQ(digest.size(), 64u);
    std::shuffle(rows.begin(), rows.end(), random);
    rows.insert(rows.end(), rows.begin(), rows.begin() + 500);
    EXPECT_EQ(state(rows).digest(), digest);
    EXPECT_NE(state(rows, DMABROKER_API_EGL).digest(), digest);
    rows[0].modifier ^= 1;
    EXPECT_NE(state(rows).digest(), digest);
}

TEST_F(CapabilitiesTest, a_table_may_be_empty)
{
    const Capabilities table = state({});
    EXPECT_EQ(table.size(), 0u);
    EXPECT_EQ(Capabilities::from_json(table.to_json()).digest(), table.digest());
}

TEST_F(CapabilitiesTest, duplicates_do_not_count_and_too_many_rows_are_refused_with_what_to_do)
{
    std::vector<dmabroker_capability> rows;
    for (std::uint64_t i = 0; i < 16384; ++i)
        for (int twice = 0; twice < 2; ++twice) rows.push_back(row(fourcc("XR24"), i));
    EXPECT_EQ(state(rows).size(), 16384u);
    rows.push_back(row(fourcc("XR24"), 99999));
    dmabroker_capability_table table = DMABROKER_CAPABILITY_TABLE_INIT;
    table.rows = rows.data();
    table.row_count = rows.size();
    EXPECT_EQ(code(table, "leave out"), DMABROKER_INVALID_ARGUMENT);
    table.row_count = SIZE_MAX; // must not be read
    EXPECT_EQ(code(table, "leave out"), DMABROKER_INVALID_ARGUMENT);
}

TEST_F(CapabilitiesTest, values_that_no_table_may_have_are_refused)
{
    dmabroker_capability good = row(fourcc("XR24"), linear);
    EXPECT_EQ(code(good), 0);
    const auto changed = [&](auto change) {
        dmabroker_capability bad = good;
        change(bad);
        return bad;
    };
    EXPECT_EQ(code(changed([](auto& r) { r.kind = 0; }), "kind"), DMABROKER_INVALID_ARGUMENT);
    EXPECT_EQ(code(changed([](auto& r) { r.kind = 257; }), "kind"), DMABROKER_INVALID_ARGUMENT);
    EXPECT_EQ(code(changed([](auto& r) { r.usage = 128; }), "usage"), DMABROKER_INVALID_ARGUMENT);
    EXPECT_EQ(code(changed([](auto& r) { r.format = 0; }), "format"), DMABROKER_INVALID_ARGUMENT);
    EXPECT_EQ(code(changed([](auto& r) { r.plane_count = 5; }), "plane_count"), DMABROKER_INVALID_ARGUMENT);
    EXPECT_EQ(code(changed([](auto& r) { r.reserved = 1; }), "reserved"), DMABROKER_INVALID_ARGUMENT);
    EXPECT_EQ(code(changed([](auto& r) { r.kind = DMABROKER_OPAQUE; }), "INVALID"), DMABROKER_INVALID_ARGUMENT);
    dmabroker_capability_table table = DMABROKER_CAPABILITY_TABLE_INIT;
    table.row_count = 1;
    EXPECT_EQ(code(table, "rows is NULL"), DMABROKER_INVALID_ARGUMENT);
    table.row_count = 0;
    table.api = 10;
    EXPECT_EQ(code(table, "api"), DMABROKER_INVALID_ARGUMENT);
    table.api = DMABROKER_API_V4L2;
    table.driver = "two\nlines";
    EXPECT_EQ(code(table, "driver"), DMABROKER_INVALID_ARGUMENT);
    table.driver = nullptr;
    table.stride_alignment = 1 << 21;
    EXPECT_EQ(code(table, "alignments"), DMABROKER_INVALID_ARGUMENT);
}

TEST_F(CapabilitiesTest, a_recorded_table_is_replayed_with_everything_in_it)
{
    const dmabroker_capability rows[] = {row(fourcc("NV12"), 0x0200000000000001), row(fourcc("XR24"), implicit)};
    dmabroker_capability_table stated = DMABROKER_CAPABILITY_TABLE_INIT;
    stated.api = DMABROKER_API_V4L2;
    stated.software = 1;
    stated.node = "/dev/video0";
    stated.driver = "vivid";
    stated.version = "6.12 \xc3\xa9";
    stated.render_node = 0x5100;
    stated.device_uuid[3] = 7;
    stated.driver_uuid[15] = 9;
    stated.pci = 0x10203;
    stated.stride_alignment = 64;
    stated.offset_alignment = 4096;
    stated.contiguous = 1;
    stated.rows = rows;
    stated.row_count = 2;
    const Capabilities first(stated), again = Capabilities::from_json(first.to_json());
    EXPECT_EQ(again.digest(), first.digest());
    const dmabroker_capability_table& table = again.table();
    EXPECT_EQ(table.api, std::uint32_t{DMABROKER_API_V4L2});
    EXPECT_STREQ(table.node, "/dev/video0");
    EXPECT_STREQ(table.driver, "vivid");
    EXPECT_STREQ(table.version, "6.12 \xc3\xa9");
    EXPECT_EQ(table.software, 1);
    EXPECT_EQ(table.render_node, 0x5100u);
    EXPECT_EQ(table.device_uuid[3], 7);
    EXPECT_EQ(table.driver_uuid[15], 9);
    EXPECT_EQ(table.pci, 0x10203u);
    EXPECT_EQ(table.stride_alignment, 64u);
    EXPECT_EQ(table.offset_alignment, 4096u);
    EXPECT_EQ(table.contiguous, 1);
    EXPECT_EQ(table.row_count, 2u);
    EXPECT_THROW(Capabilities::from_json("{}"), dmabroker::Error);
    EXPECT_THROW(Capabilities::from_json("not json"), dmabroker::Error);
}

TEST_F(CapabilitiesTest, the_cpu_takes_every_format_linear_as_dma_buf_and_as_memfd)
{
    const Capabilities cpu = Capabilities::cpu();
    EXPECT_EQ(cpu.table().api, std::uint32_t{DMABROKER_API_CPU});
    std::size_t dma_bufs = 0;
    for (const dmabroker_capability& r : cpu) {
        EXPECT_EQ(r.modifier, linear);
        EXPECT_EQ(r.usage, std::uint32_t{DMABROKER_USAGE_CPU_READ | DMABROKER_USAGE_CPU_WRITE});
        dma_bufs += r.kind == DMABROKER_DMA_BUF;
    }
    EXPECT_EQ(cpu.size(), 2 * dma_bufs);
    EXPECT_GE(dma_bufs, 40u);
}

} // namespace
} // namespace dmb::test

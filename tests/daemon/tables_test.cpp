// SPDX-License-Identifier: MIT
// Tables by digest: one copy for all who state the same, gone with the last of them. And the recorded ones are what
// they say they are.
#include "daemon/core/state/tables.hpp"
#include "proto/wire/digest.hpp"
#include "proto/wire/json.hpp"
#include "tests/daemon/scenario.hpp"

#include <algorithm>
#include <gtest/gtest.h>
#include <random>
#include <set>

namespace dmb::test {
namespace {

Capabilities numbered(std::uint32_t number)
{
    Capabilities table;
    table.rows.push_back({.kind = MemoryKind::dma_buf, .format = {number}, .modifier = modifier_linear});
    return table;
}
Digest digest(const Capabilities& table) { return wire::digest_of(table).value(); }
/// As the broker does: only what is not there yet is added.
TablePointer add(Tables& tables, const Capabilities& table)
{
    const TablePointer known = tables.find(digest(table));
    return known ? known : tables.add(digest(table), table, {});
}

TEST(TablesTest, a_table_is_found_by_its_digest)
{
    Tables tables;
    const TablePointer one = add(tables, numbered(1)), two = add(tables, numbered(2));
    EXPECT_EQ(tables.find(digest(numbered(1))), one);
    EXPECT_EQ(tables.find(digest(numbered(2))), two);
    EXPECT_EQ(*one, numbered(1));
    EXPECT_EQ(tables.find(digest(numbered(3))), nullptr);
    EXPECT_EQ(tables.find(Digest{}), nullptr);
}

TEST(TablesTest, whoever_states_the_same_table_shares_it)
{
    Tables tables;
    const TablePointer first = add(tables, numbered(1)), second = add(tables, numbered(1));
    EXPECT_EQ(first.get(), second.get());
    EXPECT_EQ(first.use_count(), 2) << "the tables hold none themselves";
}

TEST(TablesTest, a_table_vanishes_with_the_last_who_stated_it)
{
    Tables tables;
    TablePointer first = add(tables, numbered(1)), second = add(tables, numbered(1));
    first.reset();
    EXPECT_EQ(tables.find(digest(numbered(1))), second);
    second.reset();
    EXPECT_EQ(tables.find(digest(numbered(1))), nullptr);
    const TablePointer again = add(tables, numbered(1));
    EXPECT_EQ(tables.find(digest(numbered(1))), again);
}

TEST(TablesTest, many_that_come_and_go_lose_none_that_stay)
{
    Tables tables;
    std::vector<TablePointer> kept;
    for (std::uint32_t i = 0; i < 5000; ++i) {
        TablePointer table = add(tables, numbered(i));
        if (i % 50 == 0) kept.push_back(std::move(table));
    }
    for (std::uint32_t i = 0; i < 5000; ++i) EXPECT_EQ(tables.find(digest(numbered(i))) != nullptr, i % 50 == 0) << i;
    EXPECT_EQ(kept.size(), 100u);
}

TEST(TablesTest, digests_that_begin_alike_are_told_apart)
{
    Tables tables;
    Digest one{}, other{};
    one.back() = 1;
    other.back() = 2;
    const TablePointer first = tables.add(one, numbered(1), {}), second = tables.add(other, numbered(2), {});
    EXPECT_EQ(tables.find(one), first);
    EXPECT_EQ(tables.find(other), second);
    EXPECT_NE(first, second);
}

TEST(RecordedTables, each_is_canonical_and_comes_back_from_json_as_it_was)
{
    ASSERT_GE(recorded_names().size(), 30u);
    std::set<std::string> digests;
    for (const std::string& name : recorded_names()) {
        const TablePointer table = recorded(name);
        EXPECT_TRUE(is_canonical(*table)) << name;
        EXPECT_FALSE(table->rows.empty()) << name;
        const auto back = wire::capabilities_from_json(wire::to_json(*table));
        ASSERT_TRUE(back) << name << ": " << back.error().reason.view();
        EXPECT_EQ(*back, *table) << name;
        EXPECT_TRUE(digests.insert(to_string(digest(*table))).second) << name << " is there twice";
    }
}

TEST(RecordedTables, gpus_have_as_many_rows_as_real_ones)
{
    EXPECT_GE(recorded("nvidia_egl")->rows.size(), 300u);
    for (const char* name : {"intel_gen12_egl", "amd_rdna2_egl", "mali_panthor_egl", "llvmpipe_egl"})
        EXPECT_GE(recorded(name)->rows.size(), 100u) << name;
}

TEST(Canonical, a_hundred_thousand_rows_in_any_order_become_the_same_table)
{
    std::mt19937 random(20);
    std::uniform_int_distribution<std::uint32_t> side(0, 4);
    Capabilities table;
    for (std::uint32_t i = 0; i < 100'000; ++i) {
        const Modifier modifier{(std::uint64_t{i % 300} << 56) ^ (i / 2)};
        table.rows.push_back({.format = {i % 97},
                              .modifier = modifier,
                              .usage = Usage::from_bits(1u << random() % 7),
                              .max_size = {side(random), side(random)}});
    }
    Capabilities shuffled = table;
    std::ranges::shuffle(shuffled.rows, random);
    make_canonical(table);
    make_canonical(shuffled);
    EXPECT_EQ(table, shuffled);
    EXPECT_TRUE(is_canonical(table));
    EXPECT_EQ(digest(table), digest(shuffled));
    for (std::size_t i = 0; i < table.rows.size(); i += 997) {
        const Capability& row = table.rows[i];
        EXPECT_EQ(find_row(table, row.kind, row.format, row.modifier), &row);
    }
}

TEST(Canonical, rows_that_say_the_same_twice_become_one_with_what_both_allow)
{
    Capabilities table;
    const auto row = [](Usage usage, Extent most, bool external) {
        return Capability{MemoryKind::dma_buf, fourcc("XR24"), modifier_linear, 1, external, usage, most};
    };
    table.rows = {row(UsageFlag::sample, {0, 100}, false), row(UsageFlag::render, {50, 200}, true), row({}, {}, false)};
    make_canonical(table);
    ASSERT_EQ(table.rows.size(), 1u);
    EXPECT_EQ(table.rows[0], row(UsageFlag::sample | UsageFlag::render, {50, 100}, true));
}

} // namespace
} // namespace dmb::test

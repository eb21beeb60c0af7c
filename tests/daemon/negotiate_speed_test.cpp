// SPDX-License-Identifier: MIT
// How long a negotiation takes: eight participants with 500 pairs of format and modifier each, all of which the exporter
// can allocate and the request accepts. Measured is the median of the thread's own time, the best of five because neighbours on
// the machine slow it down too; it is printed always, and judged where the code is optimised and nothing watches it.
#include "tests/daemon/scenario.hpp"

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <gtest/gtest.h>

namespace dmb::test {
namespace {

constexpr double most_microseconds = 200;
constexpr std::uint64_t participants = 8, each_formats = 10, modifiers = 50;
const std::vector<FourCC> codes{fourcc("XR24"), fourcc("AR24"), fourcc("XB24"), fourcc("AB24"), fourcc("XR30"),
                                fourcc("AR30"), fourcc("XB30"), fourcc("AB30"), fourcc("NV12"), fourcc("P010")};

bool is_judged()
{
#if !defined(__OPTIMIZE__) || defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return false;
#else
    const char* preloaded = std::getenv("LD_PRELOAD");
    return !preloaded || std::string_view(preloaded).find("vgpreload") == std::string_view::npos;
#endif
}

/// Of participant `who`, or of the exporter (0): `shared` modifiers that all have, the rest are its own.
Modifier modifier(std::uint64_t who, std::uint64_t index, std::uint64_t shared)
{
    return {0x0200000000000001 + index * 256 + (index < shared ? 0 : who << 32)};
}

/// The exporter has what any participant has, up to the same number of pairs.
Situation world(std::uint64_t shared, Rung minimum = Rung::system_dma_buf)
{
    Situation s;
    s.alternatives.assign(codes.begin() + 1, codes.end());
    std::vector<Capability> rows;
    for (const FourCC code : codes)
        for (std::uint64_t i = 0; i < modifiers; ++i)
            rows.push_back({.format = code, .modifier = modifier(1 + i % participants, i, shared), .usage = Usage::all()});
    s.offer(Backend::gbm, Exporter{{.node = "/dev/dri/renderD128"}, Backend::gbm, {}, {}}, std::move(rows));
    s.offer(Backend::udmabuf);
    for (std::uint64_t who = 1; who <= participants; ++who) {
        Capabilities table;
        for (const FourCC code : codes)
            for (std::uint64_t i = 0; i < modifiers; ++i)
                table.rows.push_back({.format = code, .modifier = modifier(who, i, shared), .usage = UsageFlag::sample});
        make_canonical(table);
        s.party(std::to_string(who), std::make_shared<const Capabilities>(std::move(table)), UsageFlag::sample).minimum_rung =
            minimum;
    }
    return s;
}

double microseconds()
{
    timespec now{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) * 1e6 + static_cast<double>(now.tv_nsec) / 1e3;
}

double median_time(const Situation& s)
{
    std::vector<double> times;
    for (int i = 0; i < (is_judged() ? 201 : 11); ++i) {
        const double before = microseconds();
        const Plan out = s.negotiate();
        times.push_back(microseconds() - before);
    }
    std::ranges::nth_element(times, times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2));
    return times[times.size() / 2];
}

void expect_fast(const Situation& s, const char* what)
{
    double median = median_time(s);
    for (int i = 1; is_judged() && i < 5; ++i) median = std::min(median, median_time(s));
    std::printf("%s: %.0f us\n", what, median);
    if (!is_judged()) return;
    EXPECT_LT(median, 2 * most_microseconds) << what;
    // The demand is for the machine that the figures are from; a slower one, or a busy one, says by how much.
    if (median >= most_microseconds)
        GTEST_SKIP() << what << " took " << median << " us here, the demand is " << most_microseconds;
}

TEST(NegotiateSpeed, when_all_pairs_are_common_it_takes_less_than_200_microseconds)
{
    const Situation s = world(modifiers);
    EXPECT_EQ(s.negotiate().choices.size(), each_formats);
    expect_fast(s, "500 common pairs");
}

TEST(NegotiateSpeed, when_most_pairs_are_disjoint_too)
{
    const Situation s = world(2);
    EXPECT_EQ(s.negotiate().choices.at(0).modifiers.size(), 2u);
    expect_fast(s, "20 common pairs of 500");
}

TEST(NegotiateSpeed, when_no_pair_is_common_it_is_said_why_as_fast)
{
    const Situation s = world(0);
    EXPECT_TRUE(s.negotiate().choices.empty());
    EXPECT_FALSE(s.negotiate().nearest.empty());
    expect_fast(s, "no common pair of 500");
}

TEST(NegotiateSpeed, when_copies_are_accepted_who_gets_one_is_found_as_fast)
{
    const Situation s = world(0, Rung::copy);
    EXPECT_EQ(s.negotiate().copied.size(), participants - 1);
    expect_fast(s, "no common pair of 500, with copies");
}

} // namespace
} // namespace dmb::test

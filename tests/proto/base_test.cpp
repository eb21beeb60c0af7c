// SPDX-License-Identifier: MIT
// proto/base: ownership of descriptors, errors as values, checked arithmetic against a wider integer,
// bounded containers, and the check for text that a person will read.
#include "proto/base/bounded.hpp"
#include "proto/base/checked.hpp"
#include "proto/base/errc.hpp"
#include "proto/base/log.hpp"
#include "proto/base/strong.hpp"
#include "proto/base/unique_fd.hpp"
#include "tests/support/fixture.hpp"

#include <array>
#include <fcntl.h>
#include <memory>
#include <random>
#include <set>
#include <sys/eventfd.h>
#include <unistd.h>
#include <unordered_set>

namespace dmb {
namespace {

using namespace std::string_view_literals;

class UniqueFdTest : public test::FdTest {
protected:
    static UniqueFd make() { return UniqueFd::adopt(::eventfd(0, EFD_CLOEXEC)); }
    static bool is_open(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }
};

TEST_F(UniqueFdTest, closes_when_it_goes)
{
    int number;
    {
        const UniqueFd fd = make();
        number = fd.get();
        EXPECT_TRUE(is_open(number));
    }
    EXPECT_FALSE(is_open(number));
}

TEST_F(UniqueFdTest, moving_leaves_the_source_empty)
{
    UniqueFd a = make();
    const int number = a.get();
    UniqueFd b = std::move(a);
    EXPECT_FALSE(a); // NOLINT: what a moved-from owner holds is the point
    EXPECT_EQ(b.get(), number);
    EXPECT_TRUE(is_open(number));
}

TEST_F(UniqueFdTest, assigning_closes_what_was_held)
{
    UniqueFd a = make();
    const int old = a.get();
    a = make();
    EXPECT_TRUE(a);
    EXPECT_TRUE(a.get() == old || !is_open(old));
}

TEST_F(UniqueFdTest, moving_to_itself_keeps_the_descriptor)
{
    UniqueFd a = make();
    UniqueFd& same = a;
    a = std::move(same);
    EXPECT_TRUE(a);
    EXPECT_TRUE(is_open(a.get()));
}

TEST_F(UniqueFdTest, releasing_gives_the_descriptor_to_the_caller)
{
    UniqueFd a = make();
    const int number = a.release();
    EXPECT_FALSE(a);
    EXPECT_TRUE(is_open(number));
    ::close(number);
}

TEST_F(UniqueFdTest, a_duplicate_is_another_descriptor_that_closes_on_exec)
{
    const UniqueFd a = make();
    const Result<UniqueFd> b = a.duplicate();
    ASSERT_TRUE(b);
    EXPECT_NE(b->get(), a.get());
    EXPECT_EQ(::fcntl(b->get(), F_GETFD), FD_CLOEXEC);
}

TEST_F(UniqueFdTest, duplicating_nothing_is_an_error)
{
    const Result<UniqueFd> none = UniqueFd().duplicate();
    ASSERT_FALSE(none);
    EXPECT_EQ(none.error().code, Errc::internal);
    EXPECT_NE(none.error().reason.view().find("Bad file descriptor"), std::string_view::npos);
}

Result<int> half(int value)
{
    if (value % 2) return fail(Errc::invalid_argument, "{} is odd", value);
    return value / 2;
}
Result<> check_even(int value)
{
    TRY(half(value));
    return {};
}
Result<std::unique_ptr<int>> quarter(int value)
{
    TRY(check_even(value));
    const int once = TRY(half(value));
    return std::make_unique<int>(TRY(half(once)));
}

TEST(Result, try_hands_on_values_and_returns_errors)
{
    ASSERT_TRUE(quarter(12));
    EXPECT_EQ(**quarter(12), 3);
    const auto failed = quarter(6);
    ASSERT_FALSE(failed);
    EXPECT_EQ(failed.error().code, Errc::invalid_argument);
    EXPECT_EQ(failed.error().reason.view(), "3 is odd");
}

TEST(Result, a_long_reason_is_cut_and_stays_printable)
{
    const Result<> ascii = fail(Errc::internal, "{}", std::string(1000, 'x'));
    EXPECT_EQ(ascii.error().reason.size(), ascii.error().reason.max_size());
    for (std::size_t before = 0; before < 4; ++before) {
        std::string text(before, 'x');
        while (text.size() < 1000) text += "\xf0\x9f\x98\x80";
        const Result<> cut = fail(Errc::internal, "{}", text);
        EXPECT_TRUE(is_printable(cut.error().reason.view())) << before;
        EXPECT_GT(cut.error().reason.size() + 4, cut.error().reason.max_size());
    }
}

TEST(Result, a_failed_system_call_names_the_operation_and_the_cause)
{
    const Result<> failed = fail_errno(Errc::out_of_memory, "map the pool", ENOMEM);
    EXPECT_EQ(failed.error().code, Errc::out_of_memory);
    EXPECT_EQ(failed.error().reason.view(), "map the pool: Cannot allocate memory");
}

TEST(Errc, every_code_has_its_own_word_and_a_negative_errno)
{
    std::set<std::string_view> words;
    for (std::uint16_t i = 1; is_valid(static_cast<Errc>(i)); ++i) {
        EXPECT_TRUE(words.insert(name(static_cast<Errc>(i))).second) << i;
        EXPECT_LT(negative_errno(static_cast<Errc>(i)), 0);
    }
    EXPECT_EQ(words.size(), 30u);
    EXPECT_FALSE(is_valid(Errc{}));
}

__extension__ typedef unsigned __int128 Wide;

/// Values near the edges are as likely as values anywhere.
std::uint64_t edgy(std::mt19937_64& random)
{
    const std::uint64_t raw = random();
    switch (raw & 3) {
    case 0: return raw >> (raw >> 2 & 63);
    case 1: return UINT64_MAX - (random() >> (raw >> 2 & 63));
    case 2: return (std::uint64_t{1} << (raw >> 2 & 63)) + (raw >> 8 & 3) - 1;
    default: return random();
    }
}

TEST(Checked, sums_and_products_agree_with_a_wider_integer)
{
    std::mt19937_64 random(1);
    int overflows = 0;
    for (int i = 0; i < 1'000'000; ++i) {
        const std::uint64_t a = edgy(random), b = edgy(random), c = edgy(random);
        const Wide sum = Wide(a) + b;
        ASSERT_EQ((Checked(a) + b).overflowed(), sum > UINT64_MAX) << a << " + " << b;
        if (sum <= UINT64_MAX) {
            ASSERT_EQ((Checked(a) + b).value(), std::uint64_t(sum));
        }
        const Wide product = Wide(a) * b;
        ASSERT_EQ((Checked(a) * b).overflowed(), product > UINT64_MAX) << a << " * " << b;
        if (product <= UINT64_MAX) {
            ASSERT_EQ((Checked(a) * b).value(), std::uint64_t(product));
        }
        const bool fits = product <= UINT64_MAX && product + c <= UINT64_MAX;
        ASSERT_EQ((Checked(a) * b + c).overflowed(), !fits);
        ASSERT_EQ((Checked(a) * b + c).fits_in(c), fits && product == 0);
        overflows += !fits;
    }
    EXPECT_GT(overflows, 10'000);
}

TEST(Checked, what_overflowed_once_stays_so)
{
    const Checked over = Checked(UINT64_MAX) + 1;
    EXPECT_TRUE((over * 0).overflowed());
    EXPECT_TRUE((Checked(0) + over).overflowed());
    EXPECT_FALSE(over.fits_in(UINT64_MAX));
    EXPECT_TRUE(align_up(over, 4096).overflowed());
}

TEST(Checked, aligning_up_agrees_with_a_wider_integer)
{
    std::mt19937_64 random(2);
    for (int i = 0; i < 100'000; ++i) {
        const std::uint64_t value = edgy(random), alignment = std::uint64_t{1} << (random() % 64);
        const Wide wanted = (Wide(value) + alignment - 1) / alignment * alignment;
        const Checked got = align_up(value, alignment);
        if (!got.overflowed()) {
            ASSERT_EQ(got.value(), std::uint64_t(wanted));
        }
        if (Wide(value) + alignment - 1 <= UINT64_MAX) {
            ASSERT_FALSE(got.overflowed());
        }
    }
}

TEST(BoundedVector, holds_up_to_its_limit_and_compares_by_value)
{
    BoundedVector<int, 3> v;
    EXPECT_TRUE(v.empty());
    v.push_back(1);
    v.push_back(2);
    EXPECT_FALSE(v.full());
    v.push_back(3);
    EXPECT_TRUE(v.full());
    EXPECT_EQ(v, (BoundedVector<int, 3>{1, 2, 3}));
    EXPECT_NE(v, (BoundedVector<int, 3>{1, 2}));
}

TEST(BoundedVector, shrinking_resets_what_is_dropped)
{
    BoundedVector<std::shared_ptr<int>, 2> v;
    const auto watched = std::make_shared<int>(1);
    v.push_back(watched);
    EXPECT_EQ(watched.use_count(), 2);
    v.clear();
    EXPECT_EQ(watched.use_count(), 1);
    v.resize(2);
    EXPECT_EQ(v[0], nullptr);
}

TEST(BoundedText, is_cut_at_its_limit)
{
    const BoundedText<4> text("abcdef");
    EXPECT_EQ(text.view(), "abcd");
    EXPECT_EQ(BoundedText<4>(), BoundedText<4>(""));
    EXPECT_EQ(BoundedText<4>("ab").size(), 2u);
}

TEST(BoundedText, is_never_cut_inside_a_character)
{
    EXPECT_EQ(BoundedText<4>("abc\xc3\xa4").view(), "abc");
    EXPECT_EQ(BoundedText<4>("ab\xc3\xa4z").view(), "ab\xc3\xa4");
    EXPECT_EQ(BoundedText<5>("ab\xf0\x9f\x98\x80").view(), "ab");
    EXPECT_EQ(BoundedText<2>("\x80\x80\x80").view(), "\x80\x80") << "what is no UTF-8 is cut anywhere";
}

TEST(IsPrintable, accepts_text_in_any_language)
{
    for (const auto text : {""sv, "plain"sv, "gr\xc3\xbc\xc3\x9f"sv, "\xe6\x97\xa5\xe6\x9c\xac"sv, "\xf0\x9f\x98\x80"sv,
                            "\xc2\xa0"sv, "\xed\x9f\xbf"sv, "\xee\x80\x80"sv, "\xf4\x8f\xbf\xbf"sv})
        EXPECT_TRUE(is_printable(text)) << text;
}

TEST(IsPrintable, refuses_control_characters_and_direction_changes)
{
    for (const auto text : {"\0"sv, "a\0b"sv, "\x1b[31m"sv, "a\nb"sv, "\x7f"sv, "\xc2\x80"sv, "\xc2\x9f"sv, "\xe2\x80\xae"sv,
                            "\xe2\x81\xa6"sv, "\xe2\x80\xa8"sv, "\xe2\x80\x8f"sv, "\xd8\x9c"sv, "\xef\xbb\xbf"sv})
        EXPECT_FALSE(is_printable(text));
}

TEST(IsPrintable, refuses_malformed_utf8)
{
    for (const auto text : {"\x80"sv, "\xbf"sv, "\xc3"sv, "\xc3\x28"sv, "\xc0\xaf"sv, "\xc1\xbf"sv, "\xe0\x80\xaf"sv,
                            "\xe0\x9f\xbf"sv, "\xe2\x82"sv, "\xed\xa0\x80"sv, "\xed\xbf\xbf"sv, "\xf0\x8f\xbf\xbf"sv,
                            "\xf0\x9f\x98"sv, "\xf4\x90\x80\x80"sv, "\xf5\x80\x80\x80"sv, "\xfe"sv, "\xff"sv, "ok\xff"sv})
        EXPECT_FALSE(is_printable(text));
}

TEST(Strong, ids_compare_and_hash_by_value)
{
    EXPECT_LT(ImageId{1}, ImageId{2});
    EXPECT_EQ((std::unordered_set<ImageId>{{1}, {1}, {2}}.size()), 2u);
    static_assert(!std::is_convertible_v<ImageId, ClientId>);
}

TEST(Log, knows_its_levels_by_word)
{
    EXPECT_TRUE(log::enabled(log::Level::error));
    EXPECT_FALSE(log::enabled(log::Level::debug));
}

} // namespace
} // namespace dmb

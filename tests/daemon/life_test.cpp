// SPDX-License-Identifier: MIT
// What a life of the broker knows of those before it, and that no two of them ever give out the same number, whatever
// became of the file in between.
#include "daemon/net/life_file.hpp"
#include "proto/base/unique_fd.hpp"
#include "tests/support/fixture.hpp"

#include <fcntl.h>
#include <fstream>
#include <set>
#include <sstream>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

namespace dmb::test {
namespace {

constexpr std::uint64_t largest_in_json = 1ULL << 53;
constexpr std::uint64_t start_of_2020 = 1'577'836'800'000'000; ///< as the clock counts

TEST(LifeTest, a_token_is_known_as_one_of_an_earlier_life)
{
    const Life first{.first_id = 1, .key = *make_key(), .earlier = {}};
    const Life second{.first_id = 1, .key = *make_key(), .earlier = {*make_key(), first.key}};
    for (int i = 0; i < 1000; ++i) EXPECT_TRUE(is_from_earlier_life(second, *make_token(first)));
}

TEST(LifeTest, its_own_tokens_and_those_that_nobody_made_are_not_of_an_earlier_life)
{
    Life life{.first_id = 1, .key = *make_key(), .earlier = {}};
    while (!life.earlier.full()) life.earlier.push_back(*make_key());
    const Life stranger{.first_id = 1, .key = *make_key(), .earlier = {}};
    int own = 0, made_up = 0, mistyped = 0;
    for (int i = 0; i < 10'000; ++i) {
        own += is_from_earlier_life(life, *make_token(life));
        made_up += is_from_earlier_life(life, *make_token(stranger));
        Token token = *make_token({.first_id = 1, .key = life.earlier[3], .earlier = {}});
        token.bytes[static_cast<std::size_t>(i) % 16] ^= 0x10;
        mistyped += is_from_earlier_life(life, token);
    }
    // About 1.2 each, by chance.
    EXPECT_LT(own, 20);
    EXPECT_LT(made_up, 20);
    EXPECT_LT(mistyped, 20);
}

TEST(LifeTest, every_byte_of_a_token_takes_every_value)
{
    const Life life{.first_id = 1, .key = *make_key(), .earlier = {}};
    std::set<std::pair<std::size_t, std::uint8_t>> seen;
    for (int i = 0; i < 10'000; ++i) {
        const Token token = *make_token(life);
        for (std::size_t at = 0; at < token.bytes.size(); ++at) seen.emplace(at, token.bytes[at]);
    }
    EXPECT_EQ(seen.size(), 16u * 256u);
}

class LifeFileTest : public FdTest {
protected:
    void SetUp() override
    {
        char pattern[] = "/tmp/dmabroker-life-XXXXXX";
        ASSERT_NE(::mkdtemp(pattern), nullptr);
        folder = pattern;
        path = folder + "/lives";
    }
    void TearDown() override { std::filesystem::remove_all(folder); }
    std::string text() const
    {
        std::ostringstream out;
        out << std::ifstream(path).rdbuf();
        return out.str();
    }
    void write(std::string_view content) const { std::ofstream(path, std::ios::binary) << content; }
    static void begins_at_the_clock(const Life& life)
    {
        EXPECT_GT(life.first_id, start_of_2020);
        EXPECT_LT(life.first_id, largest_in_json / 2);
        EXPECT_TRUE(life.earlier.empty());
        EXPECT_NE(life.key, 0u);
    }
    std::string folder, path;
};

TEST_F(LifeFileTest, the_first_life_counts_from_one_and_the_next_goes_on)
{
    const Life first = LifeFile(folder).life(), second = LifeFile(folder).life(), third = LifeFile(folder).life();
    EXPECT_EQ(first.first_id, 1u);
    EXPECT_TRUE(first.earlier.empty());
    EXPECT_EQ(second.first_id, 65'537u);
    EXPECT_EQ(third.first_id, 131'073u);
    EXPECT_EQ(third.earlier, (decltype(third.earlier){first.key, second.key}));
}

TEST_F(LifeFileTest, the_folder_is_made_and_the_file_is_nobody_else_s)
{
    folder += "/new";
    const LifeFile file(folder);
    struct stat info{};
    ASSERT_EQ(::stat((folder + "/lives").c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, 0600u);
    EXPECT_EQ(file.life().first_id, 1u);
}

TEST_F(LifeFileTest, the_keys_of_eight_earlier_lives_are_known)
{
    std::vector<std::uint64_t> keys;
    for (int i = 0; i < 12; ++i) keys.push_back(LifeFile(folder).life().key);
    const Life last = LifeFile(folder).life();
    EXPECT_EQ(std::vector(last.earlier.begin(), last.earlier.end()), std::vector(keys.end() - 8, keys.end()));
}

TEST_F(LifeFileTest, whoever_counts_far_gets_more_numbers_before_it_needs_them)
{
    LifeFile file(folder);
    EXPECT_EQ(file.count_on_from(0), std::nullopt);
    EXPECT_EQ(file.count_on_from(40'000), std::nullopt);
    const auto more = file.count_on_from(60'000);
    EXPECT_EQ(more, 65'537u);
    EXPECT_EQ(file.count_on_from(*more), std::nullopt);
    EXPECT_GT(LifeFile(folder).life().first_id, *more + 1'000'000);
    EXPECT_EQ(LifeFile(folder).life().earlier.size(), 2u) << "one more life, not one more key";
}

TEST_F(LifeFileTest, two_brokers_with_one_folder_never_count_the_same)
{
    LifeFile one(folder), two(folder);
    std::set<std::uint64_t> starts{one.life().first_id, two.life().first_id};
    std::uint64_t first = one.life().first_id, second = two.life().first_id;
    for (int i = 0; i < 4; ++i) {
        first = one.count_on_from(first + (i == 0 ? 60'000 : 1'040'000)).value_or(0);
        second = two.count_on_from(second + (i == 0 ? 60'000 : 1'040'000)).value_or(0);
        starts.insert({first, second});
    }
    ASSERT_EQ(starts.size(), 10u);
    std::uint64_t before = 0;
    for (const std::uint64_t start : starts) {
        EXPECT_TRUE(before == 0 || start - before >= 65'536);
        before = start;
    }
}

TEST_F(LifeFileTest, without_a_folder_numbers_begin_at_the_clock)
{
    begins_at_the_clock(LifeFile("").life());
    EXPECT_EQ(LifeFile("").count_on_from(largest_in_json / 2), std::nullopt);
    begins_at_the_clock(LifeFile("/proc/nowhere").life());
    write("next 1\n");
    begins_at_the_clock(LifeFile(path).life());
}

TEST_F(LifeFileTest, what_cannot_be_read_is_replaced_and_no_number_repeats)
{
    LifeFile(folder).count_on_from(65'000);
    const std::string good = text();
    const std::uint64_t next = LifeFile(folder).life().first_id;
    for (std::size_t size = 0; size < good.size(); ++size) {
        write(good.substr(0, size));
        EXPECT_GE(LifeFile(folder).life().first_id, next) << good.substr(0, size);
        EXPECT_GT(LifeFile(folder).life().first_id, next) << "and it can be read again";
    }
    for (const std::string& bad :
         {std::string("next 0\n"), std::string("next -1\n"), std::string("next 18446744073709551615\n"),
          std::string("next 9007199254740992\n"), std::string("next  7\n"), std::string("next 7x\n"), std::string(1 << 20, '9'),
          std::string(5000, '\n'), std::string("\0next 1\n", 8)}) {
        write(bad);
        const Life life = LifeFile(folder).life();
        begins_at_the_clock(life);
        EXPECT_EQ(LifeFile(folder).life().first_id, life.first_id + 65'536);
    }
    write("next 7\nnot a key\n");
    EXPECT_EQ(LifeFile(folder).life().first_id, 7u);
}

TEST_F(LifeFileTest, whatever_lies_in_its_place_does_not_stop_the_broker)
{
    ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
    begins_at_the_clock(LifeFile(folder).life());
    std::filesystem::remove(path);
    std::filesystem::create_symlink("/etc/passwd", path);
    begins_at_the_clock(LifeFile(folder).life());
    std::filesystem::remove(path);
    std::filesystem::create_directories(path + "/full");
    begins_at_the_clock(LifeFile(folder).life());
    std::filesystem::remove_all(path);
    std::filesystem::create_directories(path + ".new");
    begins_at_the_clock(LifeFile(folder).life());
}

TEST_F(LifeFileTest, a_lock_that_is_never_given_back_does_not_stop_the_broker)
{
    const LifeFile first(folder);
    const UniqueFd lock = UniqueFd::adopt(::open((path + ".lock").c_str(), O_RDWR | O_CLOEXEC));
    ASSERT_EQ(::flock(lock.get(), LOCK_EX), 0);
    begins_at_the_clock(LifeFile(folder).life());
}

TEST_F(LifeFileTest, a_file_that_was_taken_away_meanwhile_makes_nobody_count_twice)
{
    LifeFile file(folder);
    std::filesystem::remove(path);
    EXPECT_EQ(file.count_on_from(60'000), 65'537u);
    EXPECT_EQ(LifeFile(folder).life().earlier, (decltype(Life::earlier){file.life().key}));
}

} // namespace
} // namespace dmb::test

// SPDX-License-Identifier: MIT
// A block of numbers is set aside in the file before one of them is used, so that a broker that is killed repeats none. A
// line "next N", then one line per key, the newest last. It is replaced by renaming, under a lock that other brokers
// with this folder take, too; nobody waits for the lock longer than an instant. It is not synced, because clients would
// wait for the disk: after a power cut numbers may repeat, but nobody is left who knew the old ones. Where there is no such
// file to be had, microseconds since 1970 are numbers that no earlier life came to: below 2^53 until the year 2112, and nobody
// asks for numbers faster than that. What cannot be read is replaced in the same way.
#include "daemon/net/life_file.hpp"

#include "proto/base/log.hpp"
#include "proto/base/unique_fd.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <ctime>
#include <fcntl.h>
#include <filesystem>
#include <sys/file.h>
#include <unistd.h>

namespace dmb {
namespace {

constexpr std::uint64_t first_block = 65'536;
constexpr std::uint64_t later_block = 1 << 20; ///< whoever needs a second one needs many
constexpr std::uint64_t margin = first_block / 4;
constexpr std::uint64_t no_end = UINT64_MAX;
/// A number beyond it was not counted to; and JSON ends at 2^53.
constexpr std::uint64_t largest = 1ULL << 52;

using Keys = decltype(Life::earlier);

struct Kept {
    std::uint64_t next = 1;
    Keys keys;
};

std::uint64_t clock_microseconds()
{
    timespec now{};
    ::clock_gettime(CLOCK_REALTIME, &now);
    return (static_cast<std::uint64_t>(now.tv_sec) * 1'000'000 + static_cast<std::uint64_t>(now.tv_nsec) / 1000) % largest + 1;
}

std::optional<std::uint64_t> number(std::string_view text, int base)
{
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
    if (text.empty() || error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return value;
}

/// Without its end; empty when that is missing.
std::string_view take_line(std::string_view& text)
{
    const std::size_t end = text.find('\n');
    const std::string_view line = end == std::string_view::npos ? std::string_view() : text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    return line;
}

std::optional<Kept> parse(std::string_view text)
{
    constexpr std::string_view word = "next ";
    const std::string_view line = take_line(text);
    const auto next = line.starts_with(word) ? number(line.substr(word.size()), 10) : std::nullopt;
    if (!next || *next == 0 || *next > largest) return std::nullopt;
    Kept out{*next, {}};
    while (!text.empty() && !out.keys.full()) {
        const auto key = number(take_line(text), 16);
        if (!key) break;
        out.keys.push_back(*key);
    }
    return out;
}

void remember(Keys& keys, std::uint64_t key)
{
    if (std::ranges::find(keys, key) != keys.end()) return;
    if (keys.full()) {
        std::shift_left(keys.begin(), keys.end(), 1);
        keys.resize(keys.size() - 1);
    }
    keys.push_back(key);
}

Result<UniqueFd> take_lock(const std::string& path)
{
    UniqueFd file = UniqueFd::adopt(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600));
    if (!file) return fail(Errc::internal, "{}: {}", path, std::strerror(errno));
    constexpr int tries = 20;
    for (int i = 0; ::flock(file.get(), LOCK_EX | LOCK_NB) != 0; ++i) {
        if (i == tries || errno != EWOULDBLOCK) return fail(Errc::internal, "{}: {}", path, std::strerror(errno));
        constexpr timespec pause{.tv_sec = 0, .tv_nsec = 1'000'000};
        ::nanosleep(&pause, nullptr);
    }
    return file;
}

Result<Kept> load(const std::string& path)
{
    // Not a file that would keep us waiting, whatever lies there.
    const UniqueFd file = UniqueFd::adopt(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
    if (!file && errno == ENOENT) return Kept{};
    std::array<char, 1024> buffer;
    const ssize_t size = file ? ::read(file.get(), buffer.data(), buffer.size()) : -1;
    if (size < 0) return fail(Errc::internal, "{}: {}", path, std::strerror(errno));
    if (const auto kept = parse({buffer.data(), static_cast<std::size_t>(size)})) return *kept;
    log::warning("{} cannot be read and is written anew; numbers go on from the clock", path);
    return Kept{clock_microseconds(), {}};
}

Result<> store(const std::string& path, const Kept& kept)
{
    std::string text = fmt::format("next {}\n", kept.next);
    for (const std::uint64_t key : kept.keys) text += fmt::format("{:016x}\n", key);
    const std::string fresh = path + ".new";
    ::unlink(fresh.c_str());
    const UniqueFd file = UniqueFd::adopt(::open(fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    const bool written = file && ::write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()) &&
                         ::rename(fresh.c_str(), path.c_str()) == 0;
    if (!written) return fail(Errc::internal, "{}: {}", path, std::strerror(errno));
    return {};
}

} // namespace

LifeFile::LifeFile(const std::string& folder)
{
    // Without randomness there are no tokens either: the broker ends when it makes their table.
    life_.key = make_key().value_or(0);
    std::error_code seen_later;
    if (!folder.empty()) std::filesystem::create_directories(folder, seen_later);
    if (!folder.empty()) path_ = folder + "/lives";
    life_.first_id = begin_block(first_block);
}

std::optional<std::uint64_t> LifeFile::count_on_from(std::uint64_t highest)
{
    if (end_ == no_end || highest + margin < end_) return std::nullopt;
    return begin_block(later_block);
}

std::uint64_t LifeFile::begin_block(std::uint64_t size)
{
    const Result<std::uint64_t> first = path_.empty() ? fail(Errc::internal, "no folder to keep them in") : set_aside(size);
    const std::uint64_t now = std::max(clock_microseconds(), end_ == no_end ? 0 : end_);
    end_ = first ? *first + size : no_end;
    if (first) return *first;
    log::warning("numbers are counted from the clock, {}: {}", now, first.error().reason.view());
    return now;
}

Result<std::uint64_t> LifeFile::set_aside(std::uint64_t size)
{
    const UniqueFd lock = TRY(take_lock(path_ + ".lock"));
    Kept kept = TRY(load(path_));
    const std::uint64_t first = std::max(kept.next, end_); // the file may have been taken away meanwhile
    if (end_ == 0) life_.earlier = kept.keys;
    kept.next = first + size;
    remember(kept.keys, life_.key);
    TRY(store(path_, kept));
    return first;
}

} // namespace dmb

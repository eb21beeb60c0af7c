// SPDX-License-Identifier: MIT
// How many lines a misbehaving user may cause in the log: a few at once, then one now and then, which
// says how many were left out.
#pragma once
#include "proto/base/instant.hpp"

#include <optional>
#include <unordered_map>

namespace dmb {

class LogBudget {
public:
    /// Nothing: stay silent. Else: write it; the value is how many were left out since the last one.
    std::optional<std::uint64_t> spend(std::uint64_t user, Instant now)
    {
        if (users_.size() >= most_users && !users_.contains(user)) users_.clear();
        Entry& entry = users_[user];
        if (now >= after(entry.window, window_ns)) entry = {.window = now, .lines = 0, .left_out = entry.left_out};
        if (++entry.lines > lines_per_window) {
            ++entry.left_out;
            return std::nullopt;
        }
        const std::uint64_t left_out = entry.left_out;
        entry.left_out = 0;
        return left_out;
    }

private:
    static constexpr std::uint64_t window_ns = 10'000'000'000;
    static constexpr std::uint32_t lines_per_window = 10;
    static constexpr std::size_t most_users = 256;
    struct Entry {
        Instant window;
        std::uint32_t lines = 0;
        std::uint64_t left_out = 0;
    };
    std::unordered_map<std::uint64_t, Entry> users_;
};

} // namespace dmb

// SPDX-License-Identifier: MIT
// The sink of the log, the only global state: a threshold, set once by main(). It writes whole lines with one write(2),
// so lines of several processes do not mix. A standard error that blocks or is gone must not stop the broker: the write
// is tried once and its result dropped. Who may cause how many lines is policy/log_budget's.
#include "proto/base/log.hpp"

#include <cstdlib>
#include <unistd.h>

namespace dmb::log {
namespace {

Level threshold = Level::info;

std::string_view prefix(Level level)
{
    static const bool journal = std::getenv("JOURNAL_STREAM") != nullptr;
    switch (level) {
    case Level::error: return journal ? "<3>" : "error: ";
    case Level::warning: return journal ? "<4>" : "warning: ";
    case Level::info: return journal ? "<6>" : "";
    case Level::debug: return journal ? "<7>" : "debug: ";
    }
    return "";
}

} // namespace

void set_level(Level level) { threshold = level; }
bool enabled(Level level) { return level <= threshold; }

void write(Level level, std::string_view line)
{
    const std::string whole = fmt::format("{}{}\n", prefix(level), line);
    [[maybe_unused]] const auto written = ::write(STDERR_FILENO, whole.data(), whole.size());
}

} // namespace dmb::log

// SPDX-License-Identifier: MIT
// The log: one line per event on standard error, with a level. Where standard error is the journal,
// lines carry its priority prefix. The sink is the only global state of the project.
#pragma once
#include <fmt/core.h>
#include <string>
#include <string_view>

namespace dmb::log {

enum class Level { error, warning, info, debug };

void set_level(Level);
bool enabled(Level);
void write(Level, std::string_view line);

template <class... Args> void print(Level level, fmt::format_string<Args...> format, Args&&... args)
{
    if (enabled(level)) write(level, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args> void error(fmt::format_string<Args...> f, Args&&... a)
{
    print(Level::error, f, std::forward<Args>(a)...);
}
template <class... Args> void warning(fmt::format_string<Args...> f, Args&&... a)
{
    print(Level::warning, f, std::forward<Args>(a)...);
}
template <class... Args> void info(fmt::format_string<Args...> f, Args&&... a)
{
    print(Level::info, f, std::forward<Args>(a)...);
}
template <class... Args> void debug(fmt::format_string<Args...> f, Args&&... a)
{
    print(Level::debug, f, std::forward<Args>(a)...);
}

} // namespace dmb::log

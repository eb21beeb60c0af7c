// SPDX-License-Identifier: MIT
// Whether this process runs under a sanitizer or valgrind, and what that means for a test.
#pragma once
#include <algorithm>
#include <cstdlib>
#include <string_view>

namespace dmb::test {

/// Valgrind makes every process many times slower.
inline bool under_valgrind()
{
    const char* preloaded = std::getenv("LD_PRELOAD");
    return preloaded && std::string_view(preloaded).find("vgpreload") != std::string_view::npos;
}

/// Neither time nor memory are those of the program itself.
inline bool is_instrumented()
{
#if defined(__SANITIZE_ADDRESS__)
    return true;
#else
    return under_valgrind();
#endif
}

/// How often to repeat what takes microseconds: as said; a tenth where each takes ten times as long; and
/// DMABROKER_ROUNDS times as often by hand, for the numbers of the fault list.
inline int rounds(int usual)
{
    const char* times = std::getenv("DMABROKER_ROUNDS");
    const int wanted = usual * (times ? std::atoi(times) : 1);
    return is_instrumented() ? std::max(wanted / 10, 1) : wanted;
}

} // namespace dmb::test

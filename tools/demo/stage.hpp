// SPDX-License-Identifier: MIT
// How a renderer talks to the demo script: one line, then it holds its image until it is ended.
#pragma once
#include <chrono>
#include <cstdlib>
#include <dmabroker/dmabroker.hpp>
#include <iostream>
#include <unistd.h>

namespace dmb::demo {

inline constexpr dmabroker::Size picture{384, 288};

class Stopwatch {
public:
    double milliseconds() const
    {
        return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start_).count();
    }

private:
    std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

/// NAME TOKEN MILLISECONDS HOW
inline void present(const std::string& name, dmabroker::Image& image, double milliseconds, const std::string& how)
{
    std::cout << name << ' ' << image.token(dmabroker::Rights::read) << ' ' << milliseconds << ' ' << how << std::endl;
    for (;;) ::pause();
}

/// main() of a renderer: a sentence instead of an abort.
template <class Render> int run(const char* name, Render render)
{
    try {
        render();
        return EXIT_SUCCESS;
    } catch (const std::exception& e) {
        std::cerr << name << ": " << e.what() << std::endl;
        return EXIT_FAILURE;
    }
}

} // namespace dmb::demo

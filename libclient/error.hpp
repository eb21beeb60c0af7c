// SPDX-License-Identifier: MIT
// From Result to the C ABI: a negative errno and a filled dmabroker_error. Every extern "C" function
// that can fail runs its body inside guard(), so that no exception reaches a caller's C frames.
#pragma once
#include "proto/base/result.hpp"

#include <dmabroker/dmabroker.h>
#include <type_traits>

namespace dmb {

/// Fills `out` (may be null) and returns the negative errno of the code.
int report(const Error&, dmabroker_error* out);
/// The same for the exception being handled: out_of_memory for bad_alloc, internal for anything else.
int report_current_exception(dmabroker_error* out);

/// Runs `body`, which returns Result<> or Result<int> (a result that is not negative).
template <class Body> int guard(dmabroker_error* error, Body&& body)
{
    try {
        auto result = body();
        if (!result) return report(result.error(), error);
        if constexpr (std::is_void_v<typename decltype(result)::value_type>) return 0;
        else return *result;
    } catch (...) {
        return report_current_exception(error);
    }
}

} // namespace dmb

// SPDX-License-Identifier: MIT
// From this process's images to libdmabroker's, so that what works here is what works in applications; and the wall
// at which the exceptions of its C++ interface and of libclient/headless end.
#pragma once
#include "proto/image/image.hpp"

#include <dmabroker/dmabroker.hpp>

namespace dmb::worker {

/// A hold with all rights, without a broker. Takes the descriptors over.
Result<dmabroker::Image> hold(Image);

/// Runs it and makes an Error of whatever it throws.
template <class Work> auto caught(Work work) -> Result<decltype(work())>
{
    try {
        if constexpr (std::is_void_v<decltype(work())>) {
            work();
            return {};
        } else {
            return work();
        }
    } catch (const dmabroker::Error& error) {
        return fail(static_cast<Errc>(error.code()), "{}", error.what());
    } catch (const std::exception& error) {
        return fail(Errc::backend_failed, "{}", error.what());
    }
}

} // namespace dmb::worker

// SPDX-License-Identifier: MIT
// One slow request from the question to its result. Blocking calls have it on their stack; what was started
// asynchronously waits in the client until its completion was taken.
#pragma once
#include "libclient/handle.hpp"
#include "libclient/requests.hpp"
#include "proto/wire/messages.hpp"

#include <memory>
#include <optional>
#include <vector>

namespace dmb {

using Question = std::variant<wire::Allocate, wire::Join, wire::Register, wire::Refresh, wire::ManageProofs>;

struct Operation {
    Question question;

    // Of one that was started asynchronously.
    std::uint64_t number = 0;  ///< never repeats for its client
    void* user_data = nullptr; ///< the caller's
    std::optional<Slot> slot;  ///< while it has not ended

    // The result.
    std::optional<Error> failure;
    std::unique_ptr<dmabroker_image> image;
    std::uint64_t cost_ns = 0;
    RequestId request; ///< the negotiation behind it; 0: none

    /// Drops what it gave, if it gave something.
    void fail(const Error& error)
    {
        failure = error;
        image.reset();
        cost_ns = 0;
    }
};

} // namespace dmb

// SPDX-License-Identifier: MIT
// Requests that take time: which there are is State's, who waits for them is here. Each is answered exactly once, by its
// result or by its cancellation; the result of one that nobody waits for any more is dropped by whoever brings it.
#pragma once
#include "daemon/core/serving/images.hpp"

namespace dmb {

struct OperationAnswer {
    Result<std::vector<Held>> held; ///< refresh and warm-up: none
    RequestId request;              ///< for `why`; 0: nothing was negotiated
    std::uint64_t cost_ns = 0;      ///< of a refresh
};
using OperationDone = std::move_only_function<void(const OperationAnswer&)>;

class Operations {
public:
    explicit Operations(State& state) : state_(state) {}

    void begin(const Operation&, OperationDone done);
    /// Of a client, those that nobody waits for any more included.
    std::size_t count(ClientId) const;
    /// False: cancelled, or its client left.
    bool is_wanted(const OperationId&) const;
    /// What it is charged for is given back. `done` is called if somebody waits.
    void finish(const OperationId&, const OperationAnswer&);
    /// False: nobody waits for that. It stays until it is finished.
    bool cancel(const OperationId&);
    /// All of a client that leaves.
    std::vector<OperationId> abandon_all(ClientId);

private:
    State& state_;
    std::map<OperationId, OperationDone> waiting_;
};

} // namespace dmb

// SPDX-License-Identifier: MIT
// What the broker knows of whoever makes memory. System backends answer before allocate() returns;
// workers answer later. The list of backends is in main.cpp.
#pragma once
#include "daemon/alloc/allocated.hpp"
#include "daemon/alloc/helper.hpp"
#include "proto/base/instant.hpp"
#include "proto/request/request.hpp"

#include <functional>
#include <span>

namespace dmb {

using Completion = std::move_only_function<void(Result<Allocated>, Instant now)>;

class Allocator {
public:
    virtual ~Allocator() = default;
    /// One entry per (device, backend); `problem` is set where it cannot serve.
    virtual std::span<const Exports> exports() const = 0;
    /// Which backends it may offer, known before exports() is.
    virtual BackendSet offers() const = 0;
    /// True while exports() is not known yet but will be.
    virtual bool starting() const { return false; }
    /// `contents` is duplicated, -1 for none. `device`: an index into exports(). `done` is called exactly once. Errors as
    /// for Helper.
    virtual void allocate(std::uint8_t device, const AllocateSpec&, const LayoutRules&, int contents, Instant now,
                          Completion done) = 0;
    /// Who can look into what it allocated; null: anybody who can map it.
    virtual Helper* helper() { return nullptr; }
};

} // namespace dmb

// SPDX-License-Identifier: MIT
// What `dmabroker_capabilities *` points at: a canonical table, its name, and both in the shape of the C ABI.
#pragma once
#include "libclient/arguments.hpp"
#include "libclient/error.hpp"
#include "proto/image/capabilities.hpp"

#include <dmabroker/capabilities.h>
#include <memory>
#include <string>
#include <vector>

struct dmabroker_capabilities {
    dmb::Capabilities table;
    dmb::Digest digest{};
    std::string digest_text;
    // The same for the caller; the view points into the others, so none of this ever moves.
    std::string node, driver, version;
    std::vector<dmabroker_capability> rows;
    dmabroker_capability_table view{};

    dmabroker_capabilities() = default;
    dmabroker_capabilities(const dmabroker_capabilities&) = delete;
    dmabroker_capabilities& operator=(const dmabroker_capabilities&) = delete;
};

namespace dmb {

/// Makes it canonical and names it. Refuses what is too large for the broker.
Result<std::unique_ptr<dmabroker_capabilities>> make_capabilities(Capabilities);
/// From the caller; every value is judged.
Result<Capabilities> to_table(const dmabroker_capability_table&);
/// All formats, LINEAR, as dma-buf and memfd.
Capabilities cpu_table();

/// Of the functions that read a table: what `read` returns, a Result<Capabilities>, for the caller.
template <class Read> int hand_out(dmabroker_capabilities** capabilities, dmabroker_error* error, Read read)
{
    return guard(error, [&]() -> Result<> {
        TRY(require(capabilities, "capabilities"));
        *capabilities = nullptr;
        Capabilities table = TRY(read());
        *capabilities = TRY(make_capabilities(std::move(table))).release();
        return {};
    });
}

} // namespace dmb

// SPDX-License-Identifier: MIT
// extern "C": capability tables that need no GPU library. Thin: each function judges its arguments, calls what is
// inside and puts its Result into the caller's hands; errors and exceptions end in guard(). A dmabroker_capabilities is
// the caller's, never changes, and knows no client. The tables of EGL, GL, Vulkan, GBM and KMS are in import/.
#include "libclient/capabilities.hpp"
#include "libclient/convert.hpp"
#include "libclient/error.hpp"
#include "proto/wire/json.hpp"

using namespace dmb;

extern "C" {

int dmabroker_capabilities_create(const dmabroker_capability_table* table, dmabroker_capabilities** capabilities,
                                  dmabroker_error* error)
{
    return hand_out(capabilities, error, [&]() -> Result<Capabilities> {
        const dmabroker_capability_table given = TRY(read_struct(table));
        return to_table(given);
    });
}

int dmabroker_cpu_capabilities(dmabroker_capabilities** capabilities, dmabroker_error* error)
{
    return hand_out(capabilities, error, []() -> Result<Capabilities> { return cpu_table(); });
}

void dmabroker_capabilities_free(dmabroker_capabilities* capabilities) { delete capabilities; }

const dmabroker_capability_table* dmabroker_capabilities_get(const dmabroker_capabilities* capabilities)
{
    return capabilities ? &capabilities->view : nullptr;
}

const char* dmabroker_capabilities_digest(const dmabroker_capabilities* capabilities)
{
    return capabilities ? capabilities->digest_text.c_str() : nullptr;
}

int dmabroker_capabilities_to_json(const dmabroker_capabilities* capabilities, char** json, dmabroker_error* error)
{
    return guard(error, [&]() -> Result<> {
        TRY(require(capabilities, "capabilities"));
        TRY(require(json, "json"));
        return copy_out(wire::to_json(capabilities->table), json);
    });
}

int dmabroker_capabilities_from_json(const char* json, dmabroker_capabilities** capabilities, dmabroker_error* error)
{
    return hand_out(capabilities, error, [&]() -> Result<Capabilities> {
        TRY(require(json, "json"));
        return wire::capabilities_from_json(json);
    });
}

} // extern "C"

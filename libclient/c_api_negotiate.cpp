// SPDX-License-Identifier: MIT
// extern "C": stating tables, joining, moving to a successor, refreshing copies, and asking why. Thin: each function
// judges its arguments, calls Client and puts its Result into the caller's hands; errors and exceptions end in guard().
// Slow ones have a form that only starts them, in c_api_operations.cpp.
#include "libclient/capabilities.hpp"
#include "libclient/client.hpp"
#include "libclient/convert.hpp"
#include "libclient/error.hpp"
#include "libclient/questions.hpp"
#include "proto/wire/json.hpp"

using namespace dmb;

extern "C" {

int dmabroker_state_capabilities(dmabroker_client* client, const dmabroker_capabilities* capabilities, dmabroker_error* error)
{
    return guard(error, [&]() -> Result<> {
        const Turn turn = TRY(Turn::with(client));
        TRY(require(capabilities, "capabilities"));
        return turn->state(capabilities->table, capabilities->digest);
    });
}

int dmabroker_join(dmabroker_client* client, const char* token, uint32_t rights, const dmabroker_participant* participant,
                   dmabroker_image** image, dmabroker_error* error)
{
    return guard(error, [&]() -> Result<> {
        const Turn turn = TRY(Turn::with(client));
        TRY(require(image, "image"));
        *image = nullptr;
        Asked asked = TRY(asked_join(token, rights, participant));
        *image = TRY(turn->ask_for_image({.question = std::move(asked.question)}, {})).release();
        return {};
    });
}

int dmabroker_image_open_successor(dmabroker_image* image, dmabroker_image** successor, dmabroker_error* error)
{
    return guard(error, [&]() -> Result<> {
        TRY(require(successor, "successor"));
        *successor = nullptr;
        const Turn turn = TRY(Turn::with(image));
        *successor = TRY(turn->open_successor(*image)).release();
        return {};
    });
}

int dmabroker_image_refresh(dmabroker_image* image, uint64_t* cost_ns, dmabroker_error* error)
{
    return guard(error, [&]() -> Result<> {
        const Turn turn = TRY(Turn::with(image));
        const wire::Refresh question = TRY(asked_refresh(*image));
        const std::uint64_t cost = TRY(turn->refresh(question));
        if (cost_ns) *cost_ns = cost;
        return {};
    });
}

uint64_t dmabroker_last_request(const dmabroker_client* client)
{
    const auto turn = Turn::with(client);
    return turn ? (*turn)->last_request().value : 0;
}

int dmabroker_why(dmabroker_client* client, uint64_t request, uint64_t image, char** json, dmabroker_error* error)
{
    return guard(error, [&]() -> Result<> {
        const Turn turn = TRY(Turn::with(client));
        TRY(require(json, "json"));
        *json = nullptr;
        const Decision decision = TRY(turn->why({RequestId{request}, ImageId{image}}));
        return copy_out(wire::to_json(decision), json);
    });
}

int dmabroker_manage_proofs(dmabroker_client* client, int action, dmabroker_error* error)
{
    return guard(error, [&]() -> Result<> {
        const Turn turn = TRY(Turn::with(client));
        return turn->manage_proofs(TRY(asked_proofs(action)));
    });
}

} // extern "C"

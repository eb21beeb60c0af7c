// SPDX-License-Identifier: MIT
// extern "C": slow calls that only start. Thin: arguments become a question (questions.cpp), and the caller gets its
// number; the result comes as a completion from dmabroker_next_event, exactly once, unless the client is closed before.
// Errors of the arguments are returned at once; nothing here waits for the broker.
#include "libclient/client.hpp"
#include "libclient/convert.hpp"
#include "libclient/error.hpp"
#include "libclient/questions.hpp"

using namespace dmb;

namespace {

Result<> start(Client& client, Asked asked, void* user_data, uint64_t* operation)
{
    const std::uint64_t number = TRY(client.start(std::move(asked.question), std::move(asked.fds), user_data));
    if (operation) *operation = number;
    return {};
}

} // namespace

extern "C" {

int dmabroker_allocate_start(dmabroker_client* client, const dmabroker_allocation* allocation, void* user_data,
                             uint64_t* operation, dmabroker_error* error)
{
    return guard(error, [&]() -> Result<> {
        const Turn turn = TRY(Turn::with(client));
        return start(*turn, TRY(asked_allocation(allocation)), user_data, operation);
    });
}

int dmabroker_join_start(dmabroker_client* client, const char* token, uint32_t rights, const dmabroker_participant* participant,
                         void* user_data, uint64_t* operation, dmabroker_error* error)
{
    return guard(error, [&]() -> Result<> {
        const Turn turn = TRY(Turn::with(client));
        return start(*turn, TRY(asked_join(token, rights, participant)), user_data, operation);
    });
}

int dmabroker_register_start(dmabroker_client* client, const dmabroker_image_info* info, const int* fds, const char* label,
                             uint64_t lease_ns, void* user_data, uint64_t* operation, dmabroker_error* error)
{
    return guard(error, [&]() -> Result<> {
        const Turn turn = TRY(Turn::with(client));
        return start(*turn, TRY(asked_registration(info, fds, label, lease_ns)), user_data, operation);
    });
}

int dmabroker_image_refresh_start(dmabroker_image* image, void* user_data, uint64_t* operation, dmabroker_error* error)
{
    return guard(error, [&]() -> Result<> {
        const Turn turn = TRY(Turn::with(image));
        return start(*turn, {TRY(asked_refresh(*image)), {}}, user_data, operation);
    });
}

int dmabroker_manage_proofs_start(dmabroker_client* client, int action, void* user_data, uint64_t* operation,
                                  dmabroker_error* error)
{
    return guard(error, [&]() -> Result<> {
        const Turn turn = TRY(Turn::with(client));
        return start(*turn, {TRY(asked_proofs(action)), {}}, user_data, operation);
    });
}

int dmabroker_cancel(dmabroker_client* client, uint64_t operation, dmabroker_error* error)
{
    return guard(error, [&]() -> Result<> {
        const Turn turn = TRY(Turn::with(client));
        return turn->cancel(operation);
    });
}

} // extern "C"

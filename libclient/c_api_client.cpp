// SPDX-License-Identifier: MIT
// extern "C": connection, events, inspection, revoking. Thin: each function judges its arguments, calls Client and puts
// its Result into the caller's hands; errors and exceptions end in guard(). A dmabroker_client is the caller's until
// dmabroker_client_close; images may outlive it. Where a broker is looked for is lookup.cpp's.
#include "libclient/client.hpp"
#include "libclient/convert.hpp"
#include "libclient/error.hpp"
#include "libclient/lookup.hpp"
#include "proto/wire/json.hpp"

#include <cerrno>
#include <cstdlib>

using namespace dmb;

namespace {

constexpr std::uint64_t default_timeout_ns = 30'000'000'000;

/// A program's own name may be anything; then it has none.
Result<Name> client_name(const char* given)
{
    if (given) return to_name(given, "name of the client");
    const std::string_view own = program_invocation_short_name;
    return is_printable(own) ? Name(own.substr(0, Name::max_size())) : Name();
}

/// DMABROKER_FOREVER is no limit, which inside is 0.
std::uint64_t time_limit(std::uint64_t timeout_ns)
{
    if (timeout_ns == 0) return default_timeout_ns;
    return timeout_ns == DMABROKER_FOREVER ? 0 : timeout_ns;
}

} // namespace

extern "C" {

uint32_t dmabroker_version(void) { return DMABROKER_VERSION; }

const char* dmabroker_code_name(int code)
{
    if (code <= 0 || code > UINT16_MAX || !is_valid(static_cast<Errc>(code))) return "unknown";
    return name(static_cast<Errc>(code)).data();
}

int dmabroker_connect(const dmabroker_connect_options* options, dmabroker_client** client, dmabroker_error* error)
{
    return guard(error, [&]() -> Result<> {
        TRY(require(client, "client"));
        *client = nullptr;
        const dmabroker_connect_options wanted = TRY(read_optional(options));
        Address address;
        address.name = TRY(client_name(wanted.name));
        address.timeout_ns = time_limit(wanted.timeout_ns);
        address.manager = wanted.manager != 0;
        Found found = TRY(find_broker(wanted.remote, address.manager, address.timeout_ns));
        address.path = std::move(found.path);
        *client = TRY(Client::create(std::move(found.socket), std::move(address))).release();
        return {};
    });
}

int dmabroker_connect_fd(int socket, const char* name, dmabroker_client** client, dmabroker_error* error)
{
    return guard(error, [&]() -> Result<> {
        UniqueFd owned = TRY(adopt_socket(socket));
        TRY(require(client, "client"));
        *client = nullptr;
        Address address;
        address.name = TRY(client_name(name));
        address.timeout_ns = default_timeout_ns;
        *client = TRY(Client::create(std::move(owned), std::move(address))).release();
        return {};
    });
}

void dmabroker_client_close(dmabroker_client* client)
{
    const auto last_turn = Turn::with(client); // after calls of its images in other threads
    delete client;
}

int dmabroker_reconnect(dmabroker_client* client, dmabroker_error* error)
{
    return guard(error, [&]() -> Result<int> {
        const Turn turn = TRY(Turn::with(client));
        return TRY(turn->reconnect()) ? 1 : 0;
    });
}

int dmabroker_get_fd(dmabroker_client* client)
{
    return guard(nullptr, [&]() -> Result<int> {
        const Turn turn = TRY(Turn::with(client));
        return turn->fd();
    });
}

int dmabroker_dispatch(dmabroker_client* client, dmabroker_error* error)
{
    return guard(error, [&]() -> Result<> {
        const Turn turn = TRY(Turn::with(client));
        return turn->dispatch();
    });
}

int dmabroker_next_event(dmabroker_client* client, dmabroker_event* event)
{
    return guard(nullptr, [&]() -> Result<int> {
        const Turn turn = TRY(Turn::with(client));
        TRY(require(event, "event"));
        dmabroker_event next{};
        TRY(write_struct(next, event)); // before an event is taken that could not be given
        if (!turn->next_event(next)) return 0;
        TRY(write_struct(next, event));
        return 1;
    });
}

int dmabroker_inspect(dmabroker_client* client, uint64_t id, char** json, dmabroker_error* error)
{
    return guard(error, [&]() -> Result<> {
        const Turn turn = TRY(Turn::with(client));
        TRY(require(json, "json"));
        return copy_out(wire::to_json(TRY(turn->inspect(ImageId{id}))), json);
    });
}

int dmabroker_revoke_token(dmabroker_client* client, const char* token, dmabroker_error* error)
{
    return guard(error, [&]() -> Result<> {
        const Turn turn = TRY(Turn::with(client));
        return turn->revoke(TRY(to_token(token)));
    });
}

int dmabroker_revoke_image(dmabroker_client* client, uint64_t id, dmabroker_error* error)
{
    return guard(error, [&]() -> Result<> {
        const Turn turn = TRY(Turn::with(client));
        return turn->revoke(ImageId{id});
    });
}

int dmabroker_image_to_json(const dmabroker_image_info* info, char** json, dmabroker_error* error)
{
    return guard(error, [&]() -> Result<> {
        TRY(require(json, "json"));
        const dmabroker_image_info copy = TRY(read_struct(info));
        return copy_out(wire::to_json(TRY(to_desc(copy))), json);
    });
}

int dmabroker_image_from_json(const char* json, dmabroker_image_info* info, dmabroker_error* error)
{
    return guard(error, [&]() -> Result<> {
        TRY(require(json, "json"));
        return write_struct(to_info(TRY(wire::image_desc_from_json(json))), info);
    });
}

void dmabroker_free(void* memory) { std::free(memory); }

} // extern "C"

// SPDX-License-Identifier: MIT
// libdmabroker's C handles with owners, and its errors as Result: what every command stands on.
#pragma once
#include "proto/base/result.hpp"
#include "proto/image/types.hpp"

#include <dmabroker/dmabroker.h>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace dmb::ctl {

using Json = nlohmann::ordered_json;

template <auto Close> struct Closer {
    template <class T> void operator()(T* handle) const { Close(handle); }
};
using ClientHandle = std::unique_ptr<dmabroker_client, Closer<dmabroker_client_close>>;
using ImageHandle = std::unique_ptr<dmabroker_image, Closer<dmabroker_image_close>>;
using MappingHandle = std::unique_ptr<dmabroker_cpu_mapping, Closer<dmabroker_cpu_unmap>>;

/// What all commands have in common.
struct Global {
    std::string socket; ///< empty: where the library looks
    bool json = false;
    Json* details = nullptr; ///< what a failed command adds to its JSON
};

/// Lends a dmabroker_error to one call: `CallError error; check(dmabroker_x(..., error), error)`.
struct CallError {
    dmabroker_error value{};
    operator dmabroker_error*() { return &value; }
};
Result<> check(int result, const CallError& error);

enum class ConnectAs { client, manager_if_possible };
/// With manager_if_possible: the manager socket if it can be reached, else the client socket.
Result<ClientHandle> connect(const Global&, ConnectAs as = ConnectAs::client);

/// `rights` and `usage` as dmabroker_open. A word that cannot be a token is not_found, like any other
/// that names nothing.
Result<ImageHandle> open_token(dmabroker_client*, const std::string& token, Rights rights, Usage usage);
Result<std::string> mint_token(dmabroker_image*, Rights rights, bool one_shot);
/// Maps all planes and begins what must be ended with end_mapping(), in the same direction (dmabroker_direction).
Result<MappingHandle> map(dmabroker_image*, std::uint32_t direction);
Result<> end_mapping(dmabroker_cpu_mapping*, std::uint32_t direction);
/// The "snapshot" of dmabroker_inspect.
Result<Json> inspect(dmabroker_client*, std::uint64_t id = 0);

} // namespace dmb::ctl

// SPDX-License-Identifier: MIT
// revoke: an image by its number, or a token. Through the manager socket anything can be revoked. Without it a token
// with the manage right must be given: opening the image by it is what gives this connection the right, for as long as
// the command runs.
#include "tools/dmabrokerctl/commands.hpp"
#include "tools/dmabrokerctl/names.hpp"

#include <fmt/core.h>
#include <nlohmann/json.hpp>

namespace dmb::ctl {
namespace {

Result<> revoke_token(dmabroker_client* client, const std::string& token)
{
    CallError error;
    const auto direct = check(dmabroker_revoke_token(client, token.c_str(), error), error);
    if (direct) return {};
    const auto held = open_token(client, token, Right::manage, Usage{});
    if (!held) return std::unexpected(held.error().code == Errc::denied ? held.error() : direct.error());
    return check(dmabroker_revoke_token(client, token.c_str(), error), error);
}

} // namespace

Result<> revoke(const Global& global, const Named& named)
{
    const Name what = TRY(parse_name(named.name));
    const ClientHandle client = TRY(connect(global, ConnectAs::manager_if_possible));
    CallError error;
    if (what.token.empty()) TRY(check(dmabroker_revoke_image(client.get(), what.id, error), error));
    else TRY(revoke_token(client.get(), what.token));
    if (global.json) print_json(Json{{"revoked", what.token.empty() ? Json{{"image", what.id}} : Json{{"token", true}}}});
    else print(what.token.empty() ? fmt::format("image {} revoked\n", what.id) : std::string("token revoked\n"));
    return {};
}

} // namespace dmb::ctl

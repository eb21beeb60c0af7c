// SPDX-License-Identifier: MIT
// The calls of the C ABI that several commands need, one function each, with owners for the handles. The tool uses that
// and not the C++ header's exceptions, because every failure here becomes an exit code and a sentence. Commands that
// show everything ask for the manager socket and make do with the ordinary one.
#include "tools/dmabrokerctl/client.hpp"

#include <nlohmann/json.hpp>

namespace dmb::ctl {

Result<> check(int result, const CallError& error)
{
    if (result >= 0) return {};
    const auto code = static_cast<Errc>(error.value.code);
    return fail(is_valid(code) ? code : Errc::internal, "{}", error.value.text);
}

namespace {

Result<ClientHandle> connect_to(const Global& global, bool manager)
{
    dmabroker_connect_options options = DMABROKER_CONNECT_OPTIONS_INIT;
    options.remote = global.socket.empty() ? nullptr : global.socket.c_str();
    options.name = "dmabrokerctl";
    options.manager = manager;
    dmabroker_client* client = nullptr;
    CallError error;
    TRY(check(dmabroker_connect(&options, &client, error), error));
    return ClientHandle(client);
}

} // namespace

Result<ClientHandle> connect(const Global& global, ConnectAs as)
{
    if (as == ConnectAs::manager_if_possible)
        if (auto manager = connect_to(global, true)) return manager;
    return connect_to(global, false);
}

Result<ImageHandle> open_token(dmabroker_client* client, const std::string& token, Rights rights, Usage usage)
{
    if (!parse_token(token)) return fail(Errc::not_found, "no image has this token: a token is 32 hexadecimal digits");
    dmabroker_image* image = nullptr;
    CallError error;
    TRY(check(dmabroker_open(client, token.c_str(), rights.bits, usage.bits, &image, error), error));
    return ImageHandle(image);
}

Result<std::string> mint_token(dmabroker_image* image, Rights rights, bool one_shot)
{
    dmabroker_token_options options = DMABROKER_TOKEN_OPTIONS_INIT;
    options.rights = rights.bits;
    options.one_shot = one_shot;
    char token[DMABROKER_TOKEN_SIZE] = "";
    CallError error;
    TRY(check(dmabroker_image_token(image, &options, token, error), error));
    return std::string(token);
}

Result<MappingHandle> map(dmabroker_image* image, std::uint32_t direction)
{
    dmabroker_cpu_mapping* raw = nullptr;
    CallError error;
    TRY(check(dmabroker_cpu_map(image, direction, &raw, error), error));
    MappingHandle mapping(raw);
    TRY(check(dmabroker_cpu_begin(raw, direction, error), error));
    return mapping;
}

Result<> end_mapping(dmabroker_cpu_mapping* mapping, std::uint32_t direction)
{
    CallError error;
    return check(dmabroker_cpu_end(mapping, direction, error), error);
}

Result<Json> inspect(dmabroker_client* client, std::uint64_t id)
{
    char* text = nullptr;
    CallError error;
    TRY(check(dmabroker_inspect(client, id, &text, error), error));
    const std::unique_ptr<char, Closer<dmabroker_free>> owner(text);
    Json json = Json::parse(text, nullptr, false);
    if (!json.is_object() || !json.contains("snapshot"))
        return fail(Errc::internal,
                    "the library's snapshot is not what this version of dmabrokerctl knows; install matching versions");
    return std::move(json["snapshot"]);
}

} // namespace dmb::ctl

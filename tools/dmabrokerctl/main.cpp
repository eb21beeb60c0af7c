// SPDX-License-Identifier: MIT
// dmabrokerctl: parse, run one command, turn its error into a sentence and an exit status. With --json the error is
// printed as JSON, too. Tokens are blotted out of the command line first, because everybody can read that. Commands
// write to standard output and return; only this file ends the program.
#include "tools/dmabrokerctl/options.hpp"

#include <cstdio>
#include <cstring>
#include <exception>
#include <fmt/core.h>
#include <nlohmann/json.hpp>
#include <span>

namespace dmb::ctl {
namespace {

int exit_status(Errc code)
{
    switch (code) {
    case Errc::no_broker: return exit_no_broker;
    case Errc::not_found:
    case Errc::token_expired:
    case Errc::token_revoked:
    case Errc::token_used: return exit_not_found;
    case Errc::denied: return exit_denied;
    default: return exit_failure;
    }
}

int report(const Global& global, const Error& error)
{
    fmt::print(stderr, "dmabrokerctl: {}\n", error.reason.view());
    if (global.json) {
        Json out{{"error", {{"code", name(error.code)}, {"text", error.reason.view()}}}, {"reason", error.reason.view()}};
        if (global.details && !global.details->is_null()) out.update(*global.details);
        print_json(out);
    }
    return exit_status(error.code);
}

/// Everybody on the machine can read the command line of a process.
void hide_tokens(std::span<char*> words)
{
    for (char* word : words)
        if (parse_token(word)) std::memset(word, '*', std::strlen(word));
}

int run(int argc, char** argv)
{
    const auto parsed = parse(argc, argv);
    hide_tokens({argv, static_cast<std::size_t>(argc)});
    if (const int* status = std::get_if<int>(&parsed)) return *status;
    auto [global, command] = std::get<Invocation>(parsed);
    Json details;
    global.details = &details;
    if (const auto result = command(global); !result) return report(global, result.error());
    if (std::fflush(stdout) != 0) return report(global, fail_errno(Errc::internal, "standard output", errno).error());
    return exit_success;
}

} // namespace

void print(std::string_view text) { std::fwrite(text.data(), 1, text.size(), stdout); }

void print_json(const Json& json) { print(json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n"); }

} // namespace dmb::ctl

int main(int argc, char** argv)
{
    try {
        return dmb::ctl::run(argc, argv);
    } catch (const std::exception& e) {
        fmt::print(stderr, "dmabrokerctl: {}\n", e.what());
        return dmb::ctl::exit_failure;
    }
}

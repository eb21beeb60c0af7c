// SPDX-License-Identifier: MIT
// The command line of dmabrokerd as an Options value, parsed once by main(). CLI11 stays in this file, because it takes
// seconds to compile. Sizes take K, M and G (1024 each). Programs are looked for beside this one and in the build
// folder before the installed place, so that a build runs its own. What the values mean is checked by whoever uses
// them; only ranges are checked here.
#include "daemon/options.hpp"

#include "daemon/net/proof_file.hpp"

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <filesystem>
#include <fmt/core.h>
#include <map>
#include <unistd.h>

namespace dmb {
namespace {

void add_limits(CLI::App& app, Limits& limits)
{
    const CLI::AsSizeValue size(false);
    app.add_option("--client-bytes", limits.client.bytes, "memory one connection may hold")->transform(size)->group("Limits");
    app.add_option("--client-images", limits.client.images, "images one connection may hold")->group("Limits");
    app.add_option("--client-fds", limits.client.fds, "descriptors held for one connection")->group("Limits");
    app.add_option("--uid-bytes", limits.uid.bytes, "memory all connections of one user may hold")
        ->transform(size)
        ->group("Limits");
    app.add_option("--uid-images", limits.uid.images, "images of one user")->group("Limits");
    app.add_option("--uid-fds", limits.uid.fds, "descriptors held for one user")->group("Limits");
}

} // namespace

std::string default_socket()
{
    const char* runtime = std::getenv("XDG_RUNTIME_DIR");
    if (runtime && *runtime) return std::string(runtime) + "/dmabroker/0";
    return "/run/dmabroker/0";
}

std::string find_program(const std::string& kind)
{
    namespace fs = std::filesystem;
    const std::string name = "dmabroker-" + kind;
    std::error_code error;
    const fs::path folder = fs::read_symlink("/proc/self/exe", error).parent_path();
    for (const fs::path& place : {folder / name, folder / kind / name})
        if (::access(place.c_str(), X_OK) == 0) return place;
    return DMB_LIBEXECDIR "/" + name;
}

std::optional<Options> parse_options(int argc, char** argv, int& exit_code)
{
    Options options;
    options.socket = default_socket();
    options.cache = ProofFile::default_folder();
    CLI::App app("Allocates images and shares them between processes.", "dmabrokerd");
    app.set_version_flag("--version", "dmabrokerd " DMB_VERSION);
    app.add_option("--socket", options.socket, "listen there for clients, and on PATH.manager for managers");
    app.add_flag("--background", options.background, "return when clients can connect; prints the broker's process number");
    const std::map<std::string, log::Level> levels{{"error", log::Level::error},
                                                   {"warning", log::Level::warning},
                                                   {"info", log::Level::info},
                                                   {"debug", log::Level::debug}};
    app.add_option("--log-level", options.log_level, "error, warning, info or debug")
        ->transform(CLI::CheckedTransformer(levels));
    app.add_flag("!--no-gpu", options.gpu, "start no workers: system memory only");
    app.add_option("--worker", options.worker, "the dmabroker-worker program");
    app.add_option("--receiver", options.receiver, "the dmabroker-receiver program");
    app.add_option("--worker-timeout", options.worker_timeout_s, "seconds a worker has for one request")
        ->check(CLI::Range(1, 3600));
    app.add_option("--pool-bytes", options.pool_bytes, "freed memory kept for reuse")->transform(CLI::AsSizeValue(false));
    app.add_option("--cache", options.cache, "folder for results of trials; empty: keep none");
    app.add_flag("--debuggable", options.debuggable, "allow core dumps and debuggers, which see every token");
    add_limits(app, options.limits);
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        exit_code = app.exit(error) == 0 ? 0 : 2;
        return std::nullopt;
    }
    if (options.worker.empty()) options.worker = find_program("worker");
    if (options.receiver.empty()) options.receiver = find_program("receiver");
    return options;
}

} // namespace dmb

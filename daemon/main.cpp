// SPDX-License-Identifier: MIT
// dmabrokerd: the map. Everything is built here, top-down and by reference, then runs on one thread until SIGTERM or
// SIGINT. Workers are started after the sockets listen: clients do not wait for GPUs. Locals are destroyed in reverse,
// so what is referred to is declared before whoever refers to it; Server and workers, which the Broker needs first, are
// told of it afterwards, before anything runs.
#include "daemon/alloc/dma_buf.hpp"
#include "daemon/alloc/memfd.hpp"
#include "daemon/core/serving/broker.hpp"
#include "daemon/device/drm_nodes.hpp"
#include "daemon/device/vulkan_drivers.hpp"
#include "daemon/net/activation.hpp"
#include "daemon/net/background.hpp"
#include "daemon/net/clock.hpp"
#include "daemon/net/life_file.hpp"
#include "daemon/net/listener.hpp"
#include "daemon/net/proof_file.hpp"
#include "daemon/net/receivers.hpp"
#include "daemon/net/server.hpp"
#include "daemon/net/worker_process.hpp"
#include "daemon/options.hpp"

#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#ifndef PR_SET_MDWE
#define PR_SET_MDWE 65
#endif

namespace {

using namespace dmb;

/// The sockets to listen on, what must be tidied up after them, and what came with them.
struct Sockets {
    std::vector<HandedSocket> listening;
    std::vector<KeptDescriptor> kept;
    std::optional<PathLock> lock;
    std::vector<std::string> paths;

    ~Sockets()
    {
        for (const std::string& path : paths) ::unlink(path.c_str());
    }
};

Result<> open_sockets(const Options& options, Sockets& out)
{
    Handed handed = TRY(take_handed());
    out.listening = std::move(handed.sockets);
    out.kept = std::move(handed.kept);
    if (!out.listening.empty()) return {};
    out.lock.emplace(TRY(PathLock::take(options.socket)));
    const std::string manager = options.socket + ".manager";
    out.listening.push_back({TRY(listen_on(manager, 0600)), true});
    out.paths.push_back(manager);
    // A system broker serves everybody, within quotas; a user's broker serves that user.
    out.listening.push_back({TRY(listen_on(options.socket, ::geteuid() == 0 ? 0666 : 0600)), false});
    out.paths.push_back(options.socket);
    return {};
}

/// Where the caller closed one, a client's descriptor would get its number, and that client the log.
void hold_standard_descriptors()
{
    int fd;
    do fd = ::open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0) ::close(fd);
}

void prepare_process(bool debuggable)
{
    hold_standard_descriptors();
    ::signal(SIGPIPE, SIG_IGN);
    // The pool takes a lease for an instant (exclusive.cpp); who opens the memory just then must not end us.
    ::signal(SIGIO, SIG_IGN);
    // Every token is in this memory: no core dump, and nothing in /proc/PID/{mem,fd,environ} for other processes
    // of this user, sandboxed clients among them. Workers know no token and get the default back when they start.
    if (!debuggable) ::prctl(PR_SET_DUMPABLE, 0UL, 0UL, 0UL, 0UL);
    rlimit files{};
    if (::getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        ::setrlimit(RLIMIT_NOFILE, &files);
    }
    // No writable and executable memory here; workers, whose drivers compile shaders, do not inherit it
    // (PR_MDWE_REFUSE_EXEC_GAIN | PR_MDWE_NO_INHERIT, kernel 6.6; older ones refuse and that is that). As a
    // service only: valgrind and sanitizers translate code and would end here.
    if (std::getenv("INVOCATION_ID")) ::prctl(PR_SET_MDWE, 3UL, 0UL, 0UL, 0UL);
}

/// One worker per DRM device for GBM, one per Vulkan driver.
std::vector<std::unique_ptr<WorkerProcess>> make_workers(asio::io_context& io, Server& server, const Options& options,
                                                         const std::function<void(Instant)>& changed)
{
    std::vector<std::unique_ptr<WorkerProcess>> out;
    const std::uint64_t request_ns = options.worker_timeout_s * 1'000'000'000ULL;
    const WorkerTiming timing{.request_ns = request_ns, .hello_ns = std::max<std::uint64_t>(60'000'000'000, 3 * request_ns)};
    for (const DrmDevice& device : find_drm_devices()) {
        const std::string& node = device.render.empty() ? device.primary : device.render;
        Exporter info{{.node = std::string_view(node), .driver = std::string_view(device.driver)}, Backend::gbm, {}, {}};
        BackendSet gbm;
        gbm.add(Backend::gbm);
        out.push_back(std::make_unique<WorkerProcess>(io, server, std::vector<std::string>{options.worker, "gbm", node}, info,
                                                      gbm, timing, changed));
    }
    BackendSet vulkan;
    vulkan.add(Backend::vulkan);
    vulkan.add(Backend::vulkan_opaque);
    for (const std::string& manifest : find_vulkan_drivers()) {
        const std::string name = "Vulkan, " + std::filesystem::path(manifest).stem().string();
        out.push_back(std::make_unique<WorkerProcess>(io, server, std::vector<std::string>{options.worker, "vulkan", manifest},
                                                      Exporter{{}, Backend::vulkan, std::string_view(name), {}}, vulkan, timing,
                                                      changed));
    }
    return out;
}

/// Those that work for all devices: started when first needed, ended when idle.
std::unique_ptr<WorkerProcess> make_helper(asio::io_context& io, Server& server, const Options& options, const char* kind)
{
    constexpr std::uint64_t idle_ns = 10'000'000'000;
    const WorkerTiming timing{.request_ns = options.worker_timeout_s * 1'000'000'000ULL, .idle_ns = idle_ns};
    return std::make_unique<WorkerProcess>(io, server, std::vector<std::string>{options.worker, kind}, Exporter{}, BackendSet{},
                                           timing, [](Instant) {});
}

std::vector<std::unique_ptr<Listener>> listen(asio::io_context& io, Server& server, Sockets& sockets)
{
    std::vector<std::unique_ptr<Listener>> listeners;
    for (HandedSocket& socket : sockets.listening) {
        const auto admit = [&server](UniqueFd connection, bool manager) { server.admit(std::move(connection), manager); };
        listeners.push_back(std::make_unique<Listener>(io, std::move(socket.socket), socket.manager, admit));
        listeners.back()->start();
    }
    return listeners;
}

Result<> run(const Options& options)
{
    UniqueFd caller;
    if (options.background) caller = TRY(go_background());
    const Notifier notifier = Notifier::from_environment();
    Sockets sockets;
    TRY(open_sockets(options, sockets));

    asio::io_context io(BOOST_ASIO_CONCURRENCY_HINT_UNSAFE);
    Server server(io, options.limits);

    MemfdAllocator memfd;
    UdmabufAllocator udmabuf;
    DmaHeapAllocator dma_heap;
    std::vector<Allocator*> allocators{&memfd, &udmabuf, &dma_heap};
    Broker* broker_pointer = nullptr;
    std::vector<std::unique_ptr<WorkerProcess>> workers;
    if (options.gpu) workers = make_workers(io, server, options, [&](Instant at) { broker_pointer->devices_changed(at); });
    for (const auto& worker : workers) allocators.push_back(&worker->client());

    Pool pool(options.pool_bytes);
    ProofFile proof_file(options.cache);
    Proofs proofs(proof_file.load());
    proofs.on_change([&](const Proof* found) { found ? proof_file.append(*found) : proof_file.clear(); });
    Helpers helpers;
    workers.push_back(make_helper(io, server, options, "system"));
    helpers.system = &workers.back()->client();
    constexpr int most_trials_at_once = 4;
    for (int i = 0; options.gpu && i < most_trials_at_once; ++i) {
        workers.push_back(make_helper(io, server, options, "prove"));
        helpers.provers.push_back(&workers.back()->client());
    }
    LifeFile life_file(options.cache);
    Broker broker(options.limits, allocators, pool, proofs, helpers, server, life_file.life());
    broker.state().on_numbers([&](std::uint64_t highest) { return life_file.count_on_from(highest); });
    broker_pointer = &broker;
    Receivers receivers(io, server, options.receiver, options.limits.clients_per_uid);
    server.add(receivers);
    server.serve(broker, receivers);

    const auto listeners = listen(io, server, sockets);
    asio::signal_set stop(io, SIGTERM, SIGINT);
    stop.async_wait([&](error_code error, int) {
        if (error) return;
        notifier.tell("STOPPING=1");
        server.shut_down();
        io.stop();
    });
    asio::signal_set child(io, SIGCHLD);
    const std::function<void()> wait_for_child = [&] {
        child.async_wait([&](error_code error, int) {
            if (error) return;
            for (const auto& worker : workers) worker->child_ended();
            receivers.child_changed(now());
            server.settle();
            wait_for_child();
        });
    };
    wait_for_child();
    notifier.tell("READY=1");
    log::info("{} listens on {}", server_name, sockets.paths.empty() ? "sockets of its service manager" : options.socket);
    say_ready(std::move(caller));
    for (const auto& worker : workers) {
        server.add(*worker);
        worker->client().start(now());
    }
    server.settle();
    io.run();
    return {};
}

} // namespace

int main(int argc, char** argv)
{
    int exit_code = 0;
    const std::optional<Options> options = parse_options(argc, argv, exit_code);
    if (!options) return exit_code;
    log::set_level(options->log_level);
    prepare_process(options->debuggable);
    if (const auto ran = run(*options); !ran) {
        log::error("{}", ran.error().reason.view());
        return 1;
    }
    return 0;
}

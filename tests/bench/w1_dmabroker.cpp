// SPDX-License-Identifier: MIT
// W1, our side: opening a token and allocating from a warm pool, through the public library and the
// real daemon. Same flags and same rows as the contenders of shared/bench, so that `compare` can
// interleave them: -k KEY -m open|open_close|allocate -d MILLISECONDS; PLACE=same|split|free. With -n CLIENTS -i IMAGES
// so many others are there, too: of four users where this program may choose.
//
//   open        dmabroker_open only; holds are ended in batches between the measured calls
//   open_close  dmabroker_open and dmabroker_image_close, whose message the broker also has to serve
//   allocate    1080p RGBA from a warm pool; holds are ended between the measured calls
#include <dmabroker/dmabroker.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sched.h>
#include <string>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

namespace {

[[noreturn]] void die(const char* what, const dmabroker_error& error)
{
    std::fprintf(stderr, "%s: %s\n", what, error.text);
    std::exit(3);
}

std::uint64_t now_ns() { return static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count()); }

/// PLACE as in shared/bench: same: everything on CPU 0; split: the client on CPU 1.
void place(bool client)
{
    const char* where = std::getenv("PLACE");
    if (!where || !std::strcmp(where, "free")) return;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(client && !std::strcmp(where, "split") ? 1 : 0, &set);
    ::sched_setaffinity(0, sizeof set, &set);
}

struct Broker {
    std::string folder;
    std::string socket;
    pid_t pid = -1;

    explicit Broker(const char* binary)
    {
        char pattern[] = "/tmp/dmabroker-bench-XXXXXX";
        folder = ::mkdtemp(pattern);
        ::chmod(pattern, 0755); // for other users
        socket = folder + "/broker";
        pid = ::fork();
        if (pid != 0) return;
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        place(false);
        ::execl(binary, binary, "--socket", socket.c_str(), "--no-gpu", "--cache", "", "--log-level", "error", nullptr);
        ::_exit(127);
    }
    ~Broker()
    {
        ::kill(pid, SIGTERM);
        ::waitpid(pid, nullptr, 0);
        ::rmdir(folder.c_str());
    }
    dmabroker_client* connect() const
    {
        dmabroker_connect_options options = DMABROKER_CONNECT_OPTIONS_INIT;
        options.remote = socket.c_str();
        dmabroker_error error{};
        dmabroker_client* client = nullptr;
        for (int i = 0; i < 2000; ++i) {
            if (dmabroker_connect(&options, &client, &error) == 0) return client;
            ::usleep(1000);
        }
        die("connect", error);
    }
};

struct Work {
    dmabroker_client* client;
    char token[DMABROKER_TOKEN_SIZE];
    std::vector<dmabroker_image*> held;

    static dmabroker_allocation shape()
    {
        dmabroker_allocation a = DMABROKER_ALLOCATION_INIT;
        a.width = 1920;
        a.height = 1080;
        a.format = 0x34324241; // AB24
        a.usage = DMABROKER_USAGE_CPU_READ | DMABROKER_USAGE_CPU_WRITE;
        return a;
    }
    dmabroker_image* allocate()
    {
        const dmabroker_allocation a = shape();
        dmabroker_error error{};
        dmabroker_image* image = nullptr;
        if (dmabroker_allocate(client, &a, &image, &error) != 0) die("allocate", error);
        return image;
    }
    dmabroker_image* open()
    {
        dmabroker_error error{};
        dmabroker_image* image = nullptr;
        const int result =
            dmabroker_open(client, token, DMABROKER_READ | DMABROKER_WRITE, DMABROKER_USAGE_SAMPLE, &image, &error);
        if (result != 0) die("open", error);
        return image;
    }
    void mint(dmabroker_image* image)
    {
        dmabroker_token_options options{};
        options.struct_size = sizeof options;
        options.rights = DMABROKER_READ | DMABROKER_WRITE;
        dmabroker_error error{};
        if (dmabroker_image_token(image, &options, token, &error) != 0) die("token", error);
    }
    /// Ends all holds and waits until the broker has seen it: a request is answered after them.
    void end_holds(dmabroker_image* master)
    {
        for (dmabroker_image* image : held) dmabroker_image_close(image);
        held.clear();
        dmabroker_error error{};
        if (dmabroker_image_set_lease(master, 0, &error) != 0) die("set_lease", error);
    }
};

void measure(Work& work, const std::string& mode, int milliseconds, std::vector<std::uint32_t>& samples)
{
    dmabroker_image* master = work.allocate();
    work.mint(master);
    const std::size_t batch = mode == "open" ? 32 : mode == "allocate" ? 4 : 1;
    for (const std::uint64_t warm = now_ns() + 20'000'000, end = warm + static_cast<std::uint64_t>(milliseconds) * 1'000'000;
         now_ns() < end;) {
        for (std::size_t i = 0; i < batch; ++i) {
            const std::uint64_t begin = now_ns();
            dmabroker_image* image = mode == "allocate" ? work.allocate() : work.open();
            if (mode == "open_close") dmabroker_image_close(image);
            else work.held.push_back(image);
            if (begin > warm) samples.push_back(static_cast<std::uint32_t>(now_ns() - begin));
        }
        if (mode != "open_close") work.end_holds(master);
    }
    dmabroker_image_close(master);
}

/// Clients that hold images and do nothing.
class Others {
public:
    Others(const Broker& broker, int clients, int images)
    {
        for (int i = 0; i < clients; ++i) {
            if (::geteuid() == 0 && ::seteuid(static_cast<uid_t>(20'000 + i % 4)) != 0) std::exit(3);
            clients_.push_back({broker.connect(), {}, {}});
            if (::getuid() == 0 && ::seteuid(0) != 0) std::exit(3);
        }
        for (int i = 0; i < images; ++i) allocate(clients_[static_cast<std::size_t>(i % clients)]);
    }
    ~Others()
    {
        for (Work& work : clients_) {
            for (dmabroker_image* image : work.held) dmabroker_image_close(image);
            dmabroker_client_close(work.client);
        }
    }
    Others(const Others&) = delete;
    Others& operator=(const Others&) = delete;

private:
    static void allocate(Work& work)
    {
        dmabroker_allocation a = Work::shape();
        a.width = a.height = 16;
        dmabroker_error error{};
        dmabroker_image* image = nullptr;
        if (dmabroker_allocate(work.client, &a, &image, &error) != 0) die("allocate", error);
        work.held.push_back(image);
    }
    std::vector<Work> clients_;
};

/// Two per image in the broker, one here, and the connections. Ends the program where they cannot be had.
void need_descriptors(int clients, int images)
{
    constexpr rlim_t wanted = 65'536;
    rlimit limit{wanted, wanted};
    if (::setrlimit(RLIMIT_NOFILE, &limit) != 0 && ::getrlimit(RLIMIT_NOFILE, &limit) == 0) limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
    const auto needed = static_cast<rlim_t>(2 * images + clients + 256);
    if (limit.rlim_cur >= needed) return;
    std::fprintf(stderr, "needs %lu descriptors, %lu are allowed\n", needed, limit.rlim_cur);
    std::exit(77);
}

void report(const char* key, std::vector<std::uint32_t>& samples)
{
    if (samples.empty()) std::exit(3);
    std::sort(samples.begin(), samples.end());
    double sum = 0;
    for (const std::uint32_t sample : samples) sum += sample;
    const double count = static_cast<double>(samples.size());
    std::printf("%s\trate\t%.4f\n", key, count * 1e9 / sum);
    std::printf("%s\tp50_us\t%.4f\n", key, samples[samples.size() / 2] / 1e3);
    std::printf("%s\tp99_us\t%.4f\n", key, samples[samples.size() * 99 / 100] / 1e3);
}

} // namespace

int main(int argc, char** argv)
{
    const char *key = "?", *binary = std::getenv("DMABROKERD");
    std::string mode = "open";
    int milliseconds = 250, clients = 0, images = 0;
    for (int option; (option = ::getopt(argc, argv, "k:m:f:c:d:n:i:")) != -1;) switch (option) {
        case 'k': key = optarg; break;
        case 'm': mode = optarg; break;
        case 'd': milliseconds = std::atoi(optarg); break;
        case 'n': clients = std::atoi(optarg); break;
        case 'i': images = std::atoi(optarg); break;
        case 'f':
        case 'c':
            if (std::strcmp(optarg, "1") != 0) return std::fprintf(stderr, "-%c: only 1\n", option), 2;
            break;
        default: return 2;
        }
    need_descriptors(clients, images);
    Broker broker(binary ? binary : DMABROKERD_BINARY);
    place(true);
    const Others others(broker, clients, images);
    Work work{broker.connect(), {}, {}};
    std::vector<std::uint32_t> samples;
    samples.reserve(1u << 20);
    measure(work, mode, milliseconds, samples);
    dmabroker_client_close(work.client);
    report(key, samples);
}

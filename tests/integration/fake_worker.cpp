// SPDX-License-Identifier: MIT
// A dmabroker-worker without a driver: speaks the protocol and does what the test says. Started by a real broker with
// --worker; the folder in DMABROKER_FAKE_WORKER has
//   device   the name of its only device and the modifiers (hexadecimal) that it has; read when it starts
//   rules    lines "KIND MODIFIER ACTION": KIND is vulkan (allocating) or prove, ACTION crash, hang, wrong or refuse;
//            read at each request
//   asked    lines "KIND MODIFIER", written before each request is served
// A driver called broken.json crashes when it is loaded.
// Its memory is memfds, which it says are a Vulkan driver's.
#include "proto/image/format_table.hpp"
#include "proto/wire/channel.hpp"

#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <fmt/core.h>
#include <fstream>
#include <sstream>
#include <string>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

namespace {

using namespace dmb;

constexpr int socket_to_broker = 3;

UniqueFd sealed(std::uint64_t size, int more_seals)
{
    UniqueFd fd = UniqueFd::adopt(::memfd_create("fake", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (::ftruncate(fd.get(), static_cast<off_t>((size + 4095) / 4096 * 4096)) != 0) std::abort();
    ::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL | more_seals);
    return fd;
}

class Worker {
public:
    Worker(std::string kind, std::string folder) : kind_(std::move(kind)), folder_(std::move(folder)) {}

    void greet();
    bool serve();

private:
    template <class Message> void say(const Message& message, std::uint64_t serial, std::span<const int> fds = {})
    {
        const std::size_t size = wire::encode(message, serial, buffer_).value();
        if (!wire::send(socket_to_broker, std::span(buffer_).first(size), fds, wire::Wait::yes)) ::_exit(0);
    }
    /// Notes the request, and crashes or hangs if it should. Else what remains to be done.
    std::string meet(Modifier) const;

    void answer(const wire::WorkerAllocate&, std::uint64_t serial);
    void answer(const wire::WorkerProve&, std::uint64_t serial);
    void answer(const wire::WorkerRead&, std::uint64_t serial);
    void answer(const wire::WorkerWrite&, std::uint64_t serial) { say(wire::WorkerDone{1}, serial); }
    void answer(const wire::WorkerBlit&, std::uint64_t serial)
    {
        say(wire::ErrorReply{Errc::backend_failed, "no GPU", {}}, serial);
    }

    std::string kind_, folder_;
    Exporter device_;
    std::vector<std::byte> buffer_ = std::vector<std::byte>(limits::packet_bytes);
};

void Worker::greet()
{
    wire::WorkerHello hello;
    std::ifstream file(folder_ + "/device");
    std::string name;
    if (kind_ == "vulkan" && file >> name) {
        device_.backend = Backend::vulkan;
        device_.driver = "fake";
        device_.version = "1";
        device_.name = std::string_view(name);
        device_.id.device_uuid[0] = static_cast<std::uint8_t>(name.back());
        Exports& exports = hello.exports.emplace_back(device_);
        const Usage usage = Usage(UsageFlag::render) | UsageFlag::sample | UsageFlag::scanout;
        for (std::uint64_t modifier; file >> std::hex >> modifier;)
            exports.rows.push_back({.format = fourcc("AB24"), .modifier = {modifier}, .plane_count = 1, .usage = usage});
    }
    say(hello, 0);
}

std::string Worker::meet(Modifier modifier) const
{
    const std::string line = fmt::format("{} {:x}\n", kind_, modifier.value);
    const UniqueFd asked =
        UniqueFd::adopt(::open((folder_ + "/asked").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
    if (::write(asked.get(), line.data(), line.size()) < 0) ::_exit(1);
    std::ifstream rules(folder_ + "/rules");
    std::string kind, action;
    for (std::uint64_t which; rules >> kind >> std::hex >> which >> action;) {
        if (kind != kind_ || which != modifier.value) continue;
        if (action == "crash") std::abort();
        while (action == "hang") ::pause();
        return action;
    }
    return {};
}

void Worker::answer(const wire::WorkerAllocate& request, std::uint64_t serial)
{
    const Modifier modifier = request.spec.modifiers.empty() ? modifier_linear : request.spec.modifiers[0];
    if (meet(modifier) == "refuse") return say(wire::ErrorReply{Errc::backend_failed, "not today", {}}, serial);
    wire::WorkerImage image{.desc = linear_layout(request.spec.size, request.spec.format).value(), .contents_written = true};
    image.contents_written = request.has_contents;
    image.desc.backend = Backend::vulkan;
    image.desc.device = device_.id;
    image.desc.kind = MemoryKind::memfd;
    image.desc.modifier = modifier;
    image.desc.usage = request.spec.usage;
    image.desc.rung = modifier == modifier_linear ? Rung::linear : Rung::tiled;
    const UniqueFd memory = sealed(image.desc.total_size(), 0);
    const int fd = memory.get();
    say(image, serial, {&fd, 1});
}

void Worker::answer(const wire::WorkerProve& request, std::uint64_t serial)
{
    const std::string action = meet(request.desc.modifier);
    wire::WorkerProof proof{ProofResult::works, {}};
    if (action == "wrong") proof = {ProofResult::wrong_pixels, "at 0,0"};
    if (action == "refuse") proof = {ProofResult::refused, "0x3003"};
    say(proof, serial);
}

void Worker::answer(const wire::WorkerRead& request, std::uint64_t serial)
{
    const UniqueFd pixels = sealed(request.desc.total_size(), F_SEAL_WRITE);
    const int fd = pixels.get();
    say(wire::WorkerPixels{1}, serial, {&fd, 1});
}

bool Worker::serve()
{
    const auto packet = wire::receive(socket_to_broker, buffer_, wire::Wait::yes);
    if (!packet || !*packet) return false;
    wire::Decoded<wire::WorkerRequest> request;
    if (!wire::decode(std::span(buffer_).first((*packet)->size), (*packet)->fds.size(), request)) return false;
    std::visit([&](const auto& message) { answer(message, request.serial); }, request.message);
    return true;
}

} // namespace

int main(int argc, char** argv)
{
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    const rlimit no_core{};
    ::setrlimit(RLIMIT_CORE, &no_core);
    const char* folder = std::getenv("DMABROKER_FAKE_WORKER");
    if (argc < 2 || !folder) return 2;
    if (std::string_view(argv[argc - 1]).ends_with("/broken.json")) std::abort();
    Worker worker(argv[1], folder);
    worker.greet();
    while (worker.serve()) {}
    return 0;
}

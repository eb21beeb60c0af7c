// SPDX-License-Identifier: MIT
// The child answers just what an open needs (fuse(4), linux/fuse.h), passes the open file to the test and says so whenever a
// flush comes. Killing it closes /dev/fuse, which ends the connection and every wait for an answer.
#include "tests/support/silent_file.hpp"

#include "proto/wire/channel.hpp"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fmt/format.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sched.h>
#include <stdexcept>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace dmb::test {
namespace {

constexpr std::uint64_t file_node = 2;

template <class Answer> void answer(int fuse, std::uint64_t unique, const Answer& body)
{
    struct {
        fuse_out_header head;
        Answer body;
    } packet{{sizeof(fuse_out_header) + sizeof(Answer), 0, unique}, body};
    static_assert(sizeof packet == sizeof(fuse_out_header) + sizeof(Answer));
    [[maybe_unused]] const ssize_t written = ::write(fuse, &packet, sizeof packet);
}

void answer_error(int fuse, std::uint64_t unique, int error)
{
    const fuse_out_header head{sizeof head, -error, unique};
    [[maybe_unused]] const ssize_t written = ::write(fuse, &head, sizeof head);
}

fuse_attr attributes(std::uint64_t node)
{
    fuse_attr out{};
    out.ino = node;
    out.mode = node == file_node ? S_IFREG | 0600 : S_IFDIR | 0700;
    out.nlink = 1;
    out.uid = ::geteuid();
    out.gid = ::getegid();
    return out;
}

void answer_init(int fuse, std::uint64_t unique)
{
    fuse_init_out init{};
    init.major = FUSE_KERNEL_VERSION;
    init.minor = 31;
    init.max_write = 4096;
    answer(fuse, unique, init);
}

/// `silent`: not yet, while the server closes its own descriptor.
void serve_request(int fuse, const fuse_in_header& request, int parent, bool& silent)
{
    switch (request.opcode) {
    case FUSE_INIT: return answer_init(fuse, request.unique);
    case FUSE_LOOKUP: {
        fuse_entry_out entry{};
        entry.nodeid = file_node;
        entry.attr = attributes(file_node);
        return answer(fuse, request.unique, entry);
    }
    case FUSE_GETATTR: {
        fuse_attr_out out{};
        out.attr = attributes(request.nodeid);
        return answer(fuse, request.unique, out);
    }
    case FUSE_OPEN: return answer(fuse, request.unique, fuse_open_out{});
    case FUSE_FLUSH:
        if (silent) ::send(parent, "f", 1, MSG_NOSIGNAL);
        else answer_error(fuse, request.unique, 0);
        silent = true;
        return;
    case FUSE_FORGET:
    case FUSE_BATCH_FORGET: return;
    default: return answer_error(fuse, request.unique, ENOSYS);
    }
}

[[noreturn]] void give_up(int parent, const char* what)
{
    const std::string text = fmt::format("{}: {}", what, std::strerror(errno));
    ::send(parent, text.data(), text.size(), MSG_NOSIGNAL);
    ::_exit(1);
}

void mount_in_own_namespace(int fuse, const std::string& folder, int parent)
{
    const uid_t uid = ::geteuid();
    if (::unshare(CLONE_NEWNS | (uid == 0 ? 0 : CLONE_NEWUSER)) != 0) give_up(parent, "a mount namespace");
    if (::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) give_up(parent, "a private mount namespace");
    const std::string options = fmt::format("fd={},rootmode=40000,user_id={},group_id={}", fuse, uid, ::getegid());
    if (::mount("dmabroker-test", folder.c_str(), "fuse", MS_NOSUID | MS_NODEV, options.c_str()) != 0)
        give_up(parent, "mount a FUSE file system");
}

} // namespace

SilentFile::SilentFile()
{
    std::string pattern = (std::filesystem::temp_directory_path() / "dmabroker-silent-XXXXXX").string();
    int ends[2];
    if (!::mkdtemp(pattern.data()) || ::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
        throw std::runtime_error("no folder or socket for a FUSE file system");
    folder_ = pattern;
    server_ = UniqueFd::adopt(ends[0]);
    const UniqueFd theirs = UniqueFd::adopt(ends[1]);
    pid_ = ::fork();
    if (pid_ == 0) serve(theirs.get());
    std::array<std::byte, 200> text;
    Result<std::optional<wire::Packet>> packet = wire::receive(server_.get(), text, wire::Wait::yes);
    if (packet && !(*packet)->fds.empty()) {
        file_ = std::move((*packet)->fds[0]);
        [[maybe_unused]] const auto ready = wire::receive(server_.get(), text, wire::Wait::yes);
    } else missing_ = packet ? std::string(reinterpret_cast<const char*>(text.data()), (*packet)->size) : "the server ended";
}

SilentFile::~SilentFile()
{
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    file_.reset();
    std::error_code ignored;
    std::filesystem::remove(folder_, ignored);
}

void SilentFile::serve(int parent) const
{
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::dup2(parent, 3);
    parent = 3;
    ::close_range(4, ~0U, 0);
    const int fuse = ::open("/dev/fuse", O_RDWR | O_CLOEXEC);
    if (fuse < 0) give_up(parent, "/dev/fuse");
    mount_in_own_namespace(fuse, folder_, parent);
    std::thread([this, parent] {
        UniqueFd file = UniqueFd::adopt(::open((folder_ + "/file").c_str(), O_RDWR | O_CLOEXEC));
        if (!file) give_up(parent, "open a file on FUSE");
        const int fd = file.get();
        std::byte byte{};
        [[maybe_unused]] const auto sent = wire::send(parent, {&byte, 1}, {&fd, 1}, wire::Wait::yes);
        file.reset();
        ::send(parent, "r", 1, MSG_NOSIGNAL);
    }).detach();
    bool silent = false;
    alignas(fuse_in_header) std::array<char, FUSE_MIN_READ_BUFFER> request;
    // A test that crashes hangs in closing the file before it counts as dead: only its socket tells.
    pollfd waiting[] = {{fuse, POLLIN, 0}, {parent, 0, 0}};
    while (::poll(waiting, 2, -1) > 0 && waiting[1].revents == 0 && ::read(fuse, request.data(), request.size()) > 0)
        serve_request(fuse, *reinterpret_cast<const fuse_in_header*>(request.data()), parent, silent);
    ::_exit(0);
}

bool SilentFile::is_being_closed(double seconds)
{
    pollfd waiting{server_.get(), POLLIN, 0};
    return ::poll(&waiting, 1, static_cast<int>(seconds * 1000)) == 1;
}

} // namespace dmb::test

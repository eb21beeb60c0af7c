// SPDX-License-Identifier: MIT
// Child and PrivateBroker own the processes that doctor starts: probes that are read until they end or their time is
// over, and a broker of its own. fork and exec with PR_SET_PDEATHSIG: whatever ends doctor ends its children too.
// Destructors kill and wait; the broker's folder is removed with it.
#include "tools/doctor/child.hpp"

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <dmabroker/dmabroker.h>
#include <fcntl.h>
#include <filesystem>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

namespace dmb::doctor {
namespace {

using Clock = std::chrono::steady_clock;

[[noreturn]] void execute(std::vector<std::string>& command, int out)
{
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    std::signal(SIGPIPE, SIG_DFL);
    const int null = ::open("/dev/null", O_RDWR);
    ::dup2(null, STDIN_FILENO);
    ::dup2(out >= 0 ? out : null, STDOUT_FILENO);
    ::dup2(null, STDERR_FILENO);
    ::close_range(3, ~0U, 0);
    std::vector<char*> argv;
    for (std::string& word : command) argv.push_back(word.data());
    argv.push_back(nullptr);
    ::execv(argv[0], argv.data());
    ::_exit(127);
}

/// Everything until end of file; false when the deadline came first.
bool read_all(int fd, Clock::time_point end, std::string& text)
{
    for (;;) {
        const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now()).count();
        pollfd wait{fd, POLLIN, 0};
        if (left <= 0 || ::poll(&wait, 1, static_cast<int>(left)) == 0) return false;
        char buffer[4096];
        const ssize_t size = ::read(fd, buffer, sizeof buffer);
        if (size == 0) return true;
        if (size > 0) text.append(buffer, static_cast<std::size_t>(size));
        if (size < 0 && errno != EINTR) return true;
    }
}

std::string end_of(int status)
{
    if (WIFSIGNALED(status)) return fmt::format("crashed ({})", ::strsignal(WTERMSIG(status)));
    if (WEXITSTATUS(status) == 127) return "could not be started";
    return WEXITSTATUS(status) ? fmt::format("failed with status {}", WEXITSTATUS(status)) : std::string();
}

} // namespace

Result<Child> Child::start(std::vector<std::string> command, int out)
{
    const pid_t pid = ::fork();
    if (pid < 0) return fail_errno(Errc::internal, "fork", errno);
    if (pid == 0) execute(command, out);
    return Child(pid);
}

Child::~Child()
{
    if (pid_ < 0) return;
    kill(SIGKILL);
    wait();
}

bool Child::ended()
{
    siginfo_t info{};
    return pid_ < 0 || (::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0);
}

int Child::wait()
{
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {}
    pid_ = -1;
    return status;
}

void Child::kill(int signal)
{
    if (pid_ > 0) ::kill(pid_, signal);
}

Result<Output> run(std::vector<std::string> command, std::chrono::seconds deadline)
{
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return fail_errno(Errc::internal, "pipe", errno);
    const UniqueFd reader = UniqueFd::adopt(ends[0]);
    UniqueFd writer = UniqueFd::adopt(ends[1]);
    Child child = TRY(Child::start(std::move(command), writer.get()));
    writer.reset();
    Output out;
    if (read_all(reader.get(), Clock::now() + deadline, out.text)) {
        out.end = end_of(child.wait());
        return out;
    }
    child.kill(SIGKILL);
    child.wait();
    out.end = fmt::format("did not answer within {} s", deadline.count());
    return out;
}

std::string find_program(const std::vector<std::string>& candidates)
{
    for (const std::string& path : candidates)
        if (::access(path.c_str(), X_OK) == 0 && std::filesystem::is_regular_file(path)) return path;
    return {};
}

std::string own_folder()
{
    std::error_code error;
    return std::filesystem::read_symlink("/proc/self/exe", error).parent_path().string();
}

Result<PrivateBroker> PrivateBroker::start(const std::string& binary)
{
    std::string folder = (std::filesystem::temp_directory_path() / "dmabroker-doctor-XXXXXX").string();
    if (!::mkdtemp(folder.data())) return fail_errno(Errc::internal, "mkdtemp", errno);
    auto child = Child::start({binary, "--socket", folder + "/0"}, -1);
    if (!child) return std::unexpected(child.error());
    PrivateBroker broker(std::move(folder), std::move(*child));
    dmabroker_connect_options options = DMABROKER_CONNECT_OPTIONS_INIT;
    const std::string socket = broker.socket();
    options.remote = socket.c_str();
    for (int tries = 0; tries < 500 && !broker.child_.ended(); ++tries) {
        dmabroker_client* client = nullptr;
        if (dmabroker_connect(&options, &client, nullptr) == 0) {
            dmabroker_client_close(client);
            return broker;
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(20)); // its socket sends no event before it is there
    }
    return fail(Errc::no_broker, "{} does not start; run it by hand to see why", binary);
}

PrivateBroker::~PrivateBroker()
{
    if (child_.pid() < 0) return; // moved from
    child_.kill(SIGTERM);
    for (int tries = 0; tries < 200 && !child_.ended(); ++tries) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
}

} // namespace dmb::doctor

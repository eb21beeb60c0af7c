// SPDX-License-Identifier: MIT
// fork and exec with PR_SET_PDEATHSIG, so that a crashed test leaves no broker behind. Standard error
// goes to a file in the temporary folder: a test may read it, and it is shown when the start fails.
#include "tests/support/broker_process.hpp"

#include "proto/wire/channel.hpp"
#include "tests/support/fixture.hpp"

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace dmb::test {
namespace {

std::string make_folder()
{
    std::string pattern = (std::filesystem::temp_directory_path() / "dmabroker-test-XXXXXX").string();
    if (!::mkdtemp(pattern.data())) throw std::runtime_error("mkdtemp failed");
    return pattern;
}

std::string daemon_binary()
{
    const char* chosen = std::getenv("DMABROKERD");
    return chosen ? chosen : DMABROKERD_BINARY;
}

[[noreturn]] void run_child(const std::string& binary, std::vector<std::string> arguments, const std::string& log)
{
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    const int out = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    ::dup2(out, STDERR_FILENO);
    ::close_range(3, ~0U, 0);
    arguments.insert(arguments.begin(), binary);
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    ::execv(binary.c_str(), argv.data());
    ::_exit(127);
}

} // namespace

std::vector<pid_t> children_of(pid_t pid)
{
    const std::string number = std::to_string(pid);
    std::ifstream file("/proc/" + number + "/task/" + number + "/children");
    std::vector<pid_t> out;
    for (pid_t child; file >> child;) out.push_back(child);
    return out;
}

BrokerProcess::BrokerProcess(std::vector<std::string> arguments, Debuggable debuggable)
    : folder_(make_folder()), socket_(folder_ + "/broker")
{
    if (debuggable == Debuggable::when_needed && ::geteuid() != 0) arguments.push_back("--debuggable");
    if (std::ranges::find(arguments, "--cache") == arguments.end())
        arguments.insert(arguments.begin(), {"--cache", folder_ + "/cache"});
    arguments.insert(arguments.begin(), {"--socket", socket_});
    const std::string binary = daemon_binary();
    pid_ = ::fork();
    if (pid_ < 0) throw std::runtime_error("fork failed");
    if (pid_ == 0) run_child(binary, std::move(arguments), folder_ + "/log");
    wait_until_ready();
}

BrokerProcess::~BrokerProcess()
{
    if (pid_ > 0) terminate();
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
}

void BrokerProcess::wait_until_ready()
{
    const bool ready = eventually([&] { return !alive() || wire::connect(socket_).has_value(); }, 30);
    if (!ready || !alive()) throw std::runtime_error("dmabrokerd did not start: " + log());
}

std::string BrokerProcess::log() const
{
    std::ostringstream text;
    text << std::ifstream(folder_ + "/log").rdbuf();
    return text.str();
}

std::size_t BrokerProcess::fds() const { return count_fds(std::to_string(pid_)); }

bool BrokerProcess::alive() const
{
    siginfo_t info{};
    return ::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == 0;
}

int BrokerProcess::terminate()
{
    ::kill(pid_, SIGTERM);
    int status = 0;
    const bool ended = eventually([&] { return ::waitpid(pid_, &status, WNOHANG) == pid_; }, 10);
    if (!ended) {
        ::kill(pid_, SIGKILL);
        ::waitpid(pid_, &status, 0);
    }
    pid_ = -1;
    return status;
}

} // namespace dmb::test

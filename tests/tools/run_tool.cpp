// SPDX-License-Identifier: MIT
// Output goes through temporary files: no pipe can fill up, whatever is printed.
#include "tests/tools/run_tool.hpp"

#include "proto/base/unique_fd.hpp"

#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <stdexcept>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace dmb::test {
namespace {

UniqueFd memory_file(const std::string& text = {})
{
    UniqueFd fd = UniqueFd::adopt(::memfd_create("tool", MFD_CLOEXEC));
    if (::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) throw std::runtime_error("memfd");
    ::lseek(fd.get(), 0, SEEK_SET);
    return fd;
}

std::string contents(const UniqueFd& fd)
{
    std::string text(static_cast<std::size_t>(::lseek(fd.get(), 0, SEEK_END)), '\0');
    if (::pread(fd.get(), text.data(), text.size(), 0) != static_cast<ssize_t>(text.size())) throw std::runtime_error("memfd");
    return text;
}

} // namespace

std::string ToolResult::last_word() const
{
    const std::size_t end = out.find_last_not_of(" \n") + 1;
    const std::size_t begin = out.find_last_of(" \n", end - 1) + 1;
    return end == 0 ? std::string() : out.substr(begin, end - begin);
}

ToolResult run_tool(std::vector<std::string> arguments, const std::string& input)
{
    const UniqueFd in = memory_file(input), out = memory_file(), err = memory_file();
    arguments.insert(arguments.begin(), DMABROKERCTL_BINARY);
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    const pid_t pid = ::fork();
    if (pid == 0) {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        ::dup2(in.get(), 0);
        ::dup2(out.get(), 1);
        ::dup2(err.get(), 2);
        ::execv(argv[0], argv.data());
        ::_exit(127);
    }
    int status = 0;
    ::waitpid(pid, &status, 0);
    return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), contents(out), contents(err)};
}

} // namespace dmb::test

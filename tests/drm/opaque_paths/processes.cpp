// SPDX-License-Identifier: MIT
// Each role is a forked child that reports one line through a pipe and leaves with _exit: destructors of drivers
// are of no interest here. The pipe's end without a line is a crash, or a child that took too long and was killed.
#include "tests/drm/opaque_paths/processes.hpp"

#include <chrono>
#include <csignal>
#include <cstdio>
#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace dmb::paths {
namespace {

using Clock = std::chrono::steady_clock;
/// The first character of a report.
namespace Mark {
constexpr char passed = 'p', failed = 'f', skipped = 's', left = 'l';
}

std::string report(const std::function<std::string()>& work)
{
    try {
        return Mark::passed + work();
    } catch (const Skip& e) {
        return Mark::skipped + std::string(e.what());
    } catch (const PeerLeft& e) {
        return Mark::left + std::string(e.what());
    } catch (const std::exception& e) {
        return Mark::failed + std::string(e.what());
    }
}

class Child {
public:
    explicit Child(const std::function<std::string()>& work)
    {
        int ends[2];
        if (::pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("pipe failed");
        out_ = UniqueFd::adopt(ends[0]);
        UniqueFd in = UniqueFd::adopt(ends[1]);
        std::fflush(nullptr);
        pid_ = ::fork();
        if (pid_ < 0) throw std::runtime_error("fork failed");
        if (pid_ == 0) run(work, in.get());
    }
    Child(const Child&) = delete;
    Child& operator=(const Child&) = delete;

    /// A mark and a text.
    std::string wait(Clock::time_point end)
    {
        const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now()).count();
        pollfd ready{out_.get(), POLLIN, 0};
        const bool in_time = ::poll(&ready, 1, left > 0 ? static_cast<int>(left) : 0) > 0;
        if (!in_time) ::kill(pid_, SIGKILL);
        std::string text = read_all();
        int status = 0;
        ::waitpid(pid_, &status, 0);
        if (!text.empty()) return text;
        if (!in_time) return "ftook too long and was killed";
        return "fended by signal " + std::to_string(WIFSIGNALED(status) ? WTERMSIG(status) : 0);
    }

private:
    [[noreturn]] static void run(const std::function<std::string()>& work, int out)
    {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        std::string line = report(work);
        line.resize(std::min<std::size_t>(line.size(), 4000)); // fits a pipe: the parent reads when all is over
        const bool told = ::write(out, line.data(), line.size()) == static_cast<ssize_t>(line.size());
        std::fflush(nullptr);
        ::_exit(told ? 0 : 1);
    }
    std::string read_all() const
    {
        std::string text(4096, '\0');
        const ssize_t got = ::read(out_.get(), text.data(), text.size());
        text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
        return text;
    }

    pid_t pid_ = -1;
    UniqueFd out_;
};

Clock::time_point after(double seconds)
{
    return Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

std::string joined(const std::string& producer, const std::string& consumer)
{
    const std::string one = producer.substr(1), other = consumer.substr(1);
    if (one.empty() || other.empty() || one == other) return one.empty() ? other : one;
    return one + "; " + other;
}

/// What failed on one side made the other one leave; a path that both know not to exist is named once.
Outcome judge(const std::string& producer, const std::string& consumer)
{
    for (const char mark : {Mark::failed, Mark::skipped, Mark::left})
        for (const auto& [who, line] : {std::pair{"producer", producer}, std::pair{"consumer", consumer}})
            if (line[0] == mark)
                return {mark == Mark::skipped ? Verdict::skipped : Verdict::failed,
                        mark == Mark::skipped ? line.substr(1) : std::string(who) + ": " + line.substr(1)};
    return {Verdict::passed, joined(producer, consumer)};
}

} // namespace

Outcome run_pair(const Role& producer, const Role& consumer, double seconds)
{
    LinkPair pair = LinkPair::make();
    // Each child keeps its own end only, or nobody would see the other one leave.
    Child first([&] {
        pair.second.reset();
        Link link(std::move(pair.first));
        return producer(link);
    });
    Child second([&] {
        pair.first.reset();
        Link link(std::move(pair.second));
        return consumer(link);
    });
    pair = {};
    const auto end = after(seconds);
    const std::string one = first.wait(end);
    return judge(one, second.wait(end));
}

Outcome run_alone(const std::function<std::string()>& work, double seconds)
{
    const std::string line = Child(work).wait(after(seconds));
    const Verdict verdict = line[0] == Mark::passed    ? Verdict::passed
                            : line[0] == Mark::skipped ? Verdict::skipped
                                                       : Verdict::failed;
    return {verdict, line.substr(1)};
}

} // namespace dmb::paths

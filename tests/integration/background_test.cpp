// SPDX-License-Identifier: MIT
// `dmabrokerd --background`, run by a shell as people run it. What it leaves behind becomes this process's child, so that
// its end can be waited for.
#include "proto/wire/channel.hpp"
#include "tests/support/fixture.hpp"

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

namespace dmb::test {
namespace {

class Background : public FdTest {
protected:
    Background() { ::prctl(PR_SET_CHILD_SUBREAPER, 1UL, 0UL, 0UL, 0UL); }
    ~Background() override { std::filesystem::remove_all(folder_); }

    /// Returns the exit status; `printed` is what came on standard output until everybody had closed it.
    int run(const std::string& redirected = "")
    {
        const std::string command = std::string("exec " DMABROKERD_BINARY " --background --no-gpu --cache '' --socket ") +
                                    socket() + " 2>>" + folder_ + "/log" + redirected;
        FILE* output = ::popen(command.c_str(), "re");
        printed_ = 0;
        if (std::fscanf(output, "%d", &printed_) != 1) printed_ = 0;
        EXPECT_EQ(std::fgetc(output), printed_ ? '\n' : EOF);
        const int status = ::pclose(output);
        return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    }

    /// Its process number; 0: nobody.
    pid_t who_serves() const
    {
        const auto client = wire::connect(socket());
        ucred server{};
        socklen_t size = sizeof server;
        if (client) ::getsockopt(client->get(), SOL_SOCKET, SO_PEERCRED, &server, &size);
        return server.pid;
    }

    int end(pid_t broker)
    {
        int status = -1;
        ::kill(broker, SIGTERM);
        ::waitpid(broker, &status, 0);
        return status;
    }

    std::string socket() const { return folder_ + "/broker"; }
    std::string log() const
    {
        std::ostringstream text;
        text << std::ifstream(folder_ + "/log").rdbuf();
        return text.str();
    }

    static std::string make_folder()
    {
        std::string pattern = (std::filesystem::temp_directory_path() / "dmabroker-test-XXXXXX").string();
        return ::mkdtemp(pattern.data()) ? pattern : "";
    }
    const std::string folder_ = make_folder();
    pid_t printed_ = 0;
};

TEST_F(Background, returns_when_clients_can_connect_and_prints_who_serves_them)
{
    ASSERT_EQ(run(), 0) << log();
    EXPECT_EQ(who_serves(), printed_);
    EXPECT_EQ(end(printed_), 0);
}

TEST_F(Background, serves_where_the_caller_has_no_standard_descriptors)
{
    ASSERT_EQ(run(" <&- >&- 2>&-"), 0);
    const pid_t broker = who_serves();
    for (const char* standard : {"/fd/0", "/fd/1", "/fd/2"})
        EXPECT_EQ(std::filesystem::read_symlink("/proc/" + std::to_string(broker) + standard), "/dev/null") << standard;
    EXPECT_EQ(end(broker), 0);
}

TEST_F(Background, leaves_the_callers_session_and_logs_to_its_standard_error)
{
    ASSERT_EQ(run(), 0) << log();
    EXPECT_EQ(::getsid(printed_), printed_);
    EXPECT_NE(log().find("listens on " + socket()), std::string::npos) << log();
    end(printed_);
}

TEST_F(Background, fails_with_the_reason_where_a_broker_runs_already)
{
    ASSERT_EQ(run(), 0) << log();
    const pid_t broker = printed_;
    EXPECT_EQ(run(), 1);
    EXPECT_EQ(printed_, 0);
    EXPECT_NE(log().find("another dmabrokerd serves " + socket()), std::string::npos) << log();
    EXPECT_EQ(who_serves(), broker) << "the first one must not notice";
    end(broker);
}

} // namespace
} // namespace dmb::test

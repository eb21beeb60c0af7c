// SPDX-License-Identifier: MIT
// Whether a client that gave its image back still reaches the memory when the next one draws into it. No lease sees an
// O_PATH descriptor, and /proc opens it anew, also for writing, for whoever may open the file. Every client that matters
// here is a process of its own.
#include "tests/integration/raw_client.hpp"
#include "tests/support/broker_process.hpp"
#include "tests/support/fixture.hpp"

#include <cerrno>
#include <csignal>
#include <fcntl.h>
#include <functional>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

namespace dmb::test {
namespace {

constexpr uid_t somebody = 64001, somebody_else = 64002;

/// Another process, perhaps of another user, in step with the test: what it says at one step is what step() returns.
class Neighbour {
public:
    using Say = std::function<void(std::uint64_t)>;
    Neighbour(uid_t uid, const std::function<void(const Say&)>& life)
    {
        int ends[2];
        if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) std::abort();
        link_ = UniqueFd::adopt(ends[0]);
        const UniqueFd theirs = UniqueFd::adopt(ends[1]);
        pid_ = ::fork();
        if (pid_ != 0) return;
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        link_.reset();
        if (::setresuid(uid, uid, uid) != 0) ::_exit(1);
        const auto wait = [&] {
            if (std::uint64_t go; ::read(theirs.get(), &go, sizeof go) != sizeof go) ::_exit(1);
        };
        wait();
        life([&](std::uint64_t value) {
            if (::write(theirs.get(), &value, sizeof value) != sizeof value) ::_exit(1);
            wait();
        });
        ::_exit(0);
    }
    ~Neighbour()
    {
        link_.reset();
        ::waitpid(pid_, nullptr, 0);
    }
    std::uint64_t step()
    {
        std::uint64_t value = 1;
        EXPECT_EQ(::write(link_.get(), &value, sizeof value), ssize_t{sizeof value});
        EXPECT_EQ(::read(link_.get(), &value, sizeof value), ssize_t{sizeof value}) << "the other process ended";
        return value;
    }

private:
    UniqueFd link_;
    pid_t pid_ = -1;
};

std::uint64_t inode(int fd)
{
    struct stat info{};
    EXPECT_EQ(::fstat(fd, &info), 0);
    return info.st_ino;
}

UniqueFd open_again(int fd, int flags)
{
    return UniqueFd::adopt(::open(("/proc/self/fd/" + std::to_string(fd)).c_str(), flags | O_CLOEXEC));
}

bool has(int fd, std::string_view text)
{
    std::string seen(text.size(), ' ');
    return ::pread(fd, seen.data(), seen.size(), 0) == static_cast<ssize_t>(seen.size()) && seen == text;
}

bool put(int fd, std::string_view text)
{
    return ::pwrite(fd, text.data(), text.size(), 0) == static_cast<ssize_t>(text.size());
}

class ReuseTest : public FdTest {
protected:
    /// Allocates and gives back; what it keeps is a path to the memory.
    static UniqueFd take_a_path(RawClient& client)
    {
        const auto image = client.get<wire::ImageReply>(make_allocate({64, 64}));
        UniqueFd path = open_again(client.last_fds[0].get(), O_PATH);
        client.last_fds.clear();
        client.say(wire::Release{image.handle});
        return path;
    }
    /// Steps: it has painted, and says which memory; is its picture as it was?
    Neighbour painter(uid_t uid)
    {
        return Neighbour(uid, [&](const Neighbour::Say& say) {
            RawClient client(broker.socket());
            (void)client.get<wire::ImageReply>(make_allocate({64, 64}));
            const bool was_clear = has(client.last_fds[0].get(), std::string(7, '\0'));
            say(was_clear && put(client.last_fds[0].get(), "picture") ? inode(client.last_fds[0].get()) : 0);
            say(has(client.last_fds[0].get(), "picture"));
        });
    }
    /// Until the broker has only the manager for a client.
    void all_are_gone()
    {
        EXPECT_TRUE(eventually([&] { return manager.snapshot().clients.size() == 1; }));
    }

    BrokerProcess broker;
    RawClient manager{broker.socket() + ".manager"};
};

TEST_F(ReuseTest, a_path_to_memory_that_was_given_back_does_not_lead_into_the_next_client_s_picture)
{
    RawClient thief(broker.socket());
    const UniqueFd path = take_a_path(thief);
    thief.close();
    all_are_gone();
    Neighbour next = painter(::getuid());
    EXPECT_NE(next.step(), 0u);
    const UniqueFd reopened = open_again(path.get(), O_RDWR);
    ASSERT_TRUE(reopened) << "then there is nothing to test here";
    EXPECT_FALSE(has(reopened.get(), "picture"));
    EXPECT_TRUE(put(reopened.get(), "graffiti"));
    EXPECT_EQ(next.step(), 1u);
}

TEST_F(ReuseTest, nor_does_it_while_its_owner_is_still_there)
{
    RawClient thief(broker.socket());
    const UniqueFd path = take_a_path(thief);
    Neighbour next = painter(::getuid());
    EXPECT_NE(next.step(), 0u);
    EXPECT_FALSE(has(open_again(path.get(), O_RDWR).get(), "picture"));
    EXPECT_TRUE(put(open_again(path.get(), O_RDWR).get(), "graffiti"));
    EXPECT_EQ(next.step(), 1u);
}

TEST_F(ReuseTest, a_reader_s_path_does_not_lead_into_the_owner_s_next_picture)
{
    RawClient owner(broker.socket()), reader(broker.socket());
    const auto image = owner.get<wire::ImageReply>(make_allocate({64, 64}));
    owner.last_fds.clear();
    const Token token = owner.get<wire::TokenReply>(wire::MintToken{image.handle, Right::read}).token;
    const auto seen = reader.get<wire::ImageReply>(wire::Open{token, Right::read, UsageFlag::cpu_read});
    const UniqueFd path = open_again(reader.last_fds[0].get(), O_PATH);
    reader.last_fds.clear();
    reader.say(wire::Release{seen.handle});
    EXPECT_TRUE(eventually([&] { return manager.snapshot().images.at(0).holders.size() == 1; }));
    owner.say(wire::Release{image.handle});
    (void)owner.get<wire::ImageReply>(make_allocate({64, 64}));
    EXPECT_TRUE(put(owner.last_fds[0].get(), "picture"));
    EXPECT_FALSE(has(open_again(path.get(), O_RDWR).get(), "picture"));
    owner.last_fds.clear();
}

TEST_F(ReuseTest, a_client_gets_its_own_memory_back)
{
    RawClient client(broker.socket());
    const UniqueFd path = take_a_path(client);
    (void)client.get<wire::ImageReply>(make_allocate({64, 64}));
    EXPECT_EQ(inode(client.last_fds[0].get()), inode(path.get()));
    client.last_fds.clear();
}

TEST_F(ReuseTest, memory_of_another_user_is_reused_and_its_path_opens_nothing)
{
    if (::getuid() != 0) GTEST_SKIP() << "only root can act for two users";
    using std::filesystem::perms, std::filesystem::perm_options;
    const std::filesystem::path folder = broker.folder();
    std::filesystem::permissions(folder, perms(0755));
    std::filesystem::permissions(folder.parent_path(), perms::group_exec | perms::others_exec,
                                 perm_options::add); // it may be a test's own
    Neighbour thief(somebody, [&](const Neighbour::Say& say) {
        RawClient client(broker.socket());
        const UniqueFd path = take_a_path(client);
        client.close();
        say(inode(path.get()));
        for (const int flags : {O_RDONLY, O_WRONLY, O_RDWR}) {
            const UniqueFd reopened = open_again(path.get(), flags);
            say(reopened ? 0 : static_cast<std::uint64_t>(errno));
        }
    });
    const std::uint64_t memory = thief.step();
    all_are_gone();
    Neighbour next = painter(somebody_else);
    EXPECT_EQ(next.step(), memory);
    for (int i = 0; i < 3; ++i) EXPECT_EQ(thief.step(), static_cast<std::uint64_t>(EACCES));
    EXPECT_EQ(next.step(), 1u);
}

} // namespace
} // namespace dmb::test

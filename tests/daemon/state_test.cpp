// SPDX-License-Identifier: MIT
// A session goes on in another process with another broker, after every step, as if nothing had happened; and it does not
// when a single field of the State is left out. The other process exists before the session: it knows what it is sent.
#include "daemon/core/state/saved.hpp"
#include "daemon/net/state_codec.hpp"
#include "proto/base/log.hpp"
#include "tests/daemon/state_world.hpp"
#include "tests/support/fixture.hpp"
#include "tests/support/instrumented.hpp"

#include <algorithm>
#include <cstring>
#include <fcntl.h>
#include <numeric>
#include <set>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

namespace dmb::test {
namespace {

// --- fields by name --------------------------------------------------------------------------------

/// Walks all records of a Saved; set() of a field's path makes that field what it is by default, everywhere.
class Fields {
public:
    explicit Fields(std::string left_out = "") : left_out_(std::move(left_out)) {}

    template <class T> void operator()(const char* name, T& value)
    {
        const std::string before = path_;
        path_ += path_.empty() ? name : std::string(".") + name;
        if (path_ == left_out_) value = T{};
        else visit(value);
        path_ = before;
    }
    std::set<std::string> leaves;

private:
    template <class T> void visit(T& value)
    {
        if constexpr (requires { fields(*this, value); }) fields(*this, value);
        else leaves.insert(path_);
    }
    /// Also what a list has no example of now.
    template <class T> void visit(std::vector<T>& list)
    {
        T example{};
        if (left_out_.empty()) visit(example);
        for (T& element : list) visit(element);
        leaves.insert(path_);
    }
    template <class T> void visit(std::optional<T>& value)
    {
        T example{};
        visit(value ? *value : example);
        leaves.insert(path_);
    }
    template <class T> void visit(std::shared_ptr<const T>& value)
    {
        T copy = value ? *value : T{};
        visit(copy);
        if (value) value = std::make_shared<const T>(std::move(copy));
        leaves.insert(path_);
    }

    std::string left_out_;
    std::string path_;
};

std::set<std::string> all_fields()
{
    Saved nothing;
    Fields names;
    fields(names, nothing);
    return names.leaves;
}

// --- the other process -----------------------------------------------------------------------------

void send_all(int socket, std::span<const std::byte> bytes)
{
    while (!bytes.empty()) {
        const ssize_t sent = ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (sent <= 0) std::abort();
        bytes = bytes.subspan(static_cast<std::size_t>(sent));
    }
}

bool receive_all(int socket, std::span<std::byte> bytes)
{
    while (!bytes.empty()) {
        const ssize_t got = ::recv(socket, bytes.data(), bytes.size(), 0);
        if (got <= 0) return false;
        bytes = bytes.subspan(static_cast<std::size_t>(got));
    }
    return true;
}

void send_block(int socket, std::span<const std::byte> bytes)
{
    const std::uint64_t size = bytes.size();
    send_all(socket, std::as_bytes(std::span(&size, 1)));
    send_all(socket, bytes);
}

std::optional<std::vector<std::byte>> receive_block(int socket)
{
    std::uint64_t size = 0;
    if (!receive_all(socket, std::as_writable_bytes(std::span(&size, 1)))) return std::nullopt;
    std::vector<std::byte> out(size);
    if (!receive_all(socket, out)) return std::nullopt;
    return out;
}

constexpr std::size_t most_fds = 250;

void send_fds(int socket, std::span<const int> fds)
{
    std::uint64_t count = fds.size();
    iovec data{&count, sizeof count};
    alignas(cmsghdr) char control[CMSG_SPACE(most_fds * sizeof(int))]{};
    msghdr message{};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    if (!fds.empty()) {
        message.msg_control = control;
        message.msg_controllen = CMSG_SPACE(fds.size_bytes());
        cmsghdr* header = CMSG_FIRSTHDR(&message);
        *header = {.cmsg_len = CMSG_LEN(fds.size_bytes()), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
        std::memcpy(CMSG_DATA(header), fds.data(), fds.size_bytes());
    }
    if (fds.size() > most_fds || ::sendmsg(socket, &message, MSG_NOSIGNAL) != sizeof count) std::abort();
}

std::optional<std::vector<UniqueFd>> receive_fds(int socket)
{
    std::uint64_t count = 0;
    iovec data{&count, sizeof count};
    alignas(cmsghdr) char control[CMSG_SPACE(most_fds * sizeof(int))];
    msghdr message{};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    if (::recvmsg(socket, &message, MSG_CMSG_CLOEXEC) != sizeof count) return std::nullopt;
    std::vector<UniqueFd> out;
    if (const cmsghdr* header = CMSG_FIRSTHDR(&message))
        for (std::uint64_t i = 0; i < count; ++i) {
            int fd = -1;
            std::memcpy(&fd, CMSG_DATA(header) + i * sizeof fd, sizeof fd);
            out.push_back(UniqueFd::adopt(fd));
        }
    return out;
}

/// Everything that was said until the end, or until it is not what was expected; or why it did not come to that.
std::string rest_of(std::size_t step, std::span<const std::byte> state, std::vector<UniqueFd> fds, Memory memory,
                    std::string_view expected)
{
    World world;
    Result<Saved> saved = decode_state(state);
    if (!saved) return "not decoded: " + std::string(saved.error().reason.view());
    if (const auto went = world.go_on(std::move(*saved), std::move(fds), std::move(memory)); !went)
        return "not loaded: " + std::string(went.error().reason.view());
    for (; step < World::step_count() && expected.starts_with(world.memory.trace); ++step) world.step(step);
    return world.memory.trace;
}

/// In the other process: one session after the other, each in a process of its own, because a bad State may end it.
[[noreturn]] void serve(int socket)
{
    while (true) {
        const pid_t child = ::fork();
        if (child == 0) {
            log::set_level(log::Level::error);
            auto fds = receive_fds(socket);
            if (!fds) ::_exit(7);
            const auto state = receive_block(socket), memory = receive_block(socket), step = receive_block(socket),
                       expected = receive_block(socket);
            std::size_t first = 0;
            std::memcpy(&first, step->data(), sizeof first);
            const std::string said = rest_of(first, *state, std::move(*fds), memory_from(*memory),
                                             {reinterpret_cast<const char*>(expected->data()), expected->size()});
            send_block(socket, std::as_bytes(std::span(said)));
            ::_exit(0);
        }
        int status = 0;
        ::waitpid(child, &status, 0);
        if (WIFEXITED(status) && WEXITSTATUS(status) == 7) ::_exit(0);
        if (status != 0) send_block(socket, std::as_bytes(std::span("crashed", 7)));
    }
}

class Elsewhere : public FdTest {
protected:
    Elsewhere()
    {
        int ends[2];
        if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) std::abort();
        here_ = UniqueFd::adopt(ends[0]);
        UniqueFd there = UniqueFd::adopt(ends[1]);
        child_ = ::fork();
        if (child_ == 0) {
            here_.reset();
            serve(there.get());
        }
        log::set_level(log::Level::error);
    }
    ~Elsewhere() override
    {
        here_.reset();
        ::waitpid(child_, nullptr, 0);
        log::set_level(log::Level::info);
    }

    /// The steps until `step` here, the rest there.
    std::string run(std::size_t step, const std::string& expected, const std::string& left_out = "")
    {
        auto world = std::make_unique<World>();
        for (std::size_t i = 0; i < step; ++i) world->step(i);
        std::vector<int> fds;
        Saved saved = world->broker().state().save(fds);
        Fields without(left_out);
        if (!left_out.empty()) fields(without, saved);
        const auto bytes = encode_state(std::move(saved));
        if (!bytes) return std::string(bytes.error().reason.view());
        send_fds(here_.get(), fds);
        const std::vector<std::byte> memory = to_bytes(world->memory);
        world.reset(); // before the other one has begun: no memory is held by both
        send_block(here_.get(), *bytes);
        send_block(here_.get(), memory);
        send_block(here_.get(), std::as_bytes(std::span(&step, 1)));
        send_block(here_.get(), std::as_bytes(std::span(expected)));
        const auto said = receive_block(here_.get());
        return said ? std::string(reinterpret_cast<const char*>(said->data()), said->size()) : "nothing";
    }

    static std::string unbroken()
    {
        World world;
        for (std::size_t i = 0; i < World::step_count(); ++i) world.step(i);
        return world.memory.trace;
    }
    /// The first line that differs.
    static std::string difference(const std::string& a, const std::string& b)
    {
        const auto at = static_cast<std::size_t>(std::ranges::mismatch(a, b).in1 - a.begin());
        const std::size_t line = a.rfind('\n', at) == std::string::npos ? 0 : a.rfind('\n', at) + 1;
        return a.substr(line, 2000).substr(0, a.substr(line).find('\n')) + "\n   and not\n" +
               b.substr(line, b.find('\n', at) - line);
    }

private:
    UniqueFd here_;
    pid_t child_;
};

/// Each process takes tens of times as long with sanitizers: they see every fifth, plain builds see all.
const std::size_t stride = is_instrumented() ? 5 : 1;

TEST_F(Elsewhere, a_session_goes_on_after_every_step_as_if_nothing_had_happened)
{
    const std::string expected = unbroken();
    if (std::getenv("DMABROKER_SHOW")) std::puts(expected.c_str());
    for (std::size_t step = 0; step < World::step_count(); step += stride) {
        const std::string said = run(step, expected);
        EXPECT_TRUE(said == expected) << "before " << World::step_name(step) << ": " << difference(expected, said);
    }
}

TEST_F(Elsewhere, no_field_of_the_state_can_be_left_out)
{
    const std::string expected = unbroken();
    std::vector<std::size_t> steps(World::step_count());
    std::iota(steps.begin(), steps.end(), 0);
    std::size_t number = 0;
    for (const std::string& field : all_fields()) {
        if (number++ % stride != 0) continue;
        const auto found =
            std::ranges::find_if(steps, [&](std::size_t step) { return run(step, expected, field) != expected; });
        const bool missed = found != steps.end();
        if (missed) std::rotate(steps.begin(), found, found + 1); // where it was missed the next one may be, too
        EXPECT_TRUE(missed) << field << " has no effect";
    }
}

TEST_F(Elsewhere, whatever_changes_the_state_is_told_to_whoever_keeps_a_copy)
{
    World world;
    std::vector<std::byte> before;
    std::uint64_t changes = 0;
    for (std::size_t i = 0; i < World::step_count(); ++i) {
        world.step(i);
        std::vector<int> fds;
        std::vector<std::byte> after = *encode_state(world.broker().state().save(fds));
        if (after != before) {
            EXPECT_GT(world.changes, changes) << World::step_name(i);
        }
        before = std::move(after);
        changes = world.changes;
    }
}

TEST_F(Elsewhere, torn_or_forged_bytes_are_refused_and_harm_nobody)
{
    World world;
    for (std::size_t i = 0; i < World::step_count() / 2; ++i) world.step(i);
    std::vector<int> fds;
    const std::vector<std::byte> whole = *encode_state(world.broker().state().save(fds));
    const auto load = [&](std::span<const std::byte> bytes) -> Result<> {
        std::vector<UniqueFd> copies;
        for (const int fd : fds) copies.push_back(UniqueFd::adopt(::fcntl(fd, F_DUPFD_CLOEXEC, 3)));
        State state({}, {});
        return state.load(TRY(decode_state(bytes)), std::move(copies), {1});
    };
    EXPECT_TRUE(load(whole));
    for (std::size_t size = 0; size < whole.size(); size += 97) EXPECT_FALSE(load(std::span(whole).first(size))) << size;
    std::vector<std::byte> forged = whole;
    for (std::size_t at = 0; at < whole.size(); at += 31) { // an error or a State, and no crash
        for (const std::byte value : {whole[at] ^ std::byte{0xff}, std::byte{0x1f}, std::byte{0}}) {
            forged[at] = value;
            (void)load(forged);
        }
        forged[at] = whole[at];
    }
    std::swap(fds.front(), fds.back());
    EXPECT_FALSE(load(whole)) << "descriptors of others";
}

} // namespace
} // namespace dmb::test

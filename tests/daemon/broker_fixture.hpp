// SPDX-License-Identifier: MIT
// A broker without sockets, event loop or clock: time is a member that tests set.
#pragma once
#include "daemon/alloc/memfd.hpp"
#include "daemon/core/serving/broker.hpp"
#include "tests/support/fixture.hpp"

#include <fcntl.h>
#include <optional>
#include <sys/mman.h>
#include <unistd.h>

namespace dmb::test {

struct Events : EventSink {
    void image_revoked(ClientId client, HandleId handle) override { revoked.emplace_back(client, handle); }
    void image_replaced(ClientId client, HandleId handle, ImageId successor, RequestId) override
    {
        replaced.push_back({client, handle, successor});
    }
    struct Replaced {
        ClientId client;
        HandleId handle;
        ImageId successor;
    };
    std::vector<std::pair<ClientId, HandleId>> revoked;
    std::vector<Replaced> replaced;
};

/// What a test keeps of an answer.
struct Got {
    HandleId handle;
    ImageId image;
    Rights rights;
    Protection protection = Protection::none;
    ImageDesc desc;
    UniqueFd fd; ///< a duplicate, as a client gets one
};

class BrokerTest : public FdTest {
protected:
    explicit BrokerTest(Limits limits_to_use = {}) : limits(limits_to_use) {}

    void SetUp() override
    {
        pool.emplace(64ULL << 20);
        broker.emplace(limits, std::vector<Allocator*>{&memfd}, *pool, proofs, Helpers{}, events);
        join(alice);
        join(bob);
    }
    void TearDown() override
    {
        broker.reset();
        pool.reset();
    }

    void join(ClientId id, bool manager = false, std::uint32_t uid = 1000, bool may_reopen = false)
    {
        const Peer peer{.pid = 1, .uid = uid, .unmapped = false, .may_reopen = may_reopen};
        ASSERT_TRUE(broker->connect(id, peer, manager, "test"));
    }
    static Got keep(const Held& held)
    {
        Got out{held.handle, held.image, held.rights, held.protection, *held.desc, {}};
        if (!held.fds.empty()) out.fd = UniqueFd::adopt(::fcntl(held.fds[0], F_DUPFD_CLOEXEC, 0));
        return out;
    }
    static ImageRequest request(Extent size = {64, 64}, std::uint64_t lease_ns = 0)
    {
        ImageRequest out;
        out.spec.size = size;
        out.spec.format = fourcc("AB24");
        out.spec.usage = usage_cpu;
        out.lease_ns = lease_ns;
        return out;
    }
    Result<Got> allocate(ClientId id, const ImageRequest& what = request(), UniqueFd contents = {})
    {
        Result<Got> out = fail(Errc::internal, "not answered");
        broker->allocate(next(id), what, std::move(contents), now, [&](const OperationAnswer& answer) {
            if (answer.held) out = keep(answer.held->front());
            else out = std::unexpected(answer.held.error());
        });
        return out;
    }
    Result<Got> open(ClientId id, const Token& token, Rights rights = Right::read, Usage usage = UsageFlag::sample)
    {
        auto held = broker->open(id, token, rights, usage, now);
        if (!held) return std::unexpected(held.error());
        return keep(*held);
    }
    Result<Token> mint(ClientId id, HandleId handle, Rights rights = Right::read, bool one_shot = false,
                       std::uint64_t lifetime_ns = 0, bool enforced = false)
    {
        return broker->mint(id, handle, {rights, one_shot, enforced, lifetime_ns}, now);
    }
    /// The number of a request that takes time.
    OperationId next(ClientId id) { return {id, ++serial}; }
    Errc release(ClientId id, Got& got)
    {
        got.fd.reset();
        const auto released = broker->release(id, got.handle, now);
        return released ? Errc{} : released.error().code;
    }
    template <class T> static Errc code(const Result<T>& result) { return result ? Errc{} : result.error().code; }
    Amount used(ClientId id)
    {
        const Snapshot state = *broker->inspect(id, {}, now);
        for (const ClientInfo& info : state.clients)
            if (info.id == id) return {.bytes = info.bytes, .images = info.images, .fds = info.fds, .tokens = 0};
        return {};
    }
    void pass(std::uint64_t ns)
    {
        now = after(now, ns);
        broker->expire(now);
    }

    const ClientId alice{1}, bob{2};
    Instant now{1'000'000'000};
    std::uint64_t serial = 0;
    Limits limits;
    Events events;
    MemfdAllocator memfd;
    Proofs proofs;
    std::optional<Pool> pool;
    std::optional<Broker> broker;
};

constexpr std::uint64_t second = 1'000'000'000;

} // namespace dmb::test

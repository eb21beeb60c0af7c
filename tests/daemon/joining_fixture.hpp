// SPDX-License-Identifier: MIT
// A broker with system memory, one fake GPU and fake helpers, and clients with capability tables.
#pragma once
#include "proto/wire/digest.hpp"
#include "tests/daemon/broker_fixture.hpp"
#include "tests/daemon/fake_gpu.hpp"

namespace dmb::test {

/// What became of a join or a refresh.
struct Joined {
    bool answered = false;
    Errc code = Errc{};
    std::string reason;
    Got got;
    ImageId source;
    RequestId request;
};

class JoiningTest : public BrokerTest {
protected:
    explicit JoiningTest(const Limits& limits_to_use = {}) : BrokerTest(limits_to_use) {}

    void SetUp() override
    {
        pool.emplace(64ULL << 20);
        broker.emplace(limits, std::vector<Allocator*>{&memfd, &gpu}, *pool, proofs, Helpers{{&prover}, &system}, events);
        for (const ClientId id : {alice, bob, carol}) join(id);
        join(manager, true);
    }

    Digest state(ClientId id, const Capabilities& table)
    {
        const Digest digest = *wire::digest_of(table);
        EXPECT_TRUE(broker->deciding().keep_table(id, digest, table));
        return digest;
    }
    static Participant party(const Digest& table, Usage usage = UsageFlag::sample, std::string_view name = "")
    {
        return {.name = name, .capabilities = table, .usage = usage};
    }
    /// A tiled image of the GPU, for one who has all layouts.
    Got make_tiled(ClientId id, std::vector<Participant> others = {})
    {
        ImageRequest what = request();
        what.spec.usage = UsageFlag::render;
        what.participants = std::move(others);
        what.participants.push_back(
            party(state(id, make_table({tiled, swizzled, modifier_linear})), UsageFlag::render, "producer"));
        auto made = allocate(id, what);
        EXPECT_TRUE(made) << (made ? "" : made.error().reason.view());
        return made ? std::move(*made) : Got{};
    }
    Token token_of(ClientId id, const Got& image, Rights rights = Right::read, bool one_shot = false)
    {
        return *mint(id, image.handle, rights, one_shot);
    }
    /// The answer arrives in what is returned, now or later.
    std::shared_ptr<Joined> come(ClientId id, const Token& token, const Participant& as, Rights rights = Right::read)
    {
        auto out = std::make_shared<Joined>();
        broker->join(next(id), token, rights, as, now, [out](const OperationAnswer& answer) {
            EXPECT_FALSE(out->answered);
            out->answered = true;
            out->request = answer.request;
            if (!answer.held) {
                out->code = answer.held.error().code;
                out->reason = answer.held.error().reason.view();
                return;
            }
            out->got = keep(answer.held->front());
            out->source = answer.held->front().source;
        });
        return out;
    }
    Result<std::uint64_t> refresh(ClientId id, HandleId handle)
    {
        Result<std::uint64_t> out = fail(Errc::internal, "not answered");
        broker->refresh(next(id), handle, now, [&](const OperationAnswer& answer) {
            if (answer.held) out = answer.cost_ns;
            else out = std::unexpected(answer.held.error());
        });
        return out;
    }
    Result<Got> move(ClientId id, HandleId handle)
    {
        auto held = broker->move(id, handle, now);
        if (!held) return std::unexpected(held.error());
        return keep(*held);
    }
    std::string why(ClientId id, RequestId request, ImageId image = {})
    {
        const auto decision = broker->deciding().why(id, request, image, now);
        return decision ? std::string(decision->outcome.view()) : std::string(name(decision.error().code));
    }
    Errc manage_proofs(ClientId id, ProofAction action)
    {
        Errc out = Errc::internal;
        broker->manage_proofs(next(id), action, now, [&](const OperationAnswer& answer) { out = code(answer.held); });
        return out;
    }
    ImageInfo info(ImageId id) { return broker->inspect(manager, id, now)->images.at(0); }
    /// Everything that a client left behind but its connection.
    void expect_nothing_is_held(ClientId id)
    {
        EXPECT_EQ(used(id).images, 0u);
        EXPECT_EQ(used(id).fds, 0u);
    }

    const ClientId carol{3}, manager{4};
    FakeGpu gpu;
    FakeHelper prover, system;
    const Capabilities linear_table = make_table({modifier_linear}, Api::vulkan);
    const Capabilities swizzled_table = make_table({swizzled}, Api::gbm);
    const Capabilities memfd_table = make_table({}, Api::cpu, true, "cpu");
};

} // namespace dmb::test

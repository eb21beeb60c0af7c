// SPDX-License-Identifier: MIT
// A whole broker in this process: the real sessions over socket pairs, the real core, real memfds. The
// input is a sequence of what up to three clients do: well-formed requests about each other's tokens,
// handles and images, with capability tables, bent ones, raw bytes, any kind of descriptor, silence, sudden ends; and
// of what a slow backend and its helpers answer. When all are gone nothing may be left: no image, token, pooled
// byte, descriptor.
#include "daemon/alloc/memfd.hpp"
#include "daemon/core/serving/broker.hpp"
#include "daemon/net/receivers.hpp"
#include "proto/base/log.hpp"
#include "proto/image/fd_identity.hpp"
#include "proto/image/format_table.hpp"
#include "proto/wire/digest.hpp"

#include <cstdlib>
#include <cstring>
#include <deque>
#include <fcntl.h>
#include <filesystem>
#include <fuzzer/FuzzedDataProvider.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>

using namespace dmb;

namespace {

constexpr std::size_t client_count = 3;
constexpr std::size_t most_kept = 16; ///< descriptors, tokens and handles remembered for later use
constexpr int most_steps = 200;

void require(bool holds)
{
    if (!holds) std::abort();
}

std::size_t count_fds()
{
    const std::filesystem::directory_iterator all("/proc/self/fd");
    return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

constexpr Modifier tiled{0x0100'0000'0000'0001};

/// Answers that come late, with what the input says became of them.
using Later = std::deque<std::move_only_function<void(Errc)>>;

/// Imports, reads, writes and blits nothing, but says so or says otherwise.
class LateHelper : public Helper {
public:
    explicit LateHelper(Later& later) : later_(later) {}
    void prove(const Importer&, const ImageDesc&, std::span<const int>, Instant now, Done<Proven> done) override
    {
        proving_ = std::make_shared<Done<Proven>>(std::move(done));
        const auto once = [proving = proving_](Result<Proven> proof, Instant at) {
            if (*proving) std::exchange(*proving, nullptr)(std::move(proof), at);
        };
        add<Proven>(now, once, [] { return Proven{ProofResult::works, {}}; });
    }
    void abandon(Instant now) override
    {
        if (proving_ && *proving_) std::exchange(*proving_, nullptr)(fail(Errc::shutting_down, "abandoned"), now);
    }
    void read(const ImageDesc&, std::span<const int>, Instant now, Done<Pixels> done) override
    {
        add<Pixels>(now, std::move(done), [] { return Pixels{sealed_copy("fuzz", {}).value(), 1}; });
    }
    void write(const ImageDesc&, std::span<const int>, Instant now, Done<std::uint64_t> done) override
    {
        add<std::uint64_t>(now, std::move(done), [] { return 1; });
    }
    void blit(const ImageDesc&, const ImageDesc&, std::span<const int>, Instant now, Done<std::uint64_t> done) override
    {
        add<std::uint64_t>(now, std::move(done), [] { return 1; });
    }

private:
    template <class T, class Make> void add(Instant now, Done<T> done, Make make)
    {
        later_.push_back([now, done = std::move(done), make](Errc error) mutable {
            if (error == Errc{}) done(make(), now);
            else done(fail(error, "as the input says"), now);
        });
    }
    Later& later_;
    std::shared_ptr<Done<Proven>> proving_; ///< the last one; null inside when it has its answer
};

/// A device whose memory comes late, or not at all.
class LateAllocator : public Allocator {
public:
    LateAllocator() : exports_{{{.node = "/dev/dri/late"}, Backend::gbm, {}, {}}, {}}
    {
        for (const FormatInfo& format : all_formats())
            for (const Modifier modifier : {modifier_linear, tiled})
                exports_.rows.push_back({.format = format.fourcc, .modifier = modifier, .usage = Usage::all()});
    }
    std::span<const Exports> exports() const override { return {&exports_, 1}; }
    BackendSet offers() const override
    {
        BackendSet set;
        set.add(Backend::gbm);
        return set;
    }
    Helper* helper() override { return &helper_; }
    void allocate(std::uint8_t, const AllocateSpec& spec, const LayoutRules&, int contents, Instant now,
                  Completion done) override
    {
        later_.push_back([this, spec, filled = contents >= 0, now, done = std::move(done)](Errc error) mutable {
            if (error == Errc{}) done(make(spec, filled), now);
            else done(fail(error, "as the input says"), now);
        });
    }
    void finish(Errc error)
    {
        if (later_.empty()) return;
        auto first = std::move(later_.front());
        later_.pop_front();
        first(error);
    }
    bool idle() const { return later_.empty(); }

private:
    Result<Allocated> make(const AllocateSpec& spec, bool filled) const
    {
        Allocated out;
        out.desc = TRY(linear_layout(spec.size, spec.format));
        out.desc.backend = Backend::gbm;
        out.desc.modifier = spec.modifiers.empty() ? modifier_linear : spec.modifiers[0];
        out.desc.rung = out.desc.modifier == modifier_linear ? Rung::linear : Rung::tiled;
        out.desc.usage = spec.usage;
        out.fds.push_back(TRY(create_memfd("late", out.desc.total_size(), 0)));
        out.contents_written = filled;
        return out;
    }
    Exports exports_;
    Later later_;
    LateHelper helper_{later_};
};

/// A table and its name: each of these clients can state any of them.
struct Stated {
    Capabilities table;
    Digest digest{};
};
std::vector<Stated> make_tables()
{
    std::vector<Stated> out;
    const auto add = [&](Api api, bool memfd, std::initializer_list<Modifier> modifiers) {
        Stated s;
        s.table.api = api;
        for (const FormatInfo& format : all_formats()) {
            for (const Modifier m : modifiers) s.table.rows.push_back({.format = format.fourcc, .modifier = m});
            if (memfd)
                s.table.rows.push_back({.kind = MemoryKind::memfd, .format = format.fourcc, .modifier = modifier_linear});
        }
        make_canonical(s.table);
        s.digest = wire::digest_of(s.table).value();
        out.push_back(std::move(s));
    };
    add(Api::egl, false, {modifier_linear, tiled});
    add(Api::vulkan, false, {modifier_linear});
    add(Api::kms, false, {tiled});
    add(Api::cpu, true, {});
    return out;
}

Limits small_limits()
{
    Limits limits;
    limits.client = {.bytes = 1 << 20, .images = 12, .fds = 48, .tokens = 24};
    limits.uid = {.bytes = 2 << 20, .images = 24, .fds = 96, .tokens = 48};
    limits.handles_per_client = 32;
    limits.clients_per_uid = 2;
    return limits;
}

class World {
public:
    explicit World(FuzzedDataProvider& input) : in_(input) { server_.serve(broker_, receivers_); }

    void run()
    {
        for (int i = 0; i < most_steps && in_.remaining_bytes() > 0; ++i) {
            step(in_.ConsumeIntegralInRange<std::size_t>(0, client_count - 1));
            pump();
        }
        tear_down();
    }

private:
    void pump()
    {
        for (int i = 0; i < 64; ++i) {
            io_.restart();
            if (io_.poll() == 0) return;
        }
    }

    void step(std::size_t who)
    {
        switch (in_.ConsumeIntegralInRange(0, 27)) {
        case 0: return connect(who);
        case 1: return clients_[who].reset();
        case 2: return say(who, wire::Hello{.name = "fuzz"});
        case 3:
        case 4: return allocate(who);
        case 5:
        case 6: return say(who, wire::Open{token(), rights(), usage()});
        case 7: return register_image(who);
        case 8:
        case 9: return say(who, wire::MintToken{handle(), rights(), in_.ConsumeBool(), in_.ConsumeBool(), duration()});
        case 10: return say(who, wire::RevokeToken{token()});
        case 11: return say(who, wire::RevokeImage{image()});
        case 12: return say(who, wire::SetLease{handle(), duration()});
        case 13: return say(who, wire::Release{handle()});
        case 14: return say(who, wire::Inspect{in_.ConsumeBool() ? ImageId{} : image()});
        case 15: return raw(who);
        case 16: return listen(who);
        case 17:
        case 18:
        case 19: return late_.finish(fate());
        case 20: return define(who);
        case 21: return say(who, wire::FindCapabilities{digest()});
        case 22:
        case 23: return say(who, wire::Join{token(), rights(), participant()});
        case 24: return say(who, wire::Move{handle()});
        case 25: return say(who, wire::Refresh{handle()});
        case 26: return say(who, wire::Why{{in_.ConsumeIntegralInRange<std::uint64_t>(0, 40)}, image()});
        case 27: return say(who, wire::ManageProofs{in_.ConsumeBool() ? ProofAction::clear : ProofAction::warm});
        }
    }

    // --- what a client says ------------------------------------------------------------------------

    void connect(std::size_t who)
    {
        int ends[2];
        require(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
        clients_[who] = UniqueFd::adopt(ends[0]);
        ids_[who] = ClientId{++connections_};
        server_.admit(UniqueFd::adopt(ends[1]), in_.ConsumeIntegralInRange(0, 7) == 0);
        if (in_.ConsumeIntegralInRange(0, 7) != 0) say(who, wire::Hello{.name = "fuzz"});
    }

    template <class Message> void say(std::size_t who, const Message& message, std::span<const int> fds = {})
    {
        if (!clients_[who]) return;
        std::vector<std::byte> bytes(limits::packet_bytes);
        bytes.resize(wire::encode(message, in_.ConsumeIntegralInRange(0u, 9u), bytes).value());
        if (in_.ConsumeIntegralInRange(0, 15) == 0)
            bytes[in_.ConsumeIntegralInRange<std::size_t>(0, bytes.size() - 1)] =
                static_cast<std::byte>(in_.ConsumeIntegral<std::uint8_t>());
        transmit(who, bytes, fds);
    }

    /// Descriptors come through a receiver process, for which this stands.
    void transmit(std::size_t who, std::span<const std::byte> bytes, std::span<const int> fds)
    {
        if (fds.empty()) return (void)wire::send(clients_[who].get(), bytes, fds, wire::Wait::no);
        wire::Parcel parcel{wire::Parcel::Kind::packet, ids_[who], static_cast<std::uint16_t>(fds.size()), {}};
        wire::PacketFds passed;
        for (const int fd : fds) {
            if (identify(fd, FdUse::contents).type == FdType::other) {
                parcel.kind = wire::Parcel::Kind::refused;
                parcel.error = {Errc::bad_descriptor, "it is something else"};
            } else passed.push_back(UniqueFd::adopt(::fcntl(fd, F_DUPFD_CLOEXEC, 0)));
        }
        if (parcel.kind == wire::Parcel::Kind::refused) passed.clear();
        server_.channel_packet(parcel, bytes, passed);
        server_.settle();
    }

    void allocate(std::size_t who)
    {
        wire::Allocate message;
        message.spec.size = extent();
        message.spec.format = format().fourcc;
        if (in_.ConsumeBool()) message.spec.modifiers.push_back(modifier());
        message.spec.usage = usage();
        message.spec.backends.bits = in_.PickValueInArray<std::uint32_t>({0, 2, 2, 16, 16, 18, 254});
        message.lease_ns = duration();
        for (int i = in_.ConsumeIntegralInRange(0, 3); i > 0; --i) message.participants.push_back(participant());
        if (in_.ConsumeIntegralInRange(0, 7) == 0) message.alternatives.push_back(format().fourcc);
        message.has_contents = in_.ConsumeIntegralInRange(0, 3) == 0;
        std::vector<UniqueFd> owned;
        std::vector<int> fds;
        if (message.has_contents) fds.push_back(descriptor(owned, 1 << 16));
        say(who, message, fds);
    }

    void define(std::size_t who)
    {
        const Stated& stated = tables()[in_.ConsumeIntegralInRange<std::size_t>(0, tables().size() - 1)];
        wire::DefineCapabilities message{.digest = stated.digest, .bytes = wire::encode_capabilities(stated.table).value()};
        message.size = static_cast<std::uint32_t>(message.bytes.size());
        if (in_.ConsumeIntegralInRange(0, 7) == 0) message.size = in_.ConsumeIntegral<std::uint32_t>();
        if (in_.ConsumeIntegralInRange(0, 7) == 0) message.offset = in_.ConsumeIntegral<std::uint16_t>();
        if (in_.ConsumeIntegralInRange(0, 7) == 0) message.bytes.resize(message.bytes.size() / 2);
        say(who, message);
    }

    void register_image(std::size_t who)
    {
        const FormatInfo& info = format();
        wire::Register message;
        ImageDesc& d = message.desc;
        d.kind = in_.PickValueInArray({MemoryKind::memfd, MemoryKind::memfd, MemoryKind::dma_buf, MemoryKind::opaque});
        d.size = extent();
        d.format = info.fourcc;
        if (in_.ConsumeIntegralInRange(0, 7) == 0) d.modifier = modifier();
        std::uint64_t end = 0;
        for (std::size_t i = 0; i < info.plane_count; ++i) {
            const std::uint64_t row = (row_bytes(info, i, d.size.width) + 7) / 8 * 8;
            d.planes.push_back({0, static_cast<std::uint32_t>(row), end});
            end += row * plane_extent(info, i, d.size).height;
        }
        d.memories.push_back({end});
        bend(d);
        message.lease_ns = duration();
        std::vector<UniqueFd> owned;
        std::vector<int> fds;
        for (std::size_t i = 0; i < d.memories.size(); ++i) fds.push_back(descriptor(owned, end));
        say(who, message, fds);
    }

    void bend(ImageDesc& d)
    {
        switch (in_.ConsumeIntegralInRange(0, 15)) {
        case 0: d.planes[0].stride = in_.ConsumeIntegral<std::uint32_t>(); break;
        case 1: d.planes[0].offset = in_.ConsumeIntegral<std::uint64_t>(); break;
        case 2: d.planes[0].memory = in_.ConsumeIntegral<std::uint8_t>(); break;
        case 3: d.memories[0].size = in_.ConsumeIntegral<std::uint64_t>(); break;
        case 4: d.memories.push_back({in_.ConsumeIntegral<std::uint16_t>()}); break;
        case 5: d.planes.clear(); break;
        case 6: d.memories.clear(); break;
        default: break;
        }
    }

    void raw(std::size_t who)
    {
        if (!clients_[who]) return;
        const std::vector<std::uint8_t> bytes = in_.ConsumeBytes<std::uint8_t>(in_.ConsumeIntegralInRange<std::size_t>(0, 80));
        std::vector<UniqueFd> owned;
        std::vector<int> fds;
        for (int i = in_.ConsumeIntegralInRange(0, 4); i > 0; --i) fds.push_back(descriptor(owned, 4096));
        transmit(who, std::as_bytes(std::span(bytes)), fds);
    }

    // --- what it hears -----------------------------------------------------------------------------

    void listen(std::size_t who)
    {
        if (!clients_[who]) return;
        auto packet = wire::receive(clients_[who].get(), buffer_, wire::Wait::no);
        if (!packet || !*packet) return;
        wire::Decoded<wire::Reply> reply;
        require(
            wire::decode(std::span<const std::byte>(buffer_).first((*packet)->size), (*packet)->fds.size(), reply).has_value());
        if (const auto* held = std::get_if<wire::ImageReply>(&reply.message)) {
            handles_.push_back(held->handle);
            images_.push_back(held->image);
        }
        if (const auto* minted = std::get_if<wire::TokenReply>(&reply.message)) tokens_.push_back(minted->token);
        for (UniqueFd& fd : (*packet)->fds)
            if (kept_.size() < most_kept) kept_.push_back(std::move(fd));
    }

    // --- values ------------------------------------------------------------------------------------

    /// Borrowed from `owned`, from the replies, or from this very world.
    int descriptor(std::vector<UniqueFd>& owned, std::uint64_t size)
    {
        const int kind = in_.ConsumeIntegralInRange(0, 9);
        if (kind <= 2 && !kept_.empty()) return kept_[in_.ConsumeIntegralInRange<std::size_t>(0, kept_.size() - 1)].get();
        if (kind == 3)
            for (const UniqueFd& client : clients_)
                if (client) return client.get();
        if (kind == 4) owned.push_back(UniqueFd::adopt(::eventfd(0, EFD_CLOEXEC)));
        else if (kind == 5) owned.push_back(UniqueFd::adopt(::open("/dev/null", O_RDWR | O_CLOEXEC)));
        else owned.push_back(make_memfd(size, kind == 6 ? 0 : F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL));
        return owned.back().get();
    }
    static UniqueFd make_memfd(std::uint64_t size, int seals)
    {
        UniqueFd fd = UniqueFd::adopt(::memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING));
        require(fd && ::ftruncate(fd.get(), static_cast<off_t>(size & 0xff'ffff)) == 0);
        if (seals) ::fcntl(fd.get(), F_ADD_SEALS, seals);
        return fd;
    }
    template <class T> T remembered(const std::vector<T>& list)
    {
        if (list.empty() || in_.ConsumeIntegralInRange(0, 15) == 0) return {};
        const std::size_t newest = std::min(list.size(), most_kept);
        return list[list.size() - 1 - in_.ConsumeIntegralInRange<std::size_t>(0, newest - 1)];
    }
    static const std::vector<Stated>& tables()
    {
        static const std::vector<Stated> all = make_tables();
        return all;
    }
    Digest digest()
    {
        const std::size_t which = in_.ConsumeIntegralInRange<std::size_t>(0, tables().size());
        return which == tables().size() ? Digest{} : tables()[which].digest;
    }
    Participant participant()
    {
        Participant out{.name = in_.ConsumeBool() ? "one" : "", .capabilities = digest(), .usage = usage()};
        if (in_.ConsumeIntegralInRange(0, 3) == 0) out.minimum_rung = static_cast<Rung>(in_.ConsumeIntegralInRange(1, 5));
        if (in_.ConsumeIntegralInRange(0, 7) == 0) out.modifiers.push_back(modifier());
        if (in_.ConsumeIntegralInRange(0, 7) == 0) out.rules.stride_alignment = in_.ConsumeIntegral<std::uint16_t>();
        return out;
    }
    /// Mostly it goes well.
    Errc fate()
    {
        return in_.PickValueInArray(
            {Errc{}, Errc{}, Errc{}, Errc{}, Errc::disconnected, Errc::timed_out, Errc::shutting_down, Errc::backend_failed});
    }
    Token token() { return remembered(tokens_); }
    HandleId handle() { return remembered(handles_); }
    ImageId image() { return remembered(images_); }
    const FormatInfo& format() { return all_formats()[in_.ConsumeIntegralInRange<std::size_t>(0, all_formats().size() - 1)]; }
    Extent extent()
    {
        if (in_.ConsumeIntegralInRange(0, 15) == 0)
            return {in_.ConsumeIntegral<std::uint32_t>(), in_.ConsumeIntegral<std::uint32_t>()};
        return {in_.ConsumeIntegralInRange(1u, 64u), in_.ConsumeIntegralInRange(1u, 64u)};
    }
    Modifier modifier() { return {in_.PickValueInArray<std::uint64_t>({0, 0, modifier_invalid.value, tiled.value})}; }
    Rights rights() { return Rights::from_bits(in_.ConsumeIntegralInRange(0u, 7u)); }
    Usage usage() { return Usage::from_bits(in_.PickValueInArray<std::uint32_t>({0, 1, 3, 4, 12, 127})); }
    std::uint64_t duration()
    {
        return in_.PickValueInArray<std::uint64_t>({0, 0, 1, 1'000'000, UINT64_MAX - 1, wire::forever});
    }

    // --- the end -------------------------------------------------------------------------------------

    void tear_down()
    {
        for (UniqueFd& client : clients_) client.reset();
        pump();
        while (!late_.idle()) late_.finish({});
        server_.shut_down();
        pump();
        revoke_what_leases_keep();
        broker_.expire(Instant{UINT64_MAX - 1});
        pool_.trim(Instant{UINT64_MAX - 1});
        require(broker_.state().images().empty() && broker_.state().tokens().size() == 0 && pool_.empty());
    }

    void revoke_what_leases_keep()
    {
        const ClientId judge{UINT64_MAX};
        require(broker_.connect(judge, Peer{}, true, "judge").has_value());
        const auto state = broker_.inspect(judge, ImageId{}, {});
        require(state.has_value());
        for (const ImageInfo& info : state->images) {
            require(info.holders.empty() && info.owner == ClientId{} && info.lease_left_ns > 0);
            require(broker_.revoke(judge, info.id, {}).has_value());
        }
        broker_.disconnect(judge, {});
    }

    FuzzedDataProvider& in_;
    std::array<UniqueFd, client_count> clients_;
    std::array<ClientId, client_count> ids_;
    std::uint64_t connections_ = 0;
    std::vector<UniqueFd> kept_;
    std::vector<Token> tokens_;
    std::vector<HandleId> handles_;
    std::vector<ImageId> images_;
    std::vector<std::byte> buffer_ = std::vector<std::byte>(limits::packet_bytes);

    const Limits limits_ = small_limits();
    asio::io_context io_{BOOST_ASIO_CONCURRENCY_HINT_UNSAFE};
    Server server_{io_, limits_};
    Receivers receivers_{io_, server_, "no such program", client_count};
    MemfdAllocator memfd_;
    LateAllocator late_;
    Pool pool_{1 << 20};
    Proofs proofs_;
    Broker broker_{limits_, {&memfd_, &late_}, pool_, proofs_, Helpers{{late_.helper()}, late_.helper()}, server_};
};

} // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***)
{
    log::set_level(log::Level::error);
    ::signal(SIGPIPE, SIG_IGN);
    return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    const std::size_t before = count_fds();
    {
        FuzzedDataProvider input(data, size);
        World(input).run();
    }
    require(count_fds() == before);
    return 0;
}

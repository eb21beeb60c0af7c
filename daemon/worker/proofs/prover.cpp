// SPDX-License-Identifier: MIT
// Dispatch, and what all APIs share. The image arrives with the plain pattern in it. First it is looked at as it is;
// then, if its user will draw, the inverse is drawn into it and looked at again through a fresh import, and
// by the CPU where that may map it. It is left with the inverse, so that the exporter can look too.
#include "daemon/worker/proofs/prover.hpp"

#include "daemon/worker/proofs/cpu_pixels.hpp"
#include "proto/sync/sync_file.hpp"

#include <algorithm>

namespace dmb::worker {
namespace {

constexpr std::uint64_t fence_patience_ns = 2'000'000'000;

Result<> wait_for_fence(int dma_buf)
{
    const auto fence = SyncFile::export_from(dma_buf, Direction::all);
    if (fence) return fence->wait(Deadline(fence_patience_ns));
    if (fence.error().code == Errc::unsupported) return {};
    return std::unexpected(fence.error());
}

/// Whether the CPU can be asked what is in it: always of system memory, of a GPU's only if it was made for the CPU, because a
/// mapping of it may be stale otherwise.
bool is_for_the_cpu(const dmabroker_image_info& info)
{
    const bool system = info.backend == DMABROKER_BACKEND_MEMFD || info.backend == DMABROKER_BACKEND_UDMABUF ||
                        info.backend == DMABROKER_BACKEND_DMA_HEAP;
    return system || (info.usage & usage_cpu.bits) != 0;
}

std::unique_ptr<ApiProver> make(Api api)
{
    switch (api) {
    case Api::cpu: return make_cpu_prover();
#if DMB_HAVE_VULKAN
    case Api::vulkan: return make_vulkan_prover();
#endif
#if DMB_HAVE_EGL
    case Api::egl: return make_egl_prover();
    case Api::gl_memory: return make_gl_memory_prover();
#endif
#if DMB_HAVE_GBM
    case Api::gbm: return make_gbm_prover();
#endif
    default: return nullptr;
    }
}

} // namespace

Proven refused(const Error& error) { return {ProofResult::refused, error.reason.view()}; }
Proven impossible(std::string_view reason) { return {ProofResult::impossible, reason}; }

Proven judged(std::string_view how, const BoundedText<160>& wrong)
{
    if (wrong.empty()) return {ProofResult::works, {}};
    return {ProofResult::wrong_pixels, std::string_view(fmt::format("{}: {}", how, wrong.view()))};
}

Result<> wait_for_fence(const dmabroker::Image& image)
{
    if (image.info().kind != DMABROKER_DMA_BUF) return {};
    for (std::uint32_t i = 0; i < image.info().memory_count; ++i) TRY(wait_for_fence(image.fd(i)));
    return {};
}

Proven check_by_cpu(const dmabroker::Image& image, ProofPattern pattern)
{
    const FormatInfo& format = *find_format({image.info().format});
    const Extent size{image.info().width, image.info().height};
    if (!is_for_the_cpu(image.info())) return {ProofResult::works, {}};
    std::vector<std::byte> seen(packed_bytes(format, size));
    if (auto read = read_by_cpu(image, seen); !read) return refused(read.error());
    return judged("the CPU, after drawing", wrong_packed(format, size, seen, pattern));
}

Proven try_buffer(const dmabroker::Image& image, Usage usage, std::string_view api, const BufferAccess& access)
{
    const FormatInfo& format = *find_format(buffer_format);
    const Extent size{image.info().width, image.info().height};
    const auto look = [&](ProofPattern pattern) {
        std::vector<std::byte> seen(packed_bytes(format, size));
        if (auto read = access.read(seen); !read) return refused(read.error());
        return judged(api, wrong_packed(format, size, seen, pattern));
    };
    Proven seen = look(ProofPattern::plain);
    if (seen.result != ProofResult::works || !usage.has(UsageFlag::storage)) return seen;
    if (auto written = access.write(proof_contents(format, size, ProofPattern::inverse)); !written)
        return refused(written.error());
    if (auto fenced = wait_for_fence(image); !fenced) return refused(fenced.error());
    seen = look(ProofPattern::inverse);
    return seen.result == ProofResult::works ? check_by_cpu(image, ProofPattern::inverse) : seen;
}

bool Prover::usable() const
{
    return std::ranges::all_of(provers_, [](const auto& prover) { return !prover || prover->usable(); });
}

ApiProver* Prover::find(Api api)
{
    std::unique_ptr<ApiProver>& prover = provers_[static_cast<std::size_t>(api) - 1];
    if (!prover) prover = make(api);
    return prover.get();
}

Proven Prover::prove(Api api, const Device& device, Usage usage, Image image)
{
    ApiProver* prover = find(api);
    if (!prover) return impossible(fmt::format("this broker has no way to try {}", name(api)));
    auto held = hold(std::move(image));
    if (!held) return refused(held.error());
    return prover->prove(device, usage, *held);
}

} // namespace dmb::worker

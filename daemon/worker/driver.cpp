// SPDX-License-Identifier: MIT
// The answers of a Driver that does not do something. Each kind of worker overrides what it can: gbm and vulkan
// allocate, read, write and blit, `system` reads, writes and blits, `prove` proves. The broker knows which kind does
// what, so these sentences are seen only when it errs; a worker without exports allocates nothing.
#include "daemon/worker/driver.hpp"

namespace dmb::worker {
namespace {

std::unexpected<Error> not_here(std::string_view what)
{
    return fail(Errc::unsupported, "this kind of worker does not {} images", what);
}

} // namespace

Result<Exported> Driver::allocate(std::uint8_t, const AllocateSpec&, const LayoutRules&, const Contents*)
{
    return not_here("allocate");
}

Proven Driver::prove(Api, const Device&, Usage, Image)
{
    return {ProofResult::impossible, "this kind of worker proves nothing"};
}

Result<> Driver::read(Image, std::span<std::byte>) { return not_here("read"); }
Result<> Driver::write(Image, const Contents&) { return not_here("write"); }
Result<> Driver::blit(Image, Image) { return not_here("copy"); }

} // namespace dmb::worker

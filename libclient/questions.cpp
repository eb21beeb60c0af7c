// SPDX-License-Identifier: MIT
// The arguments of the slow C calls as messages of the wire, with the descriptors that go with them; the call that
// waits and the call that starts share them. Whatever can be refused without the broker is refused here, before
// anything is sent. Descriptors are duplicated: the caller's stay the caller's.
#include "libclient/questions.hpp"

#include "libclient/contents.hpp"
#include "libclient/convert.hpp"
#include "libclient/export/process.hpp"
#include "proto/image/format_colour.hpp"

#include <cerrno>
#include <fcntl.h>

namespace dmb {
namespace {

Result<wire::Register> to_request(const dmabroker_image_info* info, const char* label, std::uint64_t lease_ns)
{
    const dmabroker_image_info made = TRY(read_struct(info));
    wire::Register request;
    request.desc = TRY(to_desc(made));
    if (made.kind != DMABROKER_DMA_BUF && made.kind != DMABROKER_MEMFD)
        return fail(Errc::invalid_argument, "kind must be DMABROKER_DMA_BUF or DMABROKER_MEMFD: nothing else can be checked");
    // Refused here with its reason; the broker checks again, with the descriptors.
    TRY(check_layout(request.desc));
    TRY(check_colour(request.desc.colour, request.desc.format));
    request.label = TRY(to_name(label, "label"));
    request.lease_ns = lease_ns;
    return request;
}

Result<std::vector<UniqueFd>> take_all(int pid, const int* remote_fds, std::size_t count)
{
    std::vector<UniqueFd> taken;
    const UniqueFd process = TRY(exporting::open_process(pid));
    for (std::size_t i = 0; i < count; ++i) taken.push_back(TRY(exporting::take_from_process(process, pid, remote_fds[i])));
    return taken;
}

} // namespace

Result<std::vector<UniqueFd>> duplicate_all(const int* fds, std::size_t count)
{
    std::vector<UniqueFd> copies;
    for (std::size_t i = 0; i < count; ++i) {
        copies.push_back(UniqueFd::adopt(::fcntl(fds[i], F_DUPFD_CLOEXEC, 0)));
        if (!copies.back()) return fail_errno(Errc::bad_descriptor, "duplicate a descriptor of the image", errno);
    }
    return copies;
}

Result<Asked> asked_allocation(const dmabroker_allocation* allocation)
{
    const dmabroker_allocation wanted = TRY(read_struct(allocation));
    wire::Allocate request{TRY(to_request(wanted))};
    std::vector<UniqueFd> fds;
    if (wanted.contents) {
        const dmabroker_pixels pixels = TRY(check_contents(request.spec.size, request.spec.format, *wanted.contents));
        fds.push_back(TRY(pack_contents(request.spec.size, request.spec.format, pixels)));
        request.has_contents = true;
    }
    return Asked{std::move(request), std::move(fds)};
}

Result<Asked> asked_join(const char* token, std::uint32_t rights, const dmabroker_participant* participant)
{
    wire::Join request;
    request.token = TRY(to_token(token));
    request.rights = TRY(to_rights(rights));
    request.participant = TRY(to_participant(participant));
    return Asked{std::move(request), {}};
}

Result<Asked> asked_registration(const dmabroker_image_info* info, const int* fds, const char* label, std::uint64_t lease_ns)
{
    TRY(require(fds, "fds"));
    wire::Register request = TRY(to_request(info, label, lease_ns));
    std::vector<UniqueFd> copies = TRY(duplicate_all(fds, request.fd_count()));
    return Asked{std::move(request), std::move(copies)};
}

Result<Asked> asked_registration(const dmabroker_image_info* info, int pid, const int* remote_fds, const char* label,
                                 std::uint64_t lease_ns)
{
    TRY(require(remote_fds, "remote_fds"));
    wire::Register request = TRY(to_request(info, label, lease_ns));
    std::vector<UniqueFd> taken = TRY(take_all(pid, remote_fds, request.fd_count()));
    return Asked{std::move(request), std::move(taken)};
}

Result<wire::Refresh> asked_refresh(const dmabroker_image& image)
{
    if (image.source.value != 0) return wire::Refresh{image.handle};
    return fail(Errc::invalid_argument, "image {} is no copy: its pixels are the source's own", image.id.value);
}

Result<wire::ManageProofs> asked_proofs(int action)
{
    if (action == DMABROKER_PROOFS_CLEAR || action == DMABROKER_PROOFS_WARM)
        return wire::ManageProofs{static_cast<ProofAction>(action)};
    return fail(Errc::invalid_argument, "action {}: use DMABROKER_PROOFS_CLEAR or DMABROKER_PROOFS_WARM", action);
}

} // namespace dmb

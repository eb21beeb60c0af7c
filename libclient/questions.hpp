// SPDX-License-Identifier: MIT
// What the C ABI asks of the broker: the arguments of a slow call, judged and in the shape of the wire. The
// call that waits and the call that starts share them.
#pragma once
#include "libclient/operation.hpp"

namespace dmb {

struct Asked {
    Question question;
    std::vector<UniqueFd> fds; ///< what goes with it
};

/// The caller's descriptors, once more.
Result<std::vector<UniqueFd>> duplicate_all(const int* fds, std::size_t count);

/// `contents` are packed.
Result<Asked> asked_allocation(const dmabroker_allocation*);
Result<Asked> asked_join(const char* token, std::uint32_t rights, const dmabroker_participant*);
/// `fds` are duplicated.
Result<Asked> asked_registration(const dmabroker_image_info*, const int* fds, const char* label, std::uint64_t lease_ns);
/// The descriptors are another process's.
Result<Asked> asked_registration(const dmabroker_image_info*, int pid, const int* remote_fds, const char* label,
                                 std::uint64_t lease_ns);
Result<wire::Refresh> asked_refresh(const dmabroker_image&);
Result<wire::ManageProofs> asked_proofs(int action);

} // namespace dmb

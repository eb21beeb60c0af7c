// SPDX-License-Identifier: MIT
// Proofs on disk: one line of JSON per result, in the order in which they were found; of several for one key the
// last counts.
#pragma once
#include "proto/base/unique_fd.hpp"
#include "proto/inspect/proof.hpp"

#include <string>
#include <vector>

namespace dmb {

class ProofFile {
public:
    /// $CACHE_DIRECTORY (systemd), $XDG_CACHE_HOME/dmabroker, ~/.cache/dmabroker; empty where there is none.
    static std::string default_folder();
    /// proofs.json in that folder, which is made; an empty name: nothing is kept.
    explicit ProofFile(const std::string& folder);

    /// What was kept.
    std::vector<Proof> load();
    void append(const Proof&);
    void clear();

private:
    void append_text(std::string_view text);

    std::string path_;
    UniqueFd file_; ///< for appending
};

} // namespace dmb

// SPDX-License-Identifier: MIT
// What this machine has: which exporters and importers there are to pair, and what the drivers met so
// far are known not to do.
#pragma once
#include "tests/drm/matrix/cell.hpp"

namespace dmb::matrix {

struct Exporter {
    std::string name;    ///< "gbm/vgem"
    std::string backend; ///< "gbm"
    std::string node;    ///< of the device, for gbm
    bool software = true;
    std::string absent; ///< why it is not here; empty when it is
};
struct Importer {
    std::string name; ///< also the api
};

/// Asks the broker, once its workers are up.
std::vector<Exporter> find_exporters(const std::string& socket);
/// egl_gbm: the GBM display of the device that allocated the image.
std::vector<Importer> all_importers();
/// The pairs that exist at all: nobody's GBM display takes another's buffers.
bool may_pair(const Exporter&, const Importer&);

/// Whether a refusal with this reason is a fault of the platform that is known and written down here.
/// Everything else that is refused is a failure of ours.
bool is_known_refusal(const Exporter&, const Cell&);

} // namespace dmb::matrix

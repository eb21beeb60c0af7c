// SPDX-License-Identifier: MIT
// The two kinds of children: one that allocates from the broker and owns the pixels, one that opens what it
// is given. Both are answered to by helper.hpp's words.
#pragma once
#include "tests/drm/matrix/helper.hpp"

namespace dmb::matrix {

/// backend, node (of the device; may be empty), then the socket.
/// Questions: "alloc" format width height seed -> ..., token, detail; "verify" seed; "close".
int run_exporter(const std::string& backend, const std::string& node, const std::string& socket);
/// api, node (for egl_gbm), socket.
/// Questions: "read" token format width height seed; "write" format width height seed; "close".
int run_importer(const std::string& api, const std::string& node, const std::string& socket);

} // namespace dmb::matrix

// SPDX-License-Identifier: MIT
// One cell of the matrix is one image: allocated by an exporter, imported by an importer, in a format
// and a size, its pixels compared in both directions.
#pragma once
#include "proto/image/types.hpp"
#include "tests/drm/matrix/helper.hpp"

#include <optional>

namespace dmb::matrix {

enum class Verdict { passed, refused, failed };

struct Cell {
    std::string exporter, importer;
    FourCC format;
    Extent size;
    Verdict verdict = Verdict::failed;
    std::string reason;      ///< of a refusal or failure
    std::string remark;      ///< how it was read, when not plainly
    std::string not_written; ///< why the importer wrote nothing; empty when it did
};

/// Nothing when the exporter cannot allocate this at all; `absent` then says why.
std::optional<Cell> run_cell(Helper& exporter, Helper& importer, FourCC, Extent, std::string& absent);

} // namespace dmb::matrix

// SPDX-License-Identifier: MIT
// The matrix as people read it, and as JSON.
#pragma once
#include "tests/drm/matrix/platform.hpp"

#include <map>
#include <set>

namespace dmb::matrix {

struct Matrix {
    std::vector<Exporter> exporters;
    std::vector<Cell> cells;
    std::map<std::string, std::set<std::string>> not_allocated; ///< exporter to formats
};

void print(const Matrix&);
/// Every cell; false when the file cannot be written.
bool write_json(const Matrix&, const std::string& path);

} // namespace dmb::matrix

// SPDX-License-Identifier: MIT
#include "proto/base/result.hpp"

#include <system_error>

namespace dmb {

std::unexpected<Error> fail_errno(Errc code, std::string_view operation, int error_number)
{
    return fail(code, "{}: {}", operation, std::generic_category().message(error_number));
}

} // namespace dmb

// SPDX-License-Identifier: MIT
// Bytes into and out of a buffer object of the current context, by way of another one: those over memory objects
// cannot be mapped (EXT_external_objects). Waits for the GPU. Throws std::runtime_error.
#pragma once
#include "libclient/headless/egl_context.hpp"

#include <span>

namespace dmb::gpu {

void read_buffer(const Gl&, GLuint buffer, std::span<std::byte> to);
void write_buffer(const Gl&, GLuint buffer, std::span<const std::byte> from);

} // namespace dmb::gpu

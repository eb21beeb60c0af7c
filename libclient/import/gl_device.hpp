// SPDX-License-Identifier: MIT
// What the current OpenGL context says about its driver.
#pragma once
#include "proto/image/capabilities.hpp"

#include <dmabroker/import.h>

namespace dmb::import {

/// True when the current context lists the extension. eglGetProcAddress answers for functions of any driver;
/// only the context's list is the truth.
bool has_gl_extension(dmabroker_get_proc, std::string_view name);
/// Sets driver, version, software, and the UUIDs where the driver has GL_EXT_memory_object. A context must be current.
void describe_context(Device&, dmabroker_get_proc);

} // namespace dmb::import

// SPDX-License-Identifier: MIT
// What the current context says about its driver, for capability tables. GL_RENDERER and GL_VERSION are what a person
// knows a driver by; Mesa names its software drivers there. The UUIDs tie the context to a Vulkan device. Nothing of
// the context is changed; without a current context nothing is found.
#include "libclient/import/gl_device.hpp"

#include "libclient/import/proc.hpp"

#include <GLES3/gl3.h>

#include <GLES2/gl2ext.h>

namespace dmb::import {
namespace {

std::string_view gl_text(PFNGLGETSTRINGPROC get, GLenum name)
{
    const GLubyte* text = get(name);
    const std::string_view view = text ? reinterpret_cast<const char*>(text) : "";
    return is_printable(view) ? view : std::string_view{};
}

bool names_software(std::string_view renderer)
{
    for (const char* word : {"llvmpipe", "softpipe", "swrast", "SWR", "SwiftShader"})
        if (renderer.find(word) != std::string_view::npos) return true;
    return false;
}

} // namespace

bool has_gl_extension(dmabroker_get_proc get, std::string_view name)
{
    PFNGLGETINTEGERVPROC get_integer;
    PFNGLGETSTRINGIPROC get_string;
    if (!load(get, "glGetIntegerv", get_integer) || !load(get, "glGetStringi", get_string)) return false;
    GLint count = 0;
    get_integer(GL_NUM_EXTENSIONS, &count);
    for (GLint i = 0; i < count; ++i) {
        const GLubyte* listed = get_string(GL_EXTENSIONS, static_cast<GLuint>(i));
        if (listed && reinterpret_cast<const char*>(listed) == name) return true;
    }
    return false;
}

void describe_context(Device& device, dmabroker_get_proc get)
{
    PFNGLGETSTRINGPROC get_string;
    if (!load(get, "glGetString", get_string)) return;
    const std::string_view renderer = gl_text(get_string, GL_RENDERER);
    if (!renderer.empty()) device.driver = renderer;
    device.version = gl_text(get_string, GL_VERSION);
    device.software |= names_software(renderer);
    PFNGLGETUNSIGNEDBYTEVEXTPROC get_bytes;
    PFNGLGETUNSIGNEDBYTEI_VEXTPROC get_indexed_bytes;
    if (!has_gl_extension(get, "GL_EXT_memory_object") || !load(get, "glGetUnsignedBytevEXT", get_bytes) ||
        !load(get, "glGetUnsignedBytei_vEXT", get_indexed_bytes))
        return;
    get_bytes(GL_DRIVER_UUID_EXT, device.id.driver_uuid.data());
    // A context over several devices lists each of them; the first one draws.
    get_indexed_bytes(GL_DEVICE_UUID_EXT, 0, device.id.device_uuid.data());
}

} // namespace dmb::import

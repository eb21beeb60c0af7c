// SPDX-License-Identifier: MIT
// Memory objects of EXT_memory_object_fd: what textures and buffers over opaque Vulkan memory share.
#pragma once
#include "libclient/import/guard.hpp"

#include <GLES3/gl3.h>

#include <dmabroker/gl.h>
#include <GLES2/gl2ext.h>

namespace dmb::import {

struct Gl {
    PFNGLGETERRORPROC get_error;
    PFNGLGETINTEGERVPROC get_integer;
    PFNGLGETSTRINGIPROC get_string;
    PFNGLGENTEXTURESPROC gen_textures;
    PFNGLDELETETEXTURESPROC delete_textures;
    PFNGLBINDTEXTUREPROC bind_texture;
    PFNGLTEXPARAMETERIPROC tex_parameter;
    PFNGLGENBUFFERSPROC gen_buffers;
    PFNGLDELETEBUFFERSPROC delete_buffers;
    PFNGLBINDBUFFERPROC bind_buffer;

    /// Errc::import_failed if `call` left an error.
    Result<> check(std::string_view call) const;
};
Result<Gl> load_gl(dmabroker_get_proc);

struct MemoryObjects {
    PFNGLGETUNSIGNEDBYTEVEXTPROC get_bytes;
    PFNGLGETUNSIGNEDBYTEI_VEXTPROC get_indexed_bytes;
    PFNGLCREATEMEMORYOBJECTSEXTPROC create;
    PFNGLDELETEMEMORYOBJECTSEXTPROC destroy;
    PFNGLMEMORYOBJECTPARAMETERIVEXTPROC set_parameter;
    PFNGLIMPORTMEMORYFDEXTPROC import_fd;
    PFNGLTEXSTORAGEMEM2DEXTPROC texture_storage;
    PFNGLBUFFERSTORAGEMEMEXTPROC buffer_storage;
};
Result<MemoryObjects> load_memory_objects(dmabroker_get_proc);

/// Forgets earlier errors. Refuses contexts without the extension, and those of another device or driver than the image's.
Result<> check_context(const dmabroker_image&, const Gl&, const MemoryObjects&);
/// `memory` gets the name of a memory object even when this fails after making it: the caller destroys it.
Result<> import_memory(const dmabroker_image&, const Gl&, const MemoryObjects&, GLuint& memory);

} // namespace dmb::import

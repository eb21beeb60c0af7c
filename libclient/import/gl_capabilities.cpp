// SPDX-License-Identifier: MIT
// What memory objects of the current context can become: opaque rows. GL_EXT_memory_object lets a program ask per
// format which tilings a texture over a memory object can have; ES 3.2, table 8.10 says which formats can be sampled at
// all, and what can be drawn into is asked as a renderbuffer's sample counts, an error for all that cannot.
#include "libclient/capabilities.hpp"
#include "libclient/convert.hpp"
#include "libclient/error.hpp"
#include "libclient/import/gl_device.hpp"
#include "libclient/import/proc.hpp"
#include "proto/image/format_table.hpp"

#include <dmabroker/gl.h>
#include <GLES3/gl3.h>

#include <GLES2/gl2ext.h>

namespace dmb::import {
namespace {

class Reader {
public:
    static Result<Reader> load_functions(dmabroker_get_proc get)
    {
        Reader out;
        const bool found = load(get, "glGetError", out.get_error_) && load(get, "glGetIntegerv", out.get_integer_) &&
                           load(get, "glGetInternalformativ", out.query_);
        if (!found) return fail(Errc::import_refused, "get_proc does not know the functions of OpenGL ES 3 or OpenGL 4.2");
        out.norm16_ = has_gl_extension(get, "GL_EXT_texture_norm16") || !is_gles(get);
        return out;
    }

    void add_rows(std::vector<Capability>& rows)
    {
        GLint largest = 0;
        get_integer_(GL_MAX_TEXTURE_SIZE, &largest);
        const auto side = static_cast<std::uint32_t>(std::max(largest, 0));
        for (const FormatInfo& format : all_formats())
            if (format.gl_internal_format && can_sample(format))
                rows.push_back({.kind = MemoryKind::opaque,
                                .format = format.fourcc,
                                .modifier = modifier_invalid,
                                .plane_count = format.plane_count,
                                .external_only = false,
                                .usage = can_draw(format) ? UsageFlag::sample | UsageFlag::render : Usage(UsageFlag::sample),
                                .max_size = {side, side}});
        rows.push_back({.kind = MemoryKind::opaque,
                        .format = buffer_format,
                        .modifier = modifier_invalid,
                        .plane_count = 1,
                        .external_only = false,
                        .usage = UsageFlag::sample | UsageFlag::storage,
                        .max_size = {}});
    }

private:
    static bool is_gles(dmabroker_get_proc get)
    {
        PFNGLGETSTRINGPROC get_string;
        const GLubyte* version = load(get, "glGetString", get_string) ? get_string(GL_VERSION) : nullptr;
        return version && std::string_view(reinterpret_cast<const char*>(version)).starts_with("OpenGL ES");
    }
    void forget_errors()
    {
        for (int i = 0; i < 16 && get_error_() != GL_NO_ERROR; ++i) {}
    }
    bool can_sample(const FormatInfo& format)
    {
        if (format.bits == 16 && format.sample == SampleType::unorm && !norm16_) return false;
        GLint tilings = 0;
        forget_errors();
        query_(GL_TEXTURE_2D, format.gl_internal_format, GL_NUM_TILING_TYPES_EXT, 1, &tilings);
        return get_error_() != GL_NO_ERROR || tilings > 0; // an error: this driver cannot be asked
    }
    bool can_draw(const FormatInfo& format)
    {
        GLint counts = 0;
        forget_errors();
        query_(GL_RENDERBUFFER, format.gl_internal_format, GL_NUM_SAMPLE_COUNTS, 1, &counts);
        return get_error_() == GL_NO_ERROR && counts > 0;
    }

    PFNGLGETERRORPROC get_error_ = nullptr;
    PFNGLGETINTEGERVPROC get_integer_ = nullptr;
    PFNGLGETINTERNALFORMATIVPROC query_ = nullptr;
    bool norm16_ = false;
};

Result<Capabilities> read_gl(dmabroker_get_proc get)
{
    TRY(require(reinterpret_cast<const void*>(get), "get_proc"));
    Reader reader = TRY(Reader::load_functions(get));
    if (!has_gl_extension(get, "GL_EXT_memory_object_fd"))
        return fail(Errc::import_refused, "no OpenGL context is current, or its driver has no GL_EXT_memory_object_fd");
    Capabilities table;
    table.api = Api::gl_memory;
    describe_context(table.device, get);
    reader.add_rows(table.rows);
    return table;
}

} // namespace
} // namespace dmb::import

extern "C" {

DMABROKER_API int dmabroker_gl_capabilities(dmabroker_get_proc get_proc, dmabroker_capabilities** capabilities,
                                            dmabroker_error* error)
{
    return dmb::hand_out(capabilities, error, [&] { return dmb::import::read_gl(get_proc); });
}
}

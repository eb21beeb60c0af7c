// SPDX-License-Identifier: MIT
// The application's EGL: its functions, and what its display says about itself.
#pragma once
#include "libclient/import/guard.hpp"
#include "proto/image/capabilities.hpp"

#include <dmabroker/egl.h>
#include <EGL/egl.h>
#include <EGL/eglext.h>
#include <vector>

namespace dmb::import {

class Egl {
public:
    /// Refuses a display without dma-buf import, naming the missing extension.
    static Result<Egl> load(const dmabroker_egl*);

    const Driver& driver() const { return driver_; }
    bool has_extension(std::string_view) const; ///< of the display
    /// import_failed, with EGL's word for what went wrong.
    std::unexpected<Error> failed(std::string_view call) const;
    bool has_modifiers() const { return query_modifiers_ != nullptr; }

    /// Whether the driver lists this format and modifier for import; the reason if not.
    struct Listing {
        bool external_only = false;
    };
    Result<Listing> find(FourCC, Modifier) const;
    /// What the driver lists. Only with has_modifiers().
    struct ListedModifier {
        Modifier modifier;
        bool external_only;
    };
    std::vector<FourCC> formats() const;
    std::vector<ListedModifier> modifiers(FourCC) const;
    /// The device behind the display, as far as EGL tells.
    Device describe(const dmabroker_egl&) const;

    /// `attributes` end with EGL_NONE. import_failed with EGL's word for the error.
    Result<EGLImage> create(const EGLint* attributes) const;
    void destroy(EGLImage image) const { destroy_image_(display_, image); }

private:
    Egl() = default;
    Result<> load_functions(dmabroker_get_proc);
    Result<> check_extensions();
    void find_driver(const dmabroker_egl&);
    EGLDeviceEXT find_device(dmabroker_get_proc) const;
    std::string_view driver_name(dmabroker_get_proc) const;

    EGLDisplay display_ = EGL_NO_DISPLAY;
    Driver driver_{.api = "EGL"};
    PFNEGLGETERRORPROC get_error_ = nullptr;
    PFNEGLQUERYSTRINGPROC query_string_ = nullptr;
    PFNEGLCREATEIMAGEKHRPROC create_image_ = nullptr;
    PFNEGLDESTROYIMAGEKHRPROC destroy_image_ = nullptr;
    PFNEGLQUERYDMABUFFORMATSEXTPROC query_formats_ = nullptr;     ///< null without _modifiers
    PFNEGLQUERYDMABUFMODIFIERSEXTPROC query_modifiers_ = nullptr; ///< null without _modifiers
};

} // namespace dmb::import

// SPDX-License-Identifier: MIT
// The application's EGL: its functions, and what its display says about itself.
#pragma once
#include "libclient/arguments.hpp"
#include "libclient/import/guard.hpp"
#include "proto/image/capabilities.hpp"

#include <dmabroker/egl.h>
#include <EGL/egl.h>
#include <EGL/eglext.h>
#include <vector>

namespace dmb {
template <> inline constexpr std::size_t oldest_size<dmabroker_egl> = offsetof(dmabroker_egl, drm_node);
}

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
    Device describe() const;

    /// `attributes` end with EGL_NONE. import_failed with EGL's word for the error.
    Result<EGLImage> create(const EGLint* attributes) const;
    void destroy(EGLImage image) const { destroy_image_(app_.display, image); }
    /// What the application handed in.
    const dmabroker_egl& app() const { return app_; }

private:
    Egl() = default;
    Result<> load_functions();
    Result<> check_extensions();
    void find_driver();
    EGLDeviceEXT find_device() const;
    std::string_view driver_name() const;

    dmabroker_egl app_{};
    Driver driver_{.api = "EGL"};
    PFNEGLGETERRORPROC get_error_ = nullptr;
    PFNEGLQUERYSTRINGPROC query_string_ = nullptr;
    PFNEGLCREATEIMAGEKHRPROC create_image_ = nullptr;
    PFNEGLDESTROYIMAGEKHRPROC destroy_image_ = nullptr;
    PFNEGLQUERYDMABUFFORMATSEXTPROC query_formats_ = nullptr;     ///< null without _modifiers
    PFNEGLQUERYDMABUFMODIFIERSEXTPROC query_modifiers_ = nullptr; ///< null without _modifiers
};

} // namespace dmb::import
